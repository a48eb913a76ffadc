//! The reader of YAML: scalars, places, aliases, streams, and what is refused.

use super::{Document, Node, Source, Value, parse};

fn one(text: &str) -> Node {
    let (documents, problems) = parse(&Source::new("f.yaml", text));
    assert_eq!(problems, vec![], "{text}");
    assert_eq!(documents.len(), 1, "{text}");
    documents[0].root.clone()
}

fn problem(text: &str) -> String {
    let (_, problems) = parse(&Source::new("f.yaml", text));
    problems.first().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn scalars_follow_the_core_schema() {
    for (text, value) in [
        ("yes", Value::String("yes".into())),
        ("on", Value::String("on".into())),
        ("True", Value::Bool(true)),
        ("~", Value::Null),
        ("12", Value::Int(12)),
        ("-3", Value::Int(-3)),
        ("0x1F", Value::Int(31)),
        ("1.10", Value::Float(1.1)),
        ("1e3", Value::Float(1000.0)),
        ("'1.10'", Value::String("1.10".into())),
        ("v1.2.3", Value::String("v1.2.3".into())),
        ("1.2.3", Value::String("1.2.3".into())),
        ("1a2b3c4", Value::String("1a2b3c4".into())),
        (".", Value::String(".".into())),
        ("-", Value::List(vec![Node { value: Value::Null, span: 1..1 }])),
        ("!!str 12", Value::String("12".into())),
    ] {
        assert_eq!(one(text).value, value, "{text}");
    }
}

#[test]
fn places_survive_byte_order_marks_line_ends_and_wide_characters() {
    for text in ["a: é\nb: [x, nginx:1]\n", "a: é\r\nb: [x, nginx:1]\r\n", "\u{feff}a: é\nb: [x, nginx:1]\n"] {
        let root = one(text);
        let image = root.at("b[1]").unwrap();
        assert_eq!(&text[image.span.clone()], "nginx:1", "{text:?}");
    }
}

#[test]
fn paths_reach_quoted_keys_and_stop_where_nothing_is() {
    let root = one("metadata: {annotations: {a.b/c: x}}\nspec:\n  containers:\n  - image: y\n");
    assert_eq!(root.at("metadata.annotations[\"a.b/c\"]").and_then(Node::as_str), Some("x"));
    assert_eq!(root.at("spec.containers[0].image").and_then(Node::as_str), Some("y"));
    assert_eq!(root.at("spec.containers[1].image"), None);
    assert_eq!(root.at("spec.containers.image"), None);
}

#[test]
fn aliases_and_merge_keys_are_expanded_and_own_keys_win() {
    let root = one("base: &b {image: x, name: n}\nuse: {<<: *b, name: own}\nagain: *b\n");
    assert_eq!(root.at("use.image").and_then(Node::as_str), Some("x"));
    assert_eq!(root.at("use.name").and_then(Node::as_str), Some("own"));
    assert_eq!(root.at("again.name").and_then(Node::as_str), Some("n"));
    let root = one("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nuse: {<<: [*a, *b]}\n");
    assert_eq!(root.at("use").unwrap().to_json(), serde_json::json!({"x": 1, "y": 1, "z": 2}));
}

#[test]
fn a_quoted_merge_key_is_a_key_as_any_other() {
    for text in ["{\"<<\": {\"mode\": \"audit\"}}", "'<<': {mode: audit}\n"] {
        let root = one(text);
        assert_eq!(root.at("mode"), None, "{text}");
        assert_eq!(root.at("<<.mode").and_then(Node::as_str), Some("audit"), "{text}");
    }
    assert!(problem("{\"<<\": {}, \"<<\": {}}").contains("the key '<<' stands twice in one map"));
    let twice = problem("a: &a {x: 1}\nb: &b {y: 2}\nuse:\n  <<: *a\n  <<: *b\n");
    assert!(twice.contains("the key '<<' stands twice in one map"), "{twice}");
    assert!(twice.contains("the first one is on line 4; write one, with a list: `<<: [*a, *b]`"), "{twice}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert_eq!(
        problem("a: 1\nb: 2\na: 3\n"),
        "f.yaml:3:1: error: the key 'a' stands twice in one map; the first one is on line 1; keep one of them"
    );
    assert!(problem("? [x]\n: y\n").contains("a key must be a plain string"));
    assert!(problem("a: !custom x\n").contains("the tag '!custom' is not supported"));
    assert!(problem("a: *nowhere\n").starts_with("f.yaml:1:4: error: not valid YAML"));
    assert!(problem("a: [1, 2\nb: 3").contains("not valid YAML"));
    assert!(problem("a:\n\t- x\n").starts_with("f.yaml:2:"), "{}", problem("a:\n\t- x\n"));
    let deep = format!("{}x", "- ".repeat(250));
    assert!(problem(&deep).contains("nested more than 200 levels deep"), "{}", problem(&deep));
    assert!(problem(&"[".repeat(5000)).contains("not valid YAML"), "the parser has a limit of its own");
    assert!(problem("a: {<<: 5}\n").contains("must stand for a map"));
    assert!(problem("a: 1\n---\nb: \0\n---\nc: 3\n").starts_with("f.yaml:3:4: error: not valid YAML: unexpected"));
    assert!(problem("a: 1\n---\n\u{feff}b: 2\n").contains("a BOM must not appear inside a document"));
    assert_eq!(problem("\u{feff}a: 'x\u{feff}'\n"), "", "at the start, and as a part of a text");
}

#[test]
fn alias_bombs_are_stopped() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(problem(&text).contains("nodes once aliases are expanded"), "{}", problem(&text));
    // Few aliases of a long text are as bad as many of a short one.
    let copies = |bytes: usize| format!("a: &a {}\nb: [{}]\n", "x".repeat(bytes), vec!["*a"; 1000].join(", "));
    assert!(problem(&copies(300_000)).contains("nodes once aliases are expanded"));
    assert_eq!(problem(&copies(100)), "");
}

