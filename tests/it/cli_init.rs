//! `init`: what it writes holds together and passes its own tests; what is there already stays.

use std::fs;

use crate::cli_support::Scene;

#[test]
fn what_is_written_passes_its_tests_and_covers_the_policy() {
    for registry in
        [None, Some("ghcr.io/my-org"), Some("localhost:5000"), Some("docker.io/library"), Some("r.example.net/a-b/c_d")]
    {
        let scene = Scene::new(&[]);
        let chosen: Vec<&str> = registry.iter().flat_map(|registry| ["--registry", registry]).collect();
        let ran = scene.run(&[&["init"], &*chosen].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{registry:?}");
        let tested = scene.run(&["test", "--coverage-threshold", "100", "policies"]);
        assert_eq!((tested.code, tested.stderr.as_str()), (0, ""), "{registry:?}: {}", tested.stdout);
        let linted = scene.run(&["lint", "--fail-on", "warn", "policies"]);
        assert_eq!((linted.code, linted.stderr.as_str()), (0, ""), "{registry:?}: {}", linted.stdout);
        let policy = fs::read_to_string(scene.path().join("policies/policy.yaml")).unwrap();
        let glob = format!("images: [\"{}/**\"]", registry.unwrap_or("registry.example.com/acme"));
        assert!(policy.contains(&glob), "{policy}");
        // Nothing is refused on the first day, and schemas and tests are not taken for policies.
        let checked = scene.run(&["check", "--policies", "policies", "--offline", "policies/fixtures"]);
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
        assert!(checked.stdout.contains("warning[TW120]"), "{}", checked.stdout);
    }
}

#[test]
fn it_tells_what_it_wrote_and_what_to_do_next() {
    let scene = Scene::new(&[]);
    insta::assert_snapshot!(scene.run(&["init", "deploy/images"]).stdout, @r"
        wrote deploy/images/policy.yaml
        wrote deploy/images/policy.test.yaml
        wrote deploy/images/fixtures/deployment.yaml
        wrote deploy/images/imagepolicy-v1.schema.json
        wrote deploy/images/imagepolicytest-v1.schema.json

        The policy warns and refuses nothing. Next:
          tagwarden lint deploy/images
          tagwarden test --coverage deploy/images
          tagwarden check --offline --policies deploy/images deploy/
    ");
    for (kind, name) in [("policy", "policy"), ("test", "policy.test")] {
        let folder = scene.path().join("deploy/images");
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=./").unwrap();
        assert_eq!(fs::read_to_string(folder.join(schema)).unwrap(), scene.run(&["schema", kind]).stdout);
    }
}

#[test]
fn what_is_commented_out_is_right_too() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.run(&["init"]).code, 0);
    let text = fs::read_to_string(scene.path().join("policies/policy.yaml")).unwrap();
    // Lines of YAML that were commented out begin with a key or go on below one.
    let keys = ["owner:", "namespaces:", "pin:", "overrides:", "exceptions:", "  "];
    let uncomment = |line: &str| {
        let (indent, comment) = line.split_at(line.find("# ").unwrap_or(0));
        let body = comment.strip_prefix("# ").unwrap_or(comment);
        match line.trim_start().starts_with("# ") && keys.iter().any(|key| body.starts_with(key)) && !indent.is_empty()
        {
            true => format!("{indent}{body}\n"),
            false => format!("{line}\n"),
        }
    };
    let whole: String = text.lines().map(uncomment).collect();
    for key in
        ["\n  owner:", "\n  namespaces:", "\n      pin: pods", "\n  overrides:", "\n    - id: EX-1", "\n      expires:"]
    {
        assert!(whole.contains(key), "{key}: {whole}");
    }
    scene.write("policies/policy.yaml", whole.as_bytes());
    let ran = scene.run(&["explain", "--policies", "policies", "--offline", "registry.example.com/acme/api:v1.4.2"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{whole}");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_in_part() {
    let scene = Scene::new(&[("policies/policy.test.yaml", "mine")]);
    let ran = scene.run(&["init"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("this is there already: policies/policy.test.yaml; name another directory"),
        "{}",
        ran.stderr
    );
    let left = |folder: &str| fs::read_dir(scene.path().join(folder)).unwrap().count();
    assert_eq!(left("policies"), 1);
    assert_eq!(fs::read_to_string(scene.path().join("policies/policy.test.yaml")).unwrap(), "mine");

    // The folder of the manifest cannot be made, after two files were written.
    scene.write("other/fixtures", b"a file");
    let ran = scene.run(&["init", "other"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("nothing is written: cannot write other/fixtures/deployment.yaml: "), "{}", ran.stderr);
    assert_eq!(left("other"), 1);

    // Not even where a link leads nowhere.
    fs::create_dir(scene.path().join("linked")).unwrap();
    std::os::unix::fs::symlink("nowhere", scene.path().join("linked/policy.yaml")).unwrap();
    assert_eq!(scene.run(&["init", "linked"]).code, 2);
    assert_eq!((left("linked"), scene.path().join("nowhere").exists()), (1, false));

    for bad in ["nginx", "ghcr.io/*", "https://ghcr.io/x", "ghcr.io/x:v1"] {
        let ran = scene.run(&["init", "new", "--registry", bad]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{bad}");
        assert!(ran.stderr.contains("--registry"), "{bad}: {}", ran.stderr);
    }
    assert!(!scene.path().join("new").exists());
}
