//! `release diff` where a side is what manifests use.

use serde_json::json;

use crate::cli_support::{Ran, Scene, git};

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

const RELEASE: &str = "release: shop-1
images:
  api: {repo: ghcr.io/acme/api, tag: 4f2a1b0}
  worker: {repo: ghcr.io/acme/api, tag: 4f2a1b0}
  web: {repo: ghcr.io/acme/web, tag: v2.0.0}
experiment: {istio: {canaryWeight: 10, stableWeight: 90}}
";

fn deployment(name: &str, image: &str) -> String {
    format!(
        "---\n# Source: shop/templates/{name}.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n\
         spec: {{template: {{spec: {{containers: [{{name: c, image: \"{image}\"}}]}}}}}}\n"
    )
}

fn manifests(images: &[&str]) -> String {
    images.iter().enumerate().map(|(at, image)| deployment(&format!("d{at}"), image)).collect()
}

fn scene() -> Scene {
    let same = manifests(&["ghcr.io/acme/api:4f2a1b0", "ghcr.io/acme/web:v2.0.0"]);
    let next = manifests(&["ghcr.io/acme/api:5f2a1b0", "ghcr.io/acme/web:v2.0.0"]);
    Scene::new(&[
        ("r.yaml", RELEASE),
        ("now/a.yaml", &same),
        ("now/values.yaml", "image: {tag: v1}\n"),
        ("next.yaml", &next),
    ])
}

fn diff(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["release", "diff", "--exit-code"], arguments].concat())
}

#[test]
fn a_file_and_the_tree_that_was_rendered_of_it_have_the_same_images() {
    let scene = scene();
    let ran = diff(&scene, &["r.yaml", "now"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "note: not looked at: now/values.yaml (no manifest)\n"));
    assert_eq!(
        ran.stdout,
        format!(
            "shop-1 ({}) and manifests of now have the same images\n\nto verify:\n  \
             - without a digest: ghcr.io/acme/api, ghcr.io/acme/web; `tagwarden pin` writes it\n",
            tagwarden::release::Release::read("r.yaml", RELEASE).unwrap().id().short()
        )
    );
    let back = diff(&scene, &["now", "r.yaml"]);
    assert!(back.code == 0 && back.stdout.contains("without a digest: api, web, worker; run"), "{}", back.stdout);
}

