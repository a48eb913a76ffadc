//! `pin` against a registry on loopback: what is asked and as whom, exit codes, drift, and each flag.

use serde_json::{Value, json};

use crate::cli_registry::Loopback;
use crate::cli_support::{Ran, Scene, outside_hooks};

/// A Pod with these images, written plainly.
fn pod(images: &[&str]) -> String {
    let container = |(at, image): (usize, &&str)| format!("  - name: c{at}\n    image: {image} # c{at}\n");
    let containers: String = images.iter().enumerate().map(container).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n{containers}")
}

fn pin(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["pin", "--config", "config.yaml"], arguments].concat())
}

fn read(scene: &Scene, path: &str) -> String {
    std::fs::read_to_string(scene.path().join(path)).unwrap()
}

/// A scene that knows a registry.
fn scene() -> (Scene, Loopback) {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    (scene, loopback)
}

#[test]
fn a_dry_run_shows_a_diff_and_writes_nothing() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = pod(&["r.example.com/acme/api:v1.0.0", "r.example.com/acme/api:env-prod"]);
    scene.write("pod.yaml", text.as_bytes());
    let before = std::fs::metadata(scene.path().join("pod.yaml")).unwrap().modified().unwrap();
    let ran = pin(&scene, &["pod.yaml"]);
    let told = format!(
        "--- pod.yaml\n+++ pod.yaml\n@@ -4,6 +4,6 @@\n spec:\n   containers:\n   - name: c0\n\
         -    image: r.example.com/acme/api:v1.0.0 # c0\n+    image: r.example.com/acme/api:v1.0.0@{digest} # c0\n\
         \x20  - name: c1\n     image: r.example.com/acme/api:env-prod # c1\n\n\
         note: left: env-prod is a channel tag, meant to move\n --> pod.yaml:9:12\n  |\n\
         9 |     image: r.example.com/acme/api:env-prod # c1\n  |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  |\n  \
         = help: --floating pins it to what it is now\n\n\
         1 file, 2 images: 1 would be pinned, 1 left\nnothing is written without --write\n"
    );
    assert_eq!(ran, Ran { code: 0, stdout: told, stderr: String::new() });
    assert_eq!(read(&scene, "pod.yaml"), text);
    assert_eq!(std::fs::metadata(scene.path().join("pod.yaml")).unwrap().modified().unwrap(), before);

    let colored = scene.run(&["--color", "always", "pin", "--config", "config.yaml", "pod.yaml"]);
    assert!(
        colored.stdout.contains("\u{1b}[32m+    image: r.example.com/acme/api:v1.0.0@sha256:"),
        "{}",
        colored.stdout
    );
}

#[test]
fn the_diff_is_one_that_patch_takes() {
    let (scene, loopback) = scene();
    loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let kustomization = "images:\r\n- name: a\r\n  newName: r.example.com/acme/api\r\n  newTag: v1.0.0\r\n";
    scene.write("pod.yaml", pod(&["r.example.com/acme/api:v1.0.0"; 30]).as_bytes());
    scene.write("kustomization.yaml", kustomization.as_bytes());
    scene.write("values.yaml", b"a:\n  repository: r.example.com/acme/api\n  tag: v1.0.0\n  digest: ''");
    let files = ["pod.yaml", "kustomization.yaml", "values.yaml"];
    let ran = pin(&scene, &files);
    scene.write("pin.diff", ran.stdout.as_bytes());
    let mut patch = std::process::Command::new("git");
    patch.args(["apply", "-p0", "--whitespace=nowarn", "pin.diff"]).current_dir(scene.path());
    assert!(outside_hooks(&mut patch).status().unwrap().success(), "{}", ran.stdout);
    let patched = files.map(|file| read(&scene, file));
    let checked = pin(&scene, &[&["--check"], &files[..]].concat());
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "3 files, 32 images: 32 pinned already\n"));
    assert!(patched[1].contains("v1.0.0\r\n  digest: sha256:") && patched[1].ends_with("\r\n"), "{:?}", patched[1]);
}

