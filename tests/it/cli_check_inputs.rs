//! `check` and what it reads: values files, what paths say, what changed since a revision; `explain` of whole files.

use serde_json::{Value, json};

use crate::cli_support::{Ran, Scene, git};

const POLICY: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme}
spec:
  mode: enforce
  namespaces: {exclude: ["free-*"]}
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**"]
      tags: [release, channel]
      channel:
        env: {namespaces: {"*-prod": prod, "*": dev}}
"#;

const VALUES: &str = "\
# The chart's own.
image:
  registry: registry.example.com
  repository: acme/api
  tag: main # not released
sidecar:
  image:
    repository: registry.example.com/acme/proxy
    tag: \"\"
jobs:
  - image: registry.example.com/acme/job:v1.0.0
";

fn scene(files: &[(&str, &str)]) -> Scene {
    let scene = Scene::new(files);
    scene.write("policies/acme.yaml", POLICY.as_bytes());
    scene
}

fn check(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["check", "--policies", "policies", "--offline"], arguments].concat())
}

/// `image: id` of every finding of a JSON report.
fn found(ran: &Ran) -> Vec<String> {
    let report = ran.json();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|f| format!("{}: {}", f["image"].as_str().unwrap(), f["id"].as_str().unwrap())).collect()
}

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: c\n    image: {image}\n"
    )
}

const BAD: &str = "registry.example.com/acme/api:main";
const WORSE: &str = "registry.example.com/acme/api:latest";
const GOOD: &str = "registry.example.com/acme/api:v1.4.2";

