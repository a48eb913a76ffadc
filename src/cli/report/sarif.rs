//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>), for code scanning and editors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::json::print;
use super::problem::{Problem, Region, Rule, Run, Site, fingerprints};
use super::shown;
use crate::policy::Level;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What relative paths are relative to: the name that code hosts know for the top of the repository.
const ROOT: &str = "%SRCROOT%";
/// The name of our fingerprint, with the version of how it is made.
const FINGERPRINT: &str = "tagwardenProblem/v1";

/// Writes a run: what breaks rules as results, what could not be looked at as notifications of the tool.
pub(in crate::cli) fn write(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    let numbers: BTreeMap<&str, usize> = run.rules.iter().enumerate().map(|(number, rule)| (rule.id, number)).collect();
    let results = run.problems.iter().zip(fingerprints(&run.problems));
    let results: Vec<_> =
        results.map(|(problem, print)| result(problem, &print, numbers.get(problem.id.as_ref()).copied())).collect();
    let failures: Vec<_> = run.failures.iter().map(notification).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tagwarden",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://tagwarden.dev",
                "rules": run.rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            // What comes before the last `/` is the category that keeps uploads of several tools apart.
            "automationDetails": {"id": format!("tagwarden/{}/", run.verb)},
            "invocations": [{
                "executionSuccessful": failures.is_empty(),
                "toolExecutionNotifications": failures,
            }],
            "originalUriBaseIds": {ROOT: {"description": {"text": "the directory that tagwarden was run in"}}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    print(&log, out)
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.title},
        "help": {
            "text": format!("{}. See {}", rule.help, rule.uri),
            "markdown": format!("{}. See [{}]({}).", rule.help, rule.id, rule.uri),
        },
        "helpUri": rule.uri,
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["kubernetes", "container-images"]},
    })
}

fn result(problem: &Problem, fingerprint: &str, rule: Option<usize>) -> Value {
    let mut result = json!({
        "ruleId": problem.id,
        "level": level(problem.level),
        "message": {"text": message(problem)},
        "locations": locations(problem),
        "partialFingerprints": {FINGERPRINT: fingerprint},
    });
    if let Some(rule) = rule {
        result["ruleIndex"] = rule.into();
    }
    if let Some(why) = &problem.suppressed {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": shown(why)}]);
    }
    result
}

fn notification(failure: &Problem) -> Value {
    json!({
        "descriptor": {"id": failure.id},
        "level": level(failure.level),
        "message": {"text": message(failure)},
        "locations": locations(failure),
    })
}

fn level(level: Level) -> &'static str {
    level.name()
}

/// The message and what there is to say beside it. In a text of SARIF `[a](b)` is a link, unless the brackets are escaped.
fn message(problem: &Problem) -> String {
    let lines = std::iter::once(problem.message.as_str()).chain(problem.details());
    let text = lines.map(shown).collect::<Vec<_>>().join("\n");
    match text.contains("](") {
        true => text.replace('[', "\\[").replace(']', "\\]"),
        false => text,
    }
}

fn locations(problem: &Problem) -> Value {
    let mut location = json!({});
    if let Some(site) = &problem.site {
        location["physicalLocation"] = physical(site);
    }
    if let Some(object) = &problem.object {
        location["logicalLocations"] = json!([{"fullyQualifiedName": object, "kind": "resource"}]);
    }
    match location.as_object().is_some_and(serde_json::Map::is_empty) {
        true => json!([]),
        false => json!([location]),
    }
}

fn physical(site: &Site) -> Value {
    let artifact = match site.file.starts_with('/') {
        true => json!({"uri": format!("file://{}", uri(&site.file))}),
        false => json!({"uri": uri(&site.file), "uriBaseId": ROOT}),
    };
    let mut physical = json!({"artifactLocation": artifact});
    if let Some(Region { line, column, end_line, end_column }) = site.region {
        physical["region"] =
            json!({"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column});
    }
    physical
}

/// A path as a relative URI reference: everything but what RFC 3986 calls unreserved is encoded, `:` too, which would make
/// a scheme of what is before it.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(byte.into()),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("deploy/a-b_c.yaml"), "deploy/a-b_c.yaml");
        assert_eq!(uri("a b/é:%?#[].yaml"), "a%20b/%C3%A9%3A%25%3F%23%5B%5D.yaml");
    }
}
