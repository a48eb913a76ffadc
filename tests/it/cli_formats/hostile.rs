//! Names that a manifest's author chose in order to break out of a format.

use serde_json::{Value, json};

use super::schemas::{valid_gitlab, valid_sarif};
use super::{DOCUMENTS, POLICY, check, validate_junit};
use crate::cli_support::Scene;
use crate::python;

/// Ends lines, cells, tags, sections and values; moves the cursor, turns the direction, calls people, makes links, gives
/// commands to a runner.
const TRICKS: &str = "x\n::error::pwn,file=y%0A::warning::a\r|b\\|c`d``<script>alert(1)</script>]]>&amp;\"'@acme/team #12 \
                      [l](https://evil.example) https://evil.example www.evil.example\u{1b}[31m\u{7}\u{85}\u{202e}\u{ffff}##[error]z";

/// A file and a template whose names are tricks, and so is everything in them that may be chosen.
fn scene() -> Scene {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": TRICKS, "namespace": format!("shop{TRICKS}")},
        "spec": {"containers": [{"name": TRICKS, "image": format!("registry.example.com/acme/{TRICKS}")},
                                {"name": "b", "image": TRICKS}]},
    });
    // Text of a file may hold only what YAML prints; the rest has to be escaped, or it breaks the file instead.
    let printed = |c: char| (' '..='~').contains(&c);
    let escaped = |c: char| if printed(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    let pod: String = pod.to_string().chars().map(escaped).collect();
    let template: String = TRICKS.chars().filter(|&c| printed(c) || c == '\u{202e}').collect();
    let scene = Scene::new(&[("policies/acme.yaml", POLICY), ("config.yaml", super::CONFIG)]);
    let name = TRICKS.replace('/', "_");
    scene.write(&format!("d/{name}.yaml"), pod.as_bytes());
    scene.write("d/more.yaml", format!("---\n# Source: {template}\n{pod}\n").as_bytes());
    scene.write(&format!("d/broken{name}.yaml"), b"a: [");
    scene
}

fn output(format: &str) -> String {
    let ran = check(&scene(), &["--format", format, "d"]);
    assert_eq!(ran.code, 2, "{format}: {}", ran.stderr);
    ran.stdout
}

#[test]
fn no_format_has_a_character_that_acts_on_a_terminal() {
    for format in ["plain", "table"].into_iter().chain(DOCUMENTS) {
        let text = output(format);
        let acts = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        let found: Vec<_> = text.chars().filter(|&c| acts(c)).collect();
        assert_eq!(found, [] as [char; 0], "{format}: {text}");
    }
}

#[test]
fn no_line_of_a_text_is_one_that_a_manifest_wrote() {
    for format in ["plain", "table", "github"] {
        let text = output(format);
        let begun =
            text.lines().filter(|line| line.trim_start().starts_with("::error::") || line.starts_with("::warning::"));
        assert_eq!(begun.count(), 0, "{format}: {text}");
    }
}

#[test]
fn a_runner_obeys_only_our_commands() {
    let text = output("github");
    assert!(!text.contains("%0A::warning"), "an escape in a name is one no more: {text}");
    let commands: Vec<_> = text.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(commands.len(), 5, "four images and a broken file: {text}");
    for command in &commands {
        let (head, message) = command[2..].split_once("::").unwrap();
        let (name, properties) = head.split_once(' ').unwrap();
        assert_eq!(name, "error");
        let keys: Vec<_> = properties.split(',').map(|property| property.split_once('=').unwrap().0).collect();
        let known = ["file", "line", "endLine", "col", "endColumn", "title"];
        assert_eq!(keys.iter().filter(|key| !known.contains(key)).count(), 0, "{keys:?}");
        assert_eq!(keys.len(), 6, "each of them once: {keys:?}");
        assert!(!message.contains('\n'));
    }
    let others: Vec<_> = text.lines().filter(|line| !line.starts_with("::")).collect();
    assert!(others.iter().all(|line| !line.contains("##[")), "{others:?}");
}

#[test]
fn machine_formats_stay_valid_and_names_are_kept() {
    let json: Value = serde_json::from_str(&output("json")).unwrap();
    assert_eq!(json["findings"][0]["object"]["name"], TRICKS);
    valid_gitlab(&serde_json::from_str(&output("gitlab")).unwrap());
    let junit = output("junit");
    validate_junit(&junit);
    assert!(junit.contains("&lt;script&gt;alert(1)&lt;/script&gt;]]&gt;"), "{junit}");
}

#[test]
fn sarif_has_uris_and_no_links_of_others() {
    let sarif: Value = serde_json::from_str(&output("sarif")).unwrap();
    valid_sarif(&sarif);
    let run = &sarif["runs"][0];
    let notes = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    for result in run["results"].as_array().unwrap().iter().chain(notes) {
        let text = result["message"]["text"].as_str().unwrap();
        assert!(!text.replace("\\]", "").contains("]("), "{text}");
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        assert!(uri.starts_with("d/") && uri.chars().all(plain), "{uri}");
    }
}

/// Renders Markdown with tables, HTML and links as code hosts do, and prints: the tags, the cells of each row of a table,
/// and the text outside of code.
const RENDER: &str = r#"
import json, sys
from markdown_it import MarkdownIt
tokens = MarkdownIt("gfm-like", {"html": True}).parse(sys.stdin.read())
flat = []
def walk(tokens):
    for token in tokens:
        flat.append(token)
        walk(token.children or [])
walk(tokens)
rows, cells = [], 0
for token in flat:
    if token.type in ("td_open", "th_open"): cells += 1
    if token.type == "tr_close": rows.append(cells); cells = 0
print(json.dumps({
    "html": sorted({token.content.strip() for token in flat if token.type in ("html_inline", "html_block")}),
    "links": sorted({token.attrs["href"] for token in flat if token.type == "link_open"}),
    "rows": rows,
    "text": [token.content for token in flat if token.type == "text"],
    "code": [token.content for token in flat if token.type == "code_inline"],
}))
"#;

#[test]
fn a_comment_has_no_markup_link_or_mention_of_others() {
    let seen: Value = serde_json::from_str(&python::run(RENDER, &[], &output("markdown"))).unwrap();
    let html = ["</details>", "<br>", "<details><summary>What to do</summary>"];
    assert_eq!(seen["html"], json!(html));
    let links = seen["links"].as_array().unwrap();
    assert!(
        links.iter().all(|link| link.as_str().unwrap().starts_with("https://tagwarden.dev/findings#TW")),
        "{links:?}"
    );
    let rows: Vec<_> = seen["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).collect();
    assert_eq!(rows, [6; 6], "a heading, four images and a broken file");
    for text in seen["text"].as_array().unwrap() {
        let text = text.as_str().unwrap();
        assert!(!text.contains("@acme") && !text.contains("#12"), "{text}");
    }
    let code = seen["code"].as_array().unwrap();
    assert!(
        code.iter().any(|code| code.as_str().unwrap().contains("@acme/team #12")),
        "in code it may stand: {code:?}"
    );
}