#[test]
fn values_files_are_judged_where_a_glob_names_them() {
    let scene = scene(&[("charts/api/values.yaml", VALUES), ("charts/api/values.schema.json", "{}")]);
    let ran = check(&scene, &["--values", "charts/*/values*.yaml", "charts"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
    error[TW120]: main is a floating tag; rule first-party accepts release (v1.2.3), channel (env-<name>)
     --> charts/api/values.yaml:5:8
      |
    5 |   tag: main # not released
      |        ^^^^ image
      |
      = help: image registry.example.com/acme/api:main of image
      = help: policy acme, rule first-party, mode enforce

    checked 2 files, 0 objects, 2 images: 1 denied, 0 warnings, 0 audited
    not judged, 1 file without apiVersion and kind: charts/api/values.schema.json
    not judged yet: charts/api/values.yaml: sidecar.image: its tag is empty, so the chart chooses one (its appVersion, as a rule)
    "#);

    let manifest = check(&scene, &["charts"]);
    assert_eq!(manifest.code, 0, "without the flag it is a file without a kind, which is named");
    assert!(
        manifest.stdout.contains("without apiVersion and kind: charts/api/values.schema.json, charts/api/values.yaml")
    );
}

#[test]
fn a_pattern_that_no_file_matches_is_a_slip() {
    let scene = scene(&[("deploy/pod.yaml", &pod("p", GOOD))]);
    for flag in ["--values", "--layout"] {
        let ran = check(&scene, &[flag, "apps/{env}/values.yaml", "deploy"]);
        let expected = format!("error: no file among those to check matches {flag} 'apps/{{env}}/values.yaml'\n");
        assert_eq!((ran.code, ran.stderr.as_str()), (2, expected.as_str()));
    }
    let ran = check(&scene, &["--layout", "apps/{service}/values.yaml", "deploy"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("name what the path says with {env}, {namespace}, or both"), "{}", ran.stderr);
}

#[test]
fn a_layout_takes_the_environment_and_the_namespace_from_the_path() {
    let values = "image: {repository: registry.example.com/acme/api, tag: env-prod}\n";
    let scene = scene(&[
        ("apps/api/overlays/prod/values.yaml", values),
        ("apps/api/overlays/dev/values.yaml", values),
        ("apps/api/overlays/dev/pod.yaml", &pod("p", "registry.example.com/acme/api:env-prod")),
        ("facts.yaml", &facts()),
    ]);
    let arguments = ["--facts", "facts.yaml", "--format", "json", "--values", "values.yaml"];
    let check =
        |more: &[&str]| scene.run(&[&["check", "--policies", "policies"], &arguments[..], more, &["apps"]].concat());
    let files = |ran: &Ran| -> Vec<(String, String)> {
        let report = ran.json();
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|f| (f["file"].as_str().unwrap().into(), f["id"].as_str().unwrap().into())).collect()
    };
    let wrong = |path: &str| (format!("apps/api/overlays/{path}"), "TW202".to_owned());

    let by_namespace = check(&[]);
    let all = [wrong("dev/pod.yaml"), wrong("dev/values.yaml"), wrong("prod/values.yaml")];
    assert_eq!(files(&by_namespace), all, "the namespace default is dev by the policy");
    let by_path = check(&["--layout", "overlays/{env}/*"]);
    assert_eq!(files(&by_path), [wrong("dev/pod.yaml"), wrong("dev/values.yaml")]);
    let namespace = check(&["--layout", "apps/{service}/overlays/{namespace}/*", "--namespace", "shop-prod"]);
    assert_eq!(files(&namespace), all, "the path's namespace comes before the flag's");
    let free = check(&["--layout", "overlays/{namespace}/*", "--namespace", "free-1"]);
    assert_eq!(free.json()["summary"]["uncoveredNamespaces"], json!([]));
}

fn facts() -> String {
    let digest = "a".repeat(64);
    format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  registry.example.com/acme/api:\n    \
         tags: {{env-prod: \"sha256:{digest}\", v1.4.2: \"sha256:{digest}\"}}\n    \
         images: {{\"sha256:{digest}\": {{labels: {{org.opencontainers.image.version: v1.4.2}}}}}}\n"
    )
}

fn commit(scene: &Scene, message: &str) {
    git(scene, &["add", "-A"]);
    git(scene, &["commit", "-q", "-m", message]);
}

#[test]
fn only_what_changed_since_a_revision_is_judged() {
    let two = |first: &str, second: &str| format!("{}---\n{}", pod("one", first), pod("two", second));
    let scene = scene(&[
        ("deploy/same.yaml", &pod("same", BAD)),
        ("deploy/touched.yaml", &two(BAD, GOOD)),
        ("deploy/moved.yaml", &pod("moved", BAD)),
        ("deploy/values.yaml", VALUES),
        ("deploy/gone.yaml", &pod("gone", BAD)),
    ]);
    git(&scene, &["init", "-q", "-b", "main"]);
    commit(&scene, "first");
    git(&scene, &["checkout", "-q", "-b", "feature"]);
    // One image changes, its neighbour does not; a file moves; another comes that git does not know yet.
    scene.write("deploy/touched.yaml", two(BAD, WORSE).as_bytes());
    std::fs::create_dir(scene.path().join("deploy/deep")).unwrap();
    std::fs::rename(scene.path().join("deploy/moved.yaml"), scene.path().join("deploy/deep/moved.yaml")).unwrap();
    commit(&scene, "feature");
    scene.write("deploy/new.yaml", pod("new", BAD).as_bytes());
    scene.write("deploy/values.yaml", VALUES.replace("v1.0.0", "edge").as_bytes());
    let arguments = ["--format", "json", "--values", "values.yaml", "--diff-base", "main", "deploy"];
    let expected =
        [format!("{BAD}: TW120"), format!("{WORSE}: TW120"), "registry.example.com/acme/job:edge: TW120".to_owned()];
    let ran = check(&scene, &arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert_eq!(found(&ran), expected);
    let summary = &ran.json()["summary"];
    assert_eq!((&summary["unchangedFiles"], &summary["unchangedImages"]), (&json!(2), &json!(3)));

    // What came to main since is nothing of this branch.
    git(&scene, &["stash", "-q", "-u"]);
    git(&scene, &["checkout", "-q", "main"]);
    scene.write("deploy/same.yaml", pod("same", GOOD).as_bytes());
    commit(&scene, "main goes on");
    git(&scene, &["checkout", "-q", "feature"]);
    git(&scene, &["stash", "pop", "-q"]);
    assert_eq!(found(&check(&scene, &arguments)), expected);

    // Named alone, the file has no past: what it was lies outside of what is checked.
    let ran =
        scene.run(&["check", "--policies", "policies", "--offline", "--diff-base", "main", "deploy/deep/moved.yaml"]);
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn a_move_into_another_overlay_is_a_promotion_and_judged() {
    let scene =
        scene(&[("apps/dev/pod.yaml", &pod("p", "registry.example.com/acme/api:env-dev")), ("facts.yaml", &facts())]);
    git(&scene, &["init", "-q", "-b", "main"]);
    commit(&scene, "first");
    git(&scene, &["checkout", "-q", "-b", "feature"]);
    let moved = |folder: &str| {
        std::fs::create_dir_all(scene.path().join(folder)).unwrap();
        let from = if folder == "apps/dev/deep" { "apps/dev/pod.yaml" } else { "apps/dev/deep/pod.yaml" };
        std::fs::rename(scene.path().join(from), scene.path().join(folder).join("pod.yaml")).unwrap();
        let layout = if folder == "apps/dev/deep" { "apps/{env}/**" } else { "apps/{env}/*" };
        check(&scene, &["--diff-base", "main", "--layout", layout, "apps"])
    };
    let within = moved("apps/dev/deep");
    assert_eq!(within.code, 0, "{within:?}");
    assert!(within.stdout.contains("1 image of other files"), "{}", within.stdout);
    let promoted = moved("apps/prod");
    assert_eq!(promoted.code, 1, "{promoted:?}");
    assert!(promoted.stdout.contains("error[TW202]"), "{}", promoted.stdout);
}

#[test]
fn what_is_not_there_is_told_and_the_rest_is_compared() {
    let scene = scene(&[("pod.yaml", &pod("p", BAD))]);
    git(&scene, &["init", "-q", "-b", "main"]);
    commit(&scene, "first");
    let ran = check(&scene, &["--diff-base", "main", "nowhere.yaml", "pod.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cannot be read: no such file or directory"), "{}", ran.stderr);
    assert!(ran.stdout.contains("not judged, unchanged: 1 file"), "{}", ran.stdout);
}

#[test]
fn a_file_that_is_named_twice_is_judged_once() {
    let scene = scene(&[("deploy/pod.yaml", &pod("p", BAD))]);
    let ran = check(&scene, &["--format", "json", "deploy/pod.yaml", "./deploy/pod.yaml", "deploy", "deploy/"]);
    assert_eq!((ran.json()["summary"]["files"].as_u64(), found(&ran).len()), (Some(1), 1));
    let twice =
        scene.run_with_input(&["check", "--policies", "policies", "--format", "json", "-", "-"], &pod("p", BAD));
    assert_eq!(twice.json()["summary"]["files"], 1);
}

#[test]
fn templates_of_charts_are_named_and_what_is_yaml_in_them_is_judged() {
    let scene = scene(&[
        ("chart/Chart.yaml", "name: x\n"),
        ("chart/templates/deployment.yaml", "kind: Deployment\n{{- if .Values.x }}\nspec: {{ toYaml . }}\n"),
        ("chart/templates/pod.yaml", &pod("p", BAD)),
        ("other/templates/broken.yaml", "a: {{ x }}\n  b: [\n"),
    ]);
    let ran = check(&scene, &["chart"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let named = "not judged, 1 template of charts, render them (helm template): chart/templates/deployment.yaml";
    assert!(ran.stdout.contains(named), "{}", ran.stdout);
    assert_eq!(check(&scene, &["other"]).code, 2, "there is no chart around it");
    scene.write("chart/templates/broken.yaml", b"a: [\n");
    assert_eq!(check(&scene, &["chart"]).code, 2, "it is no template");
}

#[test]
fn a_revision_that_cannot_be_compared_with_is_told() {
    let scene = scene(&[("pod.yaml", &pod("p", BAD))]);
    let ran = check(&scene, &["--diff-base", "main", "pod.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.starts_with("error: pod.yaml is in no git repository, so --diff-base cannot be asked"),
        "{ran:?}"
    );
    git(&scene, &["init", "-q", "-b", "main"]);
    commit(&scene, "first");
    for revision in ["nowhere", "--output=x", "-q"] {
        let ran = check(&scene, &[&format!("--diff-base={revision}"), "pod.yaml"]);
        assert_eq!(ran.code, 2);
        let told = format!("error: git knows no revision '{revision}'; fetch it first");
        assert!(ran.stderr.starts_with(&told), "{ran:?}");
    }
    let ran = check(&scene, &["--diff-base", "main", "-"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("standard input has no earlier revision"), "{ran:?}");
    git(&scene, &["checkout", "-q", "--orphan", "other"]);
    commit(&scene, "unrelated");
    let ran = check(&scene, &["--diff-base", "main", "pod.yaml"]);
    assert!(ran.stderr.contains("no common history of 'main' and HEAD; fetch more of it"), "{ran:?}");
}

#[test]
fn many_files_are_reported_in_their_order_whatever_thread_was_first() {
    let scene = scene(&[]);
    let large = format!("{}---\n", pod("large", BAD)).repeat(200);
    let names: Vec<String> = (0..60).map(|number| format!("deploy/{number:02}.yaml")).collect();
    for (number, name) in names.iter().enumerate() {
        let text = if number % 20 == 0 { large.clone() } else { pod("p", BAD) };
        scene.write(name, text.as_bytes());
    }
    scene.write("deploy/05.yaml", b"a: [");
    scene.write("deploy/45.yaml", b"a: [");
    let ran = check(&scene, &["--format", "json", "deploy"]);
    assert_eq!(ran.code, 2);
    let report = ran.json();
    let mut files: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|f| f["file"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 3 * 200 + 55);
    assert!(files.is_sorted());
    files.dedup();
    assert_eq!(files.len(), 58);
    let broken: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("--> ")).collect();
    assert_eq!(broken.len(), 2);
    assert!(broken[0].contains("05.yaml") && broken[1].contains("45.yaml"), "{broken:?}");
}

#[test]
fn of_a_line_of_megabytes_the_part_around_the_image_is_shown() {
    let scene = scene(&[]);
    let items = vec![pod_json(GOOD); 2_000].join(",");
    let text = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{items},{}]}}", pod_json(BAD));
    let column = text.find(BAD).unwrap();
    scene.write("list.json", text.as_bytes());
    let ran = check(&scene, &["list.json"]);
    assert!(ran.stdout.contains(&format!("--> list.json:1:{column}\n")), "{}", ran.stdout);
    assert!(ran.stdout.len() < 2_000 && ran.stdout.contains("\"image\":\"registry.example.com/acme/api:main\""));
}

fn pod_json(image: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image}]}})
        .to_string()
}