#[test]
fn a_file_and_another_tree_differ_by_repository_under_the_files_names() {
    let scene = scene();
    let ran = diff(&scene, &["r.yaml", "next.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let told = "(sha256:ID) -> manifests of next.yaml\n\n~ api\n    tag         4f2a1b0 -> 5f2a1b0\n    \
                compare     https://github.com/acme/api/compare/4f2a1b0...5f2a1b0\n\nto verify:\n  \
                - api: what lies between 4f2a1b0 and 5f2a1b0\n";
    let told = told.replace("ID", &tagwarden::release::Release::read("r", RELEASE).unwrap().id().short()[7..]);
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);

    let input = manifests(&["ghcr.io/acme/api:5f2a1b0"]);
    let piped = scene.run_with_input(&["release", "diff", "--format", "json", "r.yaml", "-"], &input);
    assert_eq!((piped.code, piped.stderr.as_str()), (0, ""));
    let output = piped.json();
    assert_eq!(output["from"]["release"], json!("shop-1"));
    assert_eq!(output["to"], json!({"release": null, "id": null, "manifests": "<stdin>"}));
    let changes: Vec<_> =
        output["images"].as_array().unwrap().iter().map(|image| (&image["name"], &image["change"])).collect();
    assert_eq!(changes, [(&json!("api"), &json!("changed")), (&json!("web"), &json!("removed"))]);
    assert_eq!(output["values"], json!([]), "manifests have no free sections");
}

#[test]
fn two_trees_are_compared_and_two_versions_of_a_repository_are_no_error() {
    let scene = scene();
    let markdown = diff(&scene, &["--format", "markdown", "now", "next.yaml"]);
    assert_eq!(markdown.code, 1);
    assert_eq!(
        markdown.stdout,
        "## Manifests of `next.yaml`\n\nFrom the manifests of `now` to the manifests of `next.yaml`.\n\n\
         | image | from | to | commits |\n| --- | --- | --- | --- |\n\
         | `ghcr.io/acme/api` | `4f2a1b0` | `5f2a1b0` | [`4f2a1b0...5f2a1b0`](https://github.com/acme/api/compare/4f2a1b0...5f2a1b0) |\n\n\
         ### To verify\n\n- [ ] ghcr.io/acme/api&#58; what lies between 4f2a1b0 and 5f2a1b0\n\
         - [ ] without a digest&#58; ghcr.io/acme/api, ghcr.io/acme/web; &#96;tagwarden pin&#96; writes it\n"
    );
    let pinned = format!("ghcr.io/acme/api:4f2a1b0@{}", digest('a'));
    scene.write("two.yaml", manifests(&["ghcr.io/acme/web:v2.0.0", "ghcr.io/acme/api:5f2a1b0", &pinned]).as_bytes());
    let two = diff(&scene, &["next.yaml", "two.yaml"]);
    assert_eq!((two.code, two.stderr.as_str()), (1, ""));
    let told = format!(
        "\n+ ghcr.io/acme/api\n    repository  ghcr.io/acme/api\n    tag         4f2a1b0\n    digest      {}\n",
        digest('a')
    );
    assert!(two.stdout.contains(&told), "{}", two.stdout);
    assert!(
        two.stdout.contains("- ghcr.io/acme/api is used in 2 versions at once: 4f2a1b0, 5f2a1b0\n"),
        "{}",
        two.stdout
    );
    assert_eq!(diff(&scene, &["two.yaml", "two.yaml"]).code, 0);
}

#[test]
fn manifests_of_a_revision_and_of_one_that_only_looks_like_some_are_read_as_what_they_are() {
    let scene = scene();
    git(&scene, &["init", "-q"]);
    git(&scene, &["add", "next.yaml"]);
    git(&scene, &["commit", "-q", "-m", "one"]);
    scene.write("next.yaml", manifests(&["ghcr.io/acme/api:6f2a1b0", "ghcr.io/acme/web:v2.0.0"]).as_bytes());
    let ran = diff(&scene, &["HEAD:next.yaml", "next.yaml"]);
    assert!(ran.code == 1 && ran.stdout.contains("tag         5f2a1b0 -> 6f2a1b0\n"), "{ran:?}");
    // Sections of a release that are called as an object's keys.
    scene.write("odd.yaml", format!("{RELEASE}apiVersion: v1\nkind: Shop\n").as_bytes());
    let ran = diff(&scene, &["r.yaml", "odd.yaml"]);
    assert!(ran.code == 1 && ran.stdout.contains("~ kind: none -> \"Shop\"\n"), "{ran:?}");
}

#[test]
fn what_is_neither_a_release_nor_manifests_with_images_is_refused() {
    let scene = scene();
    scene.write("service.yaml", b"apiVersion: v1\nkind: Service\nmetadata: {name: a}\n");
    scene.write("bad.yaml", manifests(&["ghcr.io/acme/api:v1.0.0", "ghcr.io/acme/API"]).as_bytes());
    scene.write("broken.yaml", (manifests(&["ghcr.io/acme/api:v1.0.0"]) + "---\na: [\n").as_bytes());
    scene.write("empty/x.txt", b"");
    for (side, told) in [
        ("service.yaml", "error: no image is used in these manifests\n--> service.yaml\n"),
        ("bad.yaml", "error: 'ghcr.io/acme/API' is not an image: "),
        ("broken.yaml", "broken.yaml:"),
        ("empty", "there is nothing to check in this directory"),
        ("now/values.yaml", "the key 'release' is missing here"),
        ("gone", "gone"),
    ] {
        for arguments in [["r.yaml", side], [side, "r.yaml"]] {
            let ran = diff(&scene, &arguments);
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
            assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
        }
    }
    let both = diff(&scene, &["-", "-"]);
    assert!(both.code == 2 && both.stderr.contains("standard input can be one of the two, not both"), "{both:?}");
}

#[test]
fn workloads_of_the_configuration_hold_in_manifests() {
    let config = "workloads: [{group: example.com, kind: Rollout, paths: [spec.template.spec]}]\n";
    let rollout =
        manifests(&["ghcr.io/acme/api:5f2a1b0"]).replace("apps/v1", "example.com/v1").replace("Deployment", "Rollout");
    let scene = scene();
    scene.write("config.yaml", config.as_bytes());
    scene.write("rollout.yaml", rollout.as_bytes());
    let without = diff(&scene, &["rollout.yaml", "next.yaml"]);
    assert!(without.code == 2 && without.stderr.starts_with("note: not looked at: Rollout\n"), "{without:?}");
    let with = diff(&scene, &["--config", "config.yaml", "rollout.yaml", "next.yaml"]);
    assert!(with.code == 1 && with.stdout.contains("\n+ ghcr.io/acme/web\n"), "{with:?}");
}
