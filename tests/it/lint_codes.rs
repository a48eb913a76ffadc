//! The codes of lint: the policies of docs/lint.md with what is said of them there, and for each code near misses.
//!
//! `UPDATE_EXPECTED=1 cargo test` writes the outputs in docs/lint.md anew; read the difference before committing it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tagwarden::document::{Color, render};
use tagwarden::policy::{LintCode, Mode, Settings, lint};

/// 27 November 2026, noon: the day of docs/lint.md.
const NOW: i64 = 1_795_780_800;

fn rendered(policy: &str) -> String {
    let linted = lint(&[("policy.yaml", policy)], &Settings::default(), NOW);
    linted.diagnostics.iter().map(|found| render(found, policy, Color::Never)).collect::<Vec<_>>().join("\n")
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lint.md")
}

/// A fenced block of a section: its text, and where that stands.
fn block<'d>(section: &'d str, language: &str) -> Option<&'d str> {
    let (_, after) = section.split_once(&format!("\n```{language}\n"))?;
    Some(&after[..after.find("```")?])
}

#[test]
fn the_document_shows_what_lint_says() {
    let text = fs::read_to_string(document()).unwrap();
    let (mut sections, mut seen) = (text.split("\n## ").map(str::to_owned).collect::<Vec<_>>(), 0);
    let mut different = Vec::new();
    for section in sections.iter_mut().filter(|section| section.starts_with("TW")) {
        seen += 1;
        let code = section.split_whitespace().next().unwrap().to_owned();
        let policy = block(section, "yaml").unwrap_or_else(|| panic!("{code} has no policy"));
        let said = rendered(policy);
        assert!(said.contains(&format!("[{code}]")), "{code} is not what its policy gets: {said}");
        let shown = block(section, "text").unwrap_or_else(|| panic!("{code} has no output"));
        if shown != said {
            different.push(format!("{code}: shown\n{shown}\nbut seen\n{said}"));
            *section = section.replacen(&format!("\n```text\n{shown}```"), &format!("\n```text\n{said}```"), 1);
        }
    }
    assert_eq!(seen, LintCode::ALL.len());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(document(), sections.join("\n## ")).unwrap();
        return;
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_document_lists_every_code_with_its_title() {
    let text = fs::read_to_string(document()).unwrap();
    for code in LintCode::ALL {
        let (code, title) = (code.code(), code.title());
        assert!(text.contains(&format!("\n## {code} {title}\n")), "no heading for {code} {title}");
        let row = text.lines().find(|line| line.starts_with(&format!("| [{code}](#{}-", code.to_lowercase())));
        assert!(row.is_some_and(|row| row.ends_with(&format!("| {title} |"))), "no row for {code} {title}");
    }
}

const FIRST_PARTY: &str = "rules: [{images: [\"registry.example.com/acme/**\"], tags: [release]}]";
const EXCEPTION: &str = "owner: a, ticket: b, reason: c, namespaces: [billing]";

/// Codes and a spec that gets none of these, though it is near one that does.
fn near_misses() -> Vec<(&'static str, String)> {
    let rules = |rules: &str| format!("mode: enforce\nrules:\n{rules}");
    let excepted =
        |spec: &str, exception: &str| format!("{spec}\nexceptions: [{{id: EX-1, {exception}, {EXCEPTION}}}]");
    let enforced = format!("mode: enforce\n{FIRST_PARTY}");
    vec![
        // Many globs, but the automaton is small.
        ("TW800", rules(&(0..60).map(|n| format!("  - {{images: [\"r.example.com/**/a-{n}-*\"]}}\n")).collect::<String>())),
        // The wider one below; and one image left that only the second names.
        ("TW801 TW802", rules("  - {images: [\"r.example.com/a/x\"]}\n  - {images: [\"r.example.com/a/**\"]}")),
        ("TW801 TW802", rules("  - {images: [\"r.example.com/a/*\"]}\n  - {images: [\"r.example.com/a/**\"]}")),
        ("TW801 TW802", rules("  - {images: [\"r.example.com/a-*\", \"r.example.com/*-b\"]}\n  - {images: [\"r.example.com/*-*\"]}")),
        ("TW801 TW802", rules("  - {images: [\"*.r.example.com/a\"]}\n  - {images: [\"r.example.com/a\"]}")),
        ("TW801 TW802", rules("  - {images: [\"r.example.com/a\"]}\n  - {images: [\"r.example.com:5000/a\"]}")),
        ("TW801 TW802", rules("  - {images: [\"r.example.com/a/**\"]}\n  - {images: [\"r.example.com/a\"]}")),
        // One of its globs is reached: that is no unreachable rule.
        ("TW801", rules("  - {images: [\"r.example.com/a/**\"]}\n  - {images: [\"r.example.com/a/x\", \"r.example.com/b\"]}")),
        ("TW803", rules("  - {images: [\"r.example.com/a\"], tags: [release, semver, prerelease2, '1\\.\\d+', channel, digest]}").replace("prerelease2, ", "")),
        // Only by name, so the pattern before them lets neither in; and a channel is more than its tags.
        ("TW803", rules("  - {images: [\"r.example.com/a\"], tags: ['[a-z].*', latest, floating, channel], pin: pods}")),
        ("TW804", format!("{}\n  - {{images: [\"r.example.com/a\"], tags: [mine]}}\ntagClasses: {{mine: {{pattern: 'x.+'}}}}", "mode: enforce\nrules:")),
        ("TW804", format!("{enforced}\ntagClasses: {{mine: {{pattern: 'x.+', floating: true}}}}")),
        ("TW804", format!("{enforced}\ntagClasses: {{mine: {{pattern: 'x.+'}}}}\nnoExceptions: [mine]")),
        ("TW804", format!("{enforced}\ntagClasses: {{latest: {{pattern: 'x.+'}}}}")),
        ("TW804", format!("{}\ntagClasses: {{commit: {{pattern: '[0-9a-f]{{8}}'}}}}", rules("  - {images: [\"r.example.com/a\"], tags: [channel], pin: pods}"))),
        ("TW804", format!("{}\ntagClasses: {{mine: {{pattern: 'x.+'}}}}", rules("  - {images: [\"r.example.com/a\"], tags: [channel], channel: {sameDigestAs: [mine]}, pin: pods}"))),
        ("TW805 TW806 TW807", rules("  - {images: [\"r.example.com/a\"], tags: ['\\d+\\.\\d+\\.\\d+', 'nightly-\\d{8}', '\\d{8}-[0-9a-f]{7}', '[a-z].*']}")),
        ("TW807", rules("  - {images: [\"r.example.com/a\"], tags: ['(latest|main|v1)', 'env-.*']}")),
        // The last second of the day; and the 180th day from now.
        ("TW808", excepted(&enforced, "images: [\"registry.example.com/acme/a\"], checks: [tags], expires: 2026-11-27")),
        ("TW809 TW810", excepted(&enforced, "images: [\"registry.example.com/acme/a\"], checks: [tags], expires: 2027-05-26")),
        // Expired is all that is said.
        ("TW809 TW810", excepted(&enforced, "images: [\"registry.example.com/other/a:v1.2.3\"], checks: [moved], expires: 2026-01-01")),
        ("TW810", excepted(&enforced, "images: [\"registry.example.com/acme/a:2019-final\"], checks: [tags, digest], expires: 2027-01-01")),
        ("TW810", excepted(&enforced, "images: [\"other.example.com/a:v1.2.3\", \"**\"], checks: [registry], expires: 2027-01-01")),
        ("TW810", excepted(&rules("  - {images: [\"r.example.com/a\"], tags: [channel], pin: pods}"), "images: [\"r.example.com/a:env-prod\"], checks: [channel], expires: 2027-01-01")),
        ("TW810", excepted(&enforced, "images: [\"registry.example.com/acme/a:v1.2.3\"], checks: [moved], expires: 2027-01-01")),
        ("TW810", excepted(&rules("  - {images: [\"r.example.com/a\"], version: match, age: {max: 9d}}"), "images: [\"r.example.com/a\"], checks: [version, age], expires: 2027-01-01")),
        ("TW811", format!("{enforced}\nnamespaces: {{include: [\"pay-*\"], exclude: [\"pay-eu\"], selector: {{matchLabels: {{a: b}}, matchExpressions: [{{key: a, operator: Exists}}, {{key: c, operator: DoesNotExist}}]}}}}")),
        ("TW811", format!("{enforced}\nnamespaces: {{include: [\"pay-*\"], selector: {{matchLabels: {{kubernetes.io/metadata.name: pay-eu}}}}}}")),
        ("TW812", format!("{enforced}\noverrides:\n  - {{namespaces: [pay-eu], mode: audit}}\n  - {{namespaces: [\"pay-*\"], mode: warn}}\nnamespaces: {{exclude: [pay-us]}}")),
        // No rule decides about what is unmatched: that is left to the second.
        ("TW812", "mode: warn\nrules: [{name: a, images: [\"r.example.com/a\"]}]\noverrides:\n  - {namespaces: [\"*\"], rules: [a], mode: audit}\n  - {namespaces: [\"*\"], mode: enforce}".to_owned()),
        ("TW813", rules("  - {images: [\"r.example.com/a\"], tags: [release, channel], pin: pods}")),
        ("TW813", rules("  - {images: [\"r.example.com/a\"], tags: [release, channel], mode: warn}")),
        ("TW813", rules("  - {images: [\"r.example.com/a\"], tags: [release, channel], modes: {tags: audit}}")),
        ("TW813", rules("  - {images: [\"r.example.com/a\"]}\ntagClasses: {mine: {pattern: 'x.+', floating: true}}")),
        // A channel is refused where no registry can be asked, whatever the pattern.
        ("TW813", rules("  - {images: [\"*.r.example.com/a\"], tags: ['env-.*', '[0-9].*']}")),
        ("TW814", format!("mode: warn\nunmatched: allow\n{FIRST_PARTY}")),
        ("TW814", format!("mode: enforce\nunmatched: deny\n{FIRST_PARTY}")),
        ("TW814", format!("mode: enforce\nunmatched: allow\n{}", "rules: [{images: [\"**\"]}]")),
        ("TW815", rules("  - {images: [\"r.example.com/a\"], pin: pods, onUnresolved: deny}")),
        ("TW816", rules("  - {images: [\"r.example.com/a\"], tags: [channel], channel: {sameDigestAs: [release]}, pin: pods}")),
        ("TW817", rules("  - {images: [\"r.example.com/a\"], tags: [channel], channel: {pinned: current}, pin: pods}")),
    ]
}

fn policy(spec: &str) -> String {
    let mut text = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: near}\nspec:\n".to_owned();
    for line in spec.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

#[test]
fn near_misses_are_not_warned_of() {
    let mut codes: Vec<&str> = LintCode::ALL.iter().map(|code| code.code()).collect();
    for (spared, spec) in near_misses() {
        let text = policy(&spec);
        let said = rendered(&text);
        assert!(!said.contains("error"), "{text}\n{said}");
        for code in spared.split(' ') {
            assert!(!said.contains(code), "{code} is not meant here:\n{text}\n{said}");
            codes.retain(|known| *known != code);
        }
    }
    assert_eq!(codes, Vec::<&str>::new(), "codes without a near miss");
}

/// Codes in the order in which they are said.
fn codes(spec: &str, settings: &Settings) -> Vec<String> {
    let text = policy(spec);
    let linted = lint(&[("policy.yaml", &text)], settings, NOW);
    linted.diagnostics.into_iter().map(|found| found.code.unwrap_or(found.message)).collect()
}

#[test]
fn one_cause_is_one_warning() {
    let settings = Settings::default();
    // Nothing else is said of a rule that no image reaches, nor of each of its globs.
    let unreached = "mode: enforce\nrules:\n  - {images: [\"r.example.com/**\"]}\n  \
        - {name: b, images: [\"r.example.com/a\", \"r.example.com/b\"], tags: [latest, latest, '.*'], onUnresolved: warn}";
    assert_eq!(codes(unreached, &settings), ["TW801"]);
    // Nor of overrides and exceptions of a policy that is never in force.
    let nowhere = format!(
        "mode: enforce\nnamespaces: {{include: [a], exclude: [a]}}\n{FIRST_PARTY}\n\
        overrides: [{{namespaces: [a], mode: audit}}]\n\
        exceptions: [{{id: E, images: [\"registry.example.com/acme/a\"], checks: [tags], expires: 2027-01-01, {EXCEPTION}}}]"
    );
    assert_eq!(codes(&nowhere, &settings), ["TW811"]);
    // A pattern that is too large is one open question, not one for each rule that lists it.
    let large = "mode: enforce\nrules:\n  - {images: [\"r.example.com/a\"], tags: ['[ab]*a[ab]{18}', release]}";
    assert_eq!(codes(large, &settings), ["TW800"]);
    // What a pattern that matches everything swallows needs no warning of its own.
    let everything =
        "mode: enforce\nrules: [{images: [\"r.example.com/a\"], tags: ['.+', release, commit], pin: pods}]";
    assert_eq!(codes(everything, &settings), ["TW806"]);
}

#[test]
fn every_way_to_be_impossible_is_told() {
    let selectors = [
        "matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]",
        "matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]",
        "matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: a, operator: In, values: [d]}]",
        "matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]",
        "matchLabels: {kubernetes.io/metadata.name: kube-system}",
        "matchLabels: {kubernetes.io/metadata.name: Not.A.Name}",
        "matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]",
    ];
    for selector in selectors {
        let spec =
            format!("mode: enforce\nnamespaces: {{exclude: [\"kube-*\"], selector: {{{selector}}}}}\n{FIRST_PARTY}");
        assert_eq!(codes(&spec, &Settings::default()), ["TW811"], "{selector}");
    }
    let everywhere = format!("mode: enforce\nnamespaces: {{exclude: [\"*\"]}}\n{FIRST_PARTY}");
    assert_eq!(codes(&everywhere, &Settings::default()), ["TW811"]);
    let rules = "rules:\n  - {images: [\"registry.example.com/acme/*\"], tags: [release]}\n  - {images: [\"*.r.example.com/a\"], tags: [release]}";
    let exceptions = [
        "images: [\"registry.example.com/acme/a:v1.2.3\"], checks: [tags]",
        "images: [\"registry.example.com/acme/a:latest\"], checks: [tags, digest]",
        "images: [\"registry.example.com/acme/a\"], checks: [registry]",
        "images: [\"other.example.com/a\"], checks: [tags]",
        "images: [\"x.r.example.com/a\"], checks: [digest, moved]",
        "images: [\"registry.example.com/acme/a\"], checks: [channel]",
        "images: [\"registry.example.com/acme/a:odd\"], checks: [moved]",
    ];
    for exception in exceptions {
        let spec = format!(
            "mode: enforce\n{rules}\nnoExceptions: [latest]\nexceptions: [{{id: E, {exception}, expires: 2027-01-01, {EXCEPTION}}}]"
        );
        assert_eq!(codes(&spec, &Settings::default()), ["TW810"], "{exception}");
    }
}

#[test]
fn where_the_server_enforces_nothing_nothing_is_said_to_be_enforced() {
    let spec = format!("mode: enforce\nunmatched: allow\n{}", FIRST_PARTY.replace("[release]", "[channel]"));
    assert_eq!(codes(&spec, &Settings::default()), ["TW814", "TW813"]);
    let below = Settings { max_mode: Mode::Warn, ..Settings::default() };
    assert_eq!(codes(&spec, &below), Vec::<String>::new());
    // An override brings it into force somewhere.
    let somewhere = spec.replace("mode: enforce", "mode: audit\noverrides: [{namespaces: [pay], mode: enforce}]");
    assert_eq!(codes(&somewhere, &Settings::default()), ["TW814", "TW813"]);
}

#[test]
fn a_thousand_rules_are_decided() {
    let rules: Vec<String> = (0..1000)
        .map(|n| format!("  - {{images: [\"registry.example.com/team-{n}/**\"], tags: [release, '\\d+\\.\\d+']}}"))
        .collect();
    let spec = format!(
        "mode: enforce\nrules:\n{}\n  - {{name: last, images: [\"registry.example.com/team-7/x\"]}}",
        rules.join("\n")
    );
    assert_eq!(codes(&spec, &Settings::default()), ["TW801"]);
}

#[test]
fn errors_of_one_policy_do_not_hide_warnings_of_another() {
    let (good, bad) =
        (policy("mode: enforce\nunmatched: allow\nrules: [{images: [\"r.example.com/a\"]}]"), "kind: ImagePolicy\n");
    let linted = lint(&[("good.yaml", good.as_str()), ("bad.yaml", bad)], &Settings::default(), NOW);
    assert_eq!(linted.policies, 1);
    let shown: Vec<_> = linted.diagnostics.iter().map(|found| (found.file.as_str(), found.code.as_deref())).collect();
    assert_eq!(shown.first(), Some(&("bad.yaml", None)), "errors come first");
    assert_eq!(shown.last(), Some(&("good.yaml", Some("TW814"))));
}