#[test]
fn each_image_of_a_file_is_explained() {
    let text = format!("{}---\n{}---\nkind: ConfigMap\napiVersion: v1\n", pod("one", BAD), pod("two", "nginx:1"));
    let scene = scene(&[("pods.yaml", &text)]);
    let ran = scene.run(&["explain", "--policies", "policies", "--offline", "-f", "pods.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
    at          pods.yaml:7:12
    object      Pod default/one, container "c"
    image       registry.example.com/acme/api:main
    registry    registry.example.com
    repository  acme/api
    tag         main
    digest      none
    class       floating
    refused     no
    namespace   default (labels unknown, so selectors match)
    policy      acme: applies
      where     no glob of exclude matches default
      rule      first-party names it by "registry.example.com/acme/**"
      mode      tags is enforce by spec.mode
      finding   TW120 tags, mode enforce
                main is a floating tag; rule first-party accepts release (v1.2.3), channel (env-<name>)
    verdict     deny

    at          pods.yaml:15:12
    object      Pod default/two, container "c"
    image       nginx:1
    registry    docker.io (none is written)
    repository  library/nginx
    tag         1
    digest      none
    class       none of the known ones
    refused     no
    namespace   default (labels unknown, so selectors match)
    policy      acme: applies
      where     no glob of exclude matches default
      rule      none of 1 names it, and unmatched is deny
      mode      registry is enforce by spec.mode
      finding   TW110 registry, mode enforce
                no rule names docker.io/library/nginx; rules name registry.example.com/acme/**
    verdict     deny
    "#);

    let json = scene.run(&["explain", "--policies", "policies", "--offline", "--format", "json", "-f", "pods.yaml"]);
    let explained = json.json();
    assert_eq!((json.code, &explained["schemaVersion"]), (1, &json!(1)));
    let image = &explained["images"][0];
    let expected = json!({"file": "pods.yaml", "line": 7, "column": 12, "container": "c",
        "field": "spec.containers[0].image", "object": {"kind": "Pod", "namespace": "default", "name": "one"}});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&image[key], value, "{key}");
    }
    let alone = scene.run(&["explain", "--policies", "policies", "--offline", "--format", "json", BAD]).json();
    for (key, value) in alone.as_object().unwrap() {
        match key.as_str() {
            // There the findings name their container.
            "policies" => assert_eq!(image[key][0]["findings"][0]["id"], value[0]["findings"][0]["id"]),
            _ => assert_eq!(&image[key], value, "{key}: as that of the image alone"),
        }
    }
}

#[test]
fn a_file_to_explain_may_be_standard_input_and_must_hold_an_image() {
    let scene = scene(&[
        ("none.yaml", "kind: ConfigMap\napiVersion: v1\n"),
        ("broken.yaml", &format!("{}---\na: [", pod("p", GOOD))),
    ]);
    let ran = scene.run_with_input(&["explain", "--offline", "-f", "-"], &pod("p", GOOD));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("at          <stdin>:7:12\nobject      Pod default/p, container \"c\"\nimage"),
        "{}",
        ran.stdout
    );
    let none = scene.run(&["explain", "--offline", "-f", "none.yaml"]);
    assert_eq!((none.code, none.stdout.as_str()), (2, ""));
    assert!(none.stderr.contains("there is no image in it that could be explained"), "{none:?}");
    let broken = scene.run(&["explain", "--offline", "-f", "broken.yaml"]);
    assert_eq!(broken.code, 2, "what could be read is explained all the same");
    assert!(broken.stdout.contains("verdict     allow") && broken.stderr.contains("not valid YAML"), "{broken:?}");
    assert_eq!(scene.run(&["explain", "--offline", "-f", "absent.yaml"]).code, 2);
    assert_eq!(scene.run(&["explain", "--offline"]).code, 2, "an image or a file");
    assert_eq!(scene.run(&["explain", "--offline", "-f", "none.yaml", "nginx"]).code, 2, "not both");
}

#[test]
fn values_that_tell_no_image_are_named() {
    let values = "image: {repository: registry.example.com/acme/a, tag: '{{ .Chart.AppVersion }}'}\n\
                  other: {repository: registry.example.com/acme/b, tag: 20260101}\n";
    let scene = scene(&[("values.yaml", values)]);
    let ran = check(&scene, &["--format", "json", "--values", "values.yaml", "values.yaml"]);
    let summary = &ran.json()["summary"];
    let deferred: Vec<&str> =
        summary["deferredImages"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!((ran.code, &summary["images"], deferred.len()), (0, &Value::from(0), 2));
    assert!(deferred[0].starts_with("values.yaml: image: it holds an expression of a template"), "{deferred:?}");
    assert!(deferred[1].ends_with("quote it"), "{deferred:?}");
}

#[test]
fn a_past_is_what_git_knows_of_the_same_path() {
    let two_images = format!("{}    image: {GOOD}\n", pod("twice", BAD));
    let scene = scene(&[
        ("examples/bad.yaml", &pod("bad", BAD)),
        ("examples/gone.yaml", &pod("gone", BAD)),
        ("deploy/ok.yaml", &pod("ok", GOOD)),
        ("deploy/twice.yaml", &two_images),
        ("deploy/unseen.yaml", &pod("unseen", GOOD)),
    ]);
    git(&scene, &["init", "-q", "-b", "main"]);
    commit(&scene, "first");
    git(&scene, &["checkout", "-q", "-b", "feature"]);
    // A link to an unchanged file, an object from outside the paths, a base that was broken, a file that git leaves alone.
    std::os::unix::fs::symlink("../examples/bad.yaml", scene.path().join("deploy/link.yaml")).unwrap();
    std::fs::rename(scene.path().join("examples/gone.yaml"), scene.path().join("deploy/gone.yaml")).unwrap();
    scene.write("deploy/twice.yaml", pod("twice", BAD).as_bytes());
    commit(&scene, "feature");
    git(&scene, &["update-index", "--assume-unchanged", "deploy/unseen.yaml"]);
    scene.write("deploy/unseen.yaml", pod("unseen", BAD).as_bytes());
    let ran = check(&scene, &["--format", "json", "--diff-base", "main", "deploy"]);
    let report = ran.json();
    let files: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|f| f["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["deploy/gone.yaml", "deploy/link.yaml", "deploy/twice.yaml", "deploy/unseen.yaml"]);
    assert_eq!(report["summary"]["unchangedFiles"], 1);
}

#[test]
fn folders_that_links_lead_to_are_read_by_each_of_their_paths() {
    let scene = scene(&[("overlays/free-1/pod.yaml", &pod("p", BAD))]);
    std::os::unix::fs::symlink("free-1", scene.path().join("overlays/shop-prod")).unwrap();
    std::os::unix::fs::symlink("..", scene.path().join("overlays/free-1/loop")).unwrap();
    let ran = check(&scene, &["--format", "json", "--layout", "overlays/{namespace}/*.yaml", "overlays"]);
    let report = ran.json();
    let namespaces: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().map(|f| &f["object"]["namespace"]).collect();
    assert_eq!(namespaces, ["shop-prod"], "the other one is not covered: {report}");
}

#[test]
fn an_object_is_judged_as_one_whatever_its_file_is_called() {
    let manifest = pod("p", BAD).replace("{name: p}", "{name: p, namespace: shop-prod}");
    let scene = scene(&[
        ("deploy/values-x.yaml", &manifest),
        ("deploy/values.yaml", "image: {repository: \"registry.example.com/acme/x@sha256\", tag: aa}\n"),
    ]);
    let ran = check(&scene, &["--format", "json", "--values", "values*.yaml", "--namespace", "free-1", "deploy"]);
    let report = ran.json();
    assert_eq!((ran.code, &report["findings"][0]["object"]["namespace"]), (1, &json!("shop-prod")));
    assert_eq!(report["summary"]["images"], 2, "a repository with a part of the digest is one");
}

#[test]
fn of_two_places_that_a_layout_fits_the_outer_one_holds() {
    let path = "overlays/shop-prod/overlays/free-1/pod.yaml";
    let scene = scene(&[(path, &pod("p", BAD))]);
    let ran = check(&scene, &["--layout", "overlays/{namespace}/**", "overlays"]);
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn what_is_undecided_in_warn_fails_nothing() {
    let policy = POLICY.replace("enforce", "warn");
    let scene = scene(&[("warn/p.yaml", &policy), ("pod.yaml", &pod("p", "registry.example.com/acme/api:env-dev"))]);
    for flags in [&[][..], &["--fail-on", "warn"], &["--fail-on", "audit"]] {
        let ran = scene.run(&[&["check", "--policies", "warn", "--offline"], flags, &["pod.yaml"]].concat());
        assert_eq!(ran.code, 0, "{flags:?}: {ran:?}");
    }
    scene.write("pod.yaml", pod("p", BAD).as_bytes());
    assert_eq!(scene.run(&["check", "--policies", "warn", "--offline", "--fail-on", "warn", "pod.yaml"]).code, 1);
}

#[test]
fn source_lines_on_standard_error_give_the_runner_no_commands() {
    let scene = scene(&[("gh.yaml", "apiVersion: v1\nkind: Pod\nx: [ \"##[stop-commands]tok\" : : \n")]);
    let ran = check(&scene, &["gh.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("## [stop-commands]") && !ran.stderr.contains("##["), "{}", ran.stderr);
}

#[test]
fn a_report_takes_the_place_of_a_link_and_leaves_alone_what_it_led_to() {
    let scene = scene(&[("victim", "dear"), ("pod.yaml", &pod("p", BAD))]);
    std::os::unix::fs::symlink("victim", scene.path().join("report.json")).unwrap();
    let ran = check(&scene, &["--format", "json", "--output", "report.json", "pod.yaml"]);
    assert_eq!(ran.code, 1);
    assert_eq!(std::fs::read_to_string(scene.path().join("victim")).unwrap(), "dear");
    assert!(std::fs::read_to_string(scene.path().join("report.json")).unwrap().contains("schemaVersion"));
}
