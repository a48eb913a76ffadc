//! The whole output of each format.

use serde_json::json;

use super::{DOCUMENTS, check, scene};

/// Compares with the file of that name beside this one's folder; `INSTA_UPDATE=always` writes it.
fn same(name: &str, text: &str) {
    let text = text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"");
    insta::with_settings!({
        snapshot_path => "../../data/formats",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn each_format_shows_everything_that_was_found() {
    let scene = scene();
    let plain = check(&scene, &["deploy"]);
    same("plain", &plain.stdout);
    same("errors", &plain.stderr);
    same("plain-colour", &check(&scene, &["--color", "always", "deploy"]).stdout.replace('\u{1b}', "ESC"));
    let table = check(&scene, &["--format", "table", "deploy"]);
    same("table", &table.stdout);
    let colored = check(&scene, &["--format", "table", "--color", "always", "deploy"]);
    same("table-colour", &colored.stdout.replace('\u{1b}', "ESC"));
    for format in DOCUMENTS {
        let ran = check(&scene, &["--format", format, "deploy"]);
        same(format, &ran.stdout);
        // The verdict is the same whatever is printed, and so is what stands on standard error.
        assert_eq!((ran.code, &ran.stderr), (2, &plain.stderr), "{format}");
        assert_eq!(ran, check(&scene, &["--format", format, "--color", "always", "deploy"]), "{format}");
    }
}

#[test]
fn what_helm_writes_to_a_pipe_is_placed_in_its_templates() {
    let scene = scene();
    let arguments = ["check", "--policies", "policies", "--offline", "--format"];
    let run = |format| scene.run_with_input(&[&arguments[..], &[format, "-"]].concat(), super::RENDERED);
    let github = run("github").stdout;
    let annotation = "::error file=shop/templates/worker.yaml,title=TW120 the tag's class is not allowed::edge is";
    assert!(github.starts_with(annotation), "the template's lines are others, so none is named: {github}");
    assert!(github.contains("%0Aline 6 of the rendered text\n"), "{github}");
    let location = run("gitlab").json()[0]["location"].clone();
    assert_eq!(location, json!({"path": "shop/templates/worker.yaml", "lines": {"begin": 1, "end": 1}}));
    let place = run("sarif").json()["runs"][0]["results"][0]["locations"][0]["physicalLocation"].clone();
    assert_eq!(place, json!({"artifactLocation": {"uri": "shop/templates/worker.yaml", "uriBaseId": "%SRCROOT%"}}),);
}

#[test]
fn the_exit_code_does_not_depend_on_the_format() {
    let scene = scene();
    for (path, code) in [("deploy/checkout.yaml", 1), ("deploy/others.yaml", 1), ("deploy/values.yaml", 0)] {
        for format in ["plain", "table"].into_iter().chain(DOCUMENTS) {
            assert_eq!(check(&scene, &["--format", format, path]).code, code, "{format} {path}");
        }
    }
}