#[test]
fn write_pins_and_a_second_run_changes_nothing() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = pod(&["r.example.com/acme/api:v1.0.0", "r.example.com/acme/api:v1.0.0"]);
    scene.write("d/pod.yaml", text.as_bytes());
    let asked = loopback.registry.requests();
    let ran = pin(&scene, &["--write", "d"]);
    let told = "wrote d/pod.yaml\n1 file, 2 images: 2 pinned now\n";
    assert_eq!(ran, Ran { code: 0, stdout: told.to_owned(), stderr: String::new() });
    assert_eq!(loopback.registry.requests() - asked, 1, "each tag is asked for once, by one HEAD");
    let pinned = text.replace(":v1.0.0", &format!(":v1.0.0@{digest}"));
    assert_eq!(read(&scene, "d/pod.yaml"), pinned);
    assert_eq!(names(&scene, "d"), ["pod.yaml"], "no temporary file stays");

    let again = pin(&scene, &["--write", "d"]);
    assert_eq!(again.stdout, "1 file, 2 images: 2 pinned already\n");
    assert_eq!((again.code, read(&scene, "d/pod.yaml")), (0, pinned));
}

fn names(scene: &Scene, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(scene.path().join(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn check_ends_with_0_3_4_or_2_and_the_graver_wins() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let other = loopback.push("acme/api", &["v2.0.0"], "2.0.0");
    let image = |digest: &str| format!("r.example.com/acme/api:v1.0.0@{digest}");
    scene.write("pinned.yaml", pod(&[&image(&digest)]).as_bytes());
    scene.write("digest.yaml", pod(&[&format!("r.example.com/acme/api@{other}")]).as_bytes());
    scene.write("floating.yaml", pod(&["r.example.com/acme/api:env-prod", "r.example.com/acme/api"]).as_bytes());
    scene.write("moved.yaml", pod(&[&image(&other)]).as_bytes());
    scene.write("bare.yaml", pod(&["r.example.com/acme/api:v1.0.0"]).as_bytes());
    scene.write("absent.yaml", pod(&["r.example.com/acme/api:v9.0.0"]).as_bytes());
    scene.write("values.yaml", b"a: {repository: r.example.com/acme/api, tag: v1.0.0}\n");
    scene.write("wrong.yaml", pod(&["r.example.com/acme/API:v1.0.0"]).as_bytes());
    scene.write("broken.yaml", b"a: [\n");
    for (files, code) in [
        (&["pinned.yaml"][..], 0),
        (&["digest.yaml"], 0),
        (&["floating.yaml"], 0),
        (&["--floating", "floating.yaml"], 4),
        (&["moved.yaml"], 4),
        (&["bare.yaml"], 4),
        (&["values.yaml"], 4),
        (&["wrong.yaml"], 4),
        (&["absent.yaml"], 3),
        (&["absent.yaml", "bare.yaml"], 4),
        (&["broken.yaml", "bare.yaml", "absent.yaml"], 2),
        (&["broken.yaml", "pinned.yaml"], 2),
        (&["nowhere.yaml", "pinned.yaml"], 2),
    ] {
        let before = names(&scene, ".");
        assert_eq!(pin(&scene, &[&["--check"], files].concat()).code, code, "{files:?}");
        assert_eq!(names(&scene, "."), before);
    }
    // Without --check, what is left to do is told and no failure.
    for (file, code) in
        [("bare.yaml", 0), ("moved.yaml", 0), ("values.yaml", 0), ("absent.yaml", 3), ("broken.yaml", 2)]
    {
        assert_eq!(pin(&scene, &[file]).code, code, "{file}");
    }
    let ran = pin(&scene, &["--check", "moved.yaml", "bare.yaml"]);
    assert!(
        ran.stdout.contains(&format!("error: the tag has moved: v1.0.0 is {digest} now, not {other}\n")),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("error: not pinned\n --> bare.yaml:7:12\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("= help: use: {}\n", image(&digest))), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("2 files, 2 images: 1 not pinned, 1 moved\n"), "{}", ran.stdout);
}

#[test]
fn a_tag_that_moved_is_told_and_written_only_with_update() {
    let (scene, loopback) = scene();
    let old = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = pod(&["r.example.com/acme/api:v1.0.0"]);
    scene.write("pod.yaml", text.as_bytes());
    assert_eq!(pin(&scene, &["--write", "pod.yaml"]).code, 0);
    let new = loopback.push("acme/api", &["v1.0.0"], "1.0.0-rebuilt");
    let ran = pin(&scene, &["--write", "pod.yaml"]);
    assert!(
        ran.stdout.contains(&format!("warning: the tag has moved: v1.0.0 is {new} now, not {old}\n")),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("= help: --update writes the digest that it is now\n"), "{}", ran.stdout);
    let pinned = |digest: &str| text.replace(":v1.0.0", &format!(":v1.0.0@{digest}"));
    assert_eq!((ran.code, read(&scene, "pod.yaml")), (0, pinned(&old)));
    let ran = pin(&scene, &["--write", "--update", "pod.yaml"]);
    assert_eq!((ran.code, read(&scene, "pod.yaml")), (0, pinned(&new)), "{}", ran.stdout);
}

#[test]
fn what_is_meant_to_move_is_pinned_with_floating_and_not_asked_for_without() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["latest", "env-prod", "main"], "1.0.0");
    let text = pod(&["r.example.com/acme/api", "r.example.com/acme/api:env-prod", "r.example.com/acme/api:main"]);
    scene.write("pod.yaml", text.as_bytes());
    let ran = pin(&scene, &["--write", "pod.yaml"]);
    assert_eq!((ran.code, read(&scene, "pod.yaml")), (0, text.clone()));
    assert!(ran.stdout.ends_with("1 file, 3 images: 3 left\n"), "{}", ran.stdout);
    assert_eq!(loopback.registry.requests(), 0);
    assert_eq!(pin(&scene, &["--write", "--floating", "pod.yaml"]).code, 0);
    let expected = text.replace("acme/api #", "acme/api:latest #").replace(" # c", &format!("@{digest} # c"));
    assert_eq!(read(&scene, "pod.yaml"), expected);
    // Once pinned it is left in peace: that such a tag moves is no drift.
    loopback.push("acme/api", &["latest", "env-prod", "main"], "2.0.0");
    assert_eq!(pin(&scene, &["--check", "pod.yaml"]).code, 0);
    assert_eq!(pin(&scene, &["--check", "--floating", "pod.yaml"]).code, 4);
}

#[test]
fn where_one_registry_fails_other_images_are_still_pinned() {
    let (scene, mut loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = pod(&["r.example.com/acme/api:v1.0.0", "r.example.com/acme/api:v9.0.0", "other.invalid/a:v1"]);
    scene.write("pod.yaml", text.as_bytes());
    let ran = pin(&scene, &["--write", "pod.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    assert_eq!(read(&scene, "pod.yaml"), text.replace("api:v1.0.0", &format!("api:v1.0.0@{digest}")));
    assert!(ran.stdout.contains("error: not known: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("docker login r.example.com"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("1 file, 3 images: 1 pinned now, 2 not known\n"), "{}", ran.stdout);

    loopback.go_down();
    let json = pin(&scene, &["--format", "json", "pod.yaml"]);
    let statuses: Vec<_> =
        json.json()["images"].as_array().unwrap().iter().map(|image| image["status"].clone()).collect();
    assert_eq!((json.code, statuses), (3, vec![json!("undecided"); 3]));
}

#[test]
fn the_callers_own_credentials_are_used() {
    let (scene, loopback) = scene();
    loopback.registry.require_login("acme/api", "jane", "secret");
    scene.write("pod.yaml", pod(&["r.example.com/acme/api:v1.0.0"]).as_bytes());
    assert_eq!(pin(&scene, &["--check", "pod.yaml"]).code, 3);
    scene.write(".docker/config.json", b"{\"auths\": {\"r.example.com\": {\"auth\": \"amFuZTpzZWNyZXQ=\"}}}");
    let ran = pin(&scene, &["--check", "pod.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (4, ""), "{}", ran.stdout);
    assert!(!ran.stdout.contains("secret"));
}

#[test]
fn the_configuration_says_which_kinds_and_which_hosts() {
    let (scene, loopback) = scene();
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      \
                   containers: [{name: c, image: 'R.example.com/acme/api:v1.0.0'}]\n";
    scene.write("rollout.yaml", rollout.as_bytes());
    let ran = pin(&scene, &["--check", "rollout.yaml"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().last()),
        (0, Some("not looked into, kinds without known images: Rollout (1)"))
    );
    let config = read(&scene, "config.yaml");
    let workloads = "workloads: [{group: argoproj.io, kind: Rollout, paths: [spec.template.spec]}]\n";
    scene.write("config.yaml", format!("{config}{workloads}").as_bytes());
    let ran = pin(&scene, &["--check", "rollout.yaml"]);
    assert!(ran.code == 4 && ran.stdout.contains("refused shape NonCanonicalHost"), "{}", ran.stdout);
    assert_eq!(loopback.registry.requests(), 0);
    scene.write("config.yaml", format!("{config}{workloads}references: {{nonCanonicalHost: normalise}}\n").as_bytes());
    let ran = pin(&scene, &["--write", "rollout.yaml"]);
    assert_eq!(ran.stdout, "wrote rollout.yaml\n1 file, 1 image: 1 pinned now\n");
    assert!(read(&scene, "rollout.yaml").contains("'R.example.com/acme/api:v1.0.0@sha256:"));
    let broken = scene.run(&["pin", "--config", "nowhere.yaml", "rollout.yaml"]);
    assert_eq!((broken.code, broken.stdout.as_str()), (2, ""));
}

#[test]
fn json_says_everything_of_each_image() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = pod(&["r.example.com/acme/api:v1.0.0", "r.example.com/acme/api:env-prod"]);
    scene.write("pod.yaml", text.as_bytes());
    scene.write("notes.yaml", b"a: b\n");
    let pinned = format!("r.example.com/acme/api:v1.0.0@{digest}");
    let image = |line: u32, image: &str, status: &str| json!({"file": "pod.yaml", "line": line, "column": 12, "image": image, "status": status});
    let merged = |mut of: Value, further: Value| {
        of.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        of
    };
    let expected = |written: Value| {
        json!({
            "schemaVersion": 1,
            "summary": {
                "files": 2, "images": 2, "pinned": 0, "changed": 1, "drifted": 0, "left": 1, "skipped": 0, "undecided": 0,
                "writtenFiles": written, "unrecognisedFiles": ["notes.yaml"], "brokenFiles": 0,
            },
            "images": [
                merged(image(7, "r.example.com/acme/api:v1.0.0", "changed"), json!({"pinned": pinned, "digest": digest, "reason": null, "help": null})),
                merged(image(9, "r.example.com/acme/api:env-prod", "left"), json!({
                    "pinned": null, "digest": null, "reason": "env-prod is a channel tag, meant to move",
                    "help": "--floating pins it to what it is now",
                })),
            ],
        })
    };
    assert_eq!(pin(&scene, &["--format", "json", "pod.yaml", "notes.yaml"]).json(), expected(json!([])));
    assert_eq!(read(&scene, "pod.yaml"), text);
    let written = pin(&scene, &["--write", "--format", "json", "pod.yaml", "notes.yaml"]);
    assert_eq!(written.json(), expected(json!(["pod.yaml"])));
}

#[test]
fn standard_input_is_printed_with_its_digests() {
    let (scene, loopback) = scene();
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let with = |arguments: &[&str], text: &str| {
        scene.run_with_input(&[&["pin", "--config", "config.yaml"], arguments].concat(), text)
    };
    let text = pod(&["r.example.com/acme/api:v1.0.0"]);
    let ran = with(&["-"], &text);
    assert_eq!((ran.code, ran.stdout), (0, text.replace(":v1.0.0", &format!(":v1.0.0@{digest}"))));
    assert_eq!(ran.stderr, "1 file, 1 image: 1 pinned now\n");
    let ran = with(&["-"], "FROM r.example.com/acme/api:v1.0.0\n");
    assert_eq!(ran.stdout, format!("FROM r.example.com/acme/api:v1.0.0@{digest}\n"));

    let undecided = pod(&["r.example.com/acme/api:v9.0.0"]);
    let ran = with(&["-"], &undecided);
    assert_eq!((ran.code, ran.stdout), (3, undecided));
    let ran = with(&["-"], "kind: [\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "nothing is passed on of what cannot be read");
    let ran = with(&["--check", "-"], &text);
    assert!(ran.code == 4 && ran.stdout.contains("error: not pinned\n --> <stdin>:7:12\n"), "{}", ran.stdout);
    let ran = with(&["--format", "json", "-"], &text);
    assert_eq!(ran.json()["images"][0]["status"], "changed");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let scene = Scene::new(&[("pod.yaml", "")]);
    for (arguments, said) in [
        (&["pin"][..], "<PATH>"),
        (&["pin", "--write", "--check", "pod.yaml"], "cannot be used with"),
        (&["pin", "--check", "--update", "pod.yaml"], "cannot be used with"),
        (&["pin", "--write", "-"], "standard input cannot be written"),
        (&["pin", "-", "pod.yaml"], "stands alone"),
        (&["pin", "--format", "sarif", "pod.yaml"], "invalid value"),
        (&["pin", "--facts", "nowhere.yaml", "pod.yaml"], "nowhere.yaml"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}
