//! Several formats in one run, each where it belongs.

use super::{check, scene};

#[test]
fn several_formats_come_from_one_run() {
    let scene = scene();
    let ran = check(
        &scene,
        &[
            "--format", "plain", "--format", "sarif", "--output", "r.sarif", "--format", "junit", "--output", "r.xml",
            "--color", "always", "deploy",
        ],
    );
    assert_eq!(ran, check(&scene, &["--color", "always", "deploy"]));
    for (format, file) in [("sarif", "r.sarif"), ("junit", "r.xml")] {
        let text = std::fs::read_to_string(scene.path().join(file)).unwrap();
        assert_eq!(text, check(&scene, &["--format", format, "deploy"]).stdout, "{format}");
    }
}

#[test]
fn nothing_goes_to_standard_output_where_a_file_takes_it() {
    let scene = scene();
    let ran =
        check(&scene, &["--format", "table", "--output", "table.txt", "--color", "always", "deploy/checkout.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, "", ""));
    let table = std::fs::read_to_string(scene.path().join("table.txt")).unwrap();
    assert!(table.starts_with("LEVEL  ID ") && !table.contains('\u{1b}'), "no colour in a file: {table}");
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_the_others_are_written() {
    let scene = scene();
    scene.write("folder/x", b"");
    let arguments = [
        "--format",
        "sarif",
        "--output",
        "nowhere/r.sarif",
        "--format",
        "gitlab",
        "--output",
        "folder",
        "--format",
        "json",
        "--output",
        "r.json",
        "--format",
        "table",
        "deploy/checkout.yaml",
    ];
    let ran = check(&scene, &arguments);
    assert_eq!(ran.code, 2, "instead of 1");
    insta::assert_snapshot!(ran.stderr, @"
    error: cannot write nowhere/r.sarif: no such file or directory
    error: cannot write folder: is a directory
    ");
    assert!(ran.stdout.starts_with("LEVEL"), "{}", ran.stdout);
    let json = std::fs::read_to_string(scene.path().join("r.json")).unwrap();
    assert_eq!(json, check(&scene, &["--format", "json", "deploy/checkout.yaml"]).stdout);
}

#[test]
fn a_full_disk_leaves_the_old_report() {
    let scene = scene();
    // A device that takes nothing: the file is a link to it, so that it is written to as it is.
    std::os::unix::fs::symlink("/dev/full", scene.path().join("full")).unwrap();
    let ran = check(&scene, &["--format", "sarif", "--output", "full", "deploy/checkout.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: cannot write full: no space left on device\n"));
}

#[test]
fn flags_that_belong_together_nowhere_are_usage_errors() {
    let scene = scene();
    for (arguments, said) in [
        (&["--output", "x", "deploy"][..], "`--output x` has no format: name a --format before it"),
        (&["--format", "json", "--format", "table", "deploy"], "would both go to standard output"),
        (
            &["--format", "json", "--output", "x", "--format", "sarif", "--output", "./x", "deploy"],
            "two formats would be written to ./x",
        ),
        (&["--format", "json", "--output", "x", "--output", "y", "deploy"], "has an --output already"),
        (
            &["--format", "yaml", "deploy"],
            "[possible values: plain, table, json, sarif, junit, github, gitlab, markdown]",
        ),
    ] {
        let ran = check(&scene, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert!(!scene.path().join("x").exists());
}