#[test]
fn streams_keep_documents_before_an_error_and_helm_template_names() {
    let text =
        "---\n# Source: chart/templates/a.yaml\nkind: A\n---\n# Source: chart/templates/b.yaml\nkind: B\n---\nx: [\n";
    let (documents, problems) = parse(&Source::new("f", text));
    let names: Vec<_> = documents.iter().map(|d: &Document| d.template.as_deref()).collect();
    assert_eq!(names, [Some("chart/templates/a.yaml"), Some("chart/templates/b.yaml")]);
    assert_eq!(problems.len(), 1);
}

#[test]
fn json_with_tabs_is_read() {
    let root = one("{\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\"image\": \"a\\u0041\"}]}\n}\n");
    assert_eq!(root.at("spec.containers[0].image").and_then(Node::as_str), Some("aA"));
}

#[test]
fn what_kubectl_reads_differently_is_refused_and_its_neighbours_are_read() {
    for text in ["a: 1\n---#b: 2\n", "a: 1\n---b: 2\n", "a: 1\n---\u{a0}\nb: 2\n"] {
        assert!(problem(text).starts_with("f.yaml:2:1: error: three dashes with text behind them"), "{text:?}");
    }
    for text in
        ["a: 1\n---\nb: 2\n", "a: 1\n--- # c\nb: 2\n", "a: 1\n---\r\nb: 2\n", "a: |\n  x\n  ---#b\n", "a: 1\n---"]
    {
        assert_eq!(problem(text), "", "{text:?}");
    }
    for wrong in ['\u{85}', '\u{2028}', '\u{2029}'] {
        assert!(problem(&format!("a: b # ok{wrong}c: d\n")).starts_with("f.yaml:1:10: error: the line break U+"));
    }
    assert_eq!(problem("a: \"\\u2028\"\n"), "");
}

#[test]
fn a_merge_key_below_a_key_that_it_holds_is_refused_as_the_order_is_read_differently() {
    let bases = "base: &b {image: x, name: n}\n";
    for use_of in ["use: {image: own, <<: *b}", "use: {image: own, <<: [{image: y}]}"] {
        let told = problem(&format!("{bases}{use_of}\n"));
        assert!(told.contains("'<<' below the key 'image', which it holds too"), "{use_of}: {told}");
        assert!(told.contains("put '<<' first in the map"), "{told}");
    }
    for use_of in ["use: {<<: *b, image: own}", "use: {other: own, <<: *b}", "use: {image: x, <<: *b}"] {
        assert_eq!(problem(&format!("{bases}{use_of}\n")), "", "{use_of}");
    }
}
