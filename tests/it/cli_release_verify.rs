//! `release verify` of manifests, as the real binary: every outcome, both formats, registries and facts, bad input.

use serde_json::json;
use tagwarden::cli::ExampleImage;

use crate::cli_registry::Loopback;
use crate::cli_support::{Ran, Scene};

pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// A release: `api` locked with a platform, `web` locked, `job` by its tag alone.
pub fn release() -> String {
    format!(
        "release: shop-1\nimages:\n  \
         api: {{repo: r.example.com/acme/api, tag: v1.0.0, digest: '{}', platforms: {{linux/amd64: '{}'}}}}\n  \
         web: {{repo: r.example.com/acme/web, tag: v2.0.0, digest: '{}'}}\n  \
         job: {{repo: r.example.com/acme/job, tag: v3.0.0}}\n",
        digest('a'),
        digest('c'),
        digest('b'),
    )
}

/// What `helm template` prints: the release's images, by digest, by a platform's digest and by tag.
fn rendered() -> String {
    format!(
        "---\n# Source: shop/templates/api.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api, namespace: shop}}\n\
         spec:\n  template:\n    spec:\n      initContainers:\n      - name: wait\n        image: r.example.com/acme/web@{b}\n      \
         containers:\n      - name: api\n        image: r.example.com/acme/api:v1.0.0@{a}\n\
         ---\n# Source: shop/templates/job.yaml\napiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: nightly}}\nspec:\n  \
         jobTemplate:\n    spec:\n      template:\n        spec:\n          containers:\n          - {{name: job, image: 'r.example.com/acme/job:v3.0.0'}}\n\
         ---\n# Source: shop/templates/service.yaml\napiVersion: v1\nkind: Service\nmetadata: {{name: api}}\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: one}}\n  \
         spec: {{containers: [{{name: c, image: 'r.example.com/acme/api@{c}'}}]}}\n",
        a = digest('a'),
        b = digest('b'),
        c = digest('c'),
    )
}

fn pod(image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: c\n    image: \"{image}\"\n---\n"
    )
}

fn scene() -> Scene {
    Scene::new(&[("r.yaml", &release()), ("all/shop.yaml", &rendered()), ("all/values.yaml", "image: {tag: v1.0.0}\n")])
}

fn verify(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["release", "verify", "r.yaml"], arguments].concat())
}

fn id() -> String {
    tagwarden::release::Release::read("r.yaml", &release()).unwrap().id().short().to_owned()
}

#[test]
fn manifests_that_are_the_release_are_equal_and_what_is_no_manifest_is_named() {
    let ran = verify(&scene(), &["--offline", "all"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert_eq!(
        ran.stdout,
        format!(
            "not looked at: Service\nnot looked at: all/values.yaml (no manifest)\n\
             release shop-1 ({}): 3 objects, 4 images: 4 equal\n",
            id()
        )
    );
}

#[test]
fn every_difference_is_told_with_its_place() {
    let scene = scene();
    let images = [
        "r.example.com/acme/api:v1.0.0".to_owned(),
        "r.example.com/acme/api:v1.1.0".to_owned(),
        format!("r.example.com/acme/api:v1.0.0@{}", digest('d')),
        "busybox:1.36".to_owned(),
        "R.example.com/App".to_owned(),
        format!("r.example.com/acme/job@{}", digest('d')),
        "r.example.com/tools/proxy:v1.0.0".to_owned(),
    ];
    scene.write("p.yaml", images.iter().map(|image| pod(image)).collect::<String>().as_bytes());
    let arguments = ["--offline", "--ignore", "r.example.com/tools/**", "p.yaml"];
    let ran = verify(&scene, &arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let (a, b, d) = (digest('a'), digest('b'), digest('d'));
    let expected = format!(
        "different  r.example.com/acme/api:v1.1.0\n           p.yaml:15: Pod p, container \"c\"\n           \
         the release has r.example.com/acme/api:v1.0.0@{a}\n\
         different  r.example.com/acme/api:v1.0.0@{d}\n           p.yaml:23: Pod p, container \"c\"\n           \
         the release has r.example.com/acme/api:v1.0.0@{a}\n\
         extra      busybox:1.36\n           p.yaml:31: Pod p, container \"c\"\n\
         different  R.example.com/App\n           p.yaml:39: Pod p, container \"c\"\n           \
         not a valid image reference: REASON\n\
         undecided  r.example.com/acme/job@{d}\n           p.yaml:47: Pod p, container \"c\"\n           \
         the release has a tag alone: lock it, or leave out --offline\n\
         missing    web\n           r.example.com/acme/web:v2.0.0@{b} is used nowhere\n\
         release shop-1 ({}): 7 objects, 7 images: 1 by tag alone, 3 different, 1 extra, 1 missing, 1 undecided, 1 ignored\n",
        id()
    );
    let reason = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("not a valid image reference: "));
    assert_eq!(ran.stdout, expected.replace("REASON", reason.unwrap()));

    let json = verify(&scene, &[&arguments[..], &["--format", "json"]].concat());
    assert_eq!((json.code, json.stderr.as_str()), (1, ""));
    let image = |at: usize, outcome: &str, message: serde_json::Value| {
        json!({"image": images[at], "object": "Pod p", "container": "container \"c\"", "file": "p.yaml", "line": 7 + 8 * at,
            "runs": [], "outcome": outcome, "message": message})
    };
    let declared = json!(format!("the release has r.example.com/acme/api:v1.0.0@{a}"));
    assert_eq!(
        json.json(),
        json!({"schemaVersion": 1, "release": "shop-1", "id": json.json()["id"], "objects": 7,
        "images": [
            image(0, "by-tag", json!(null)),
            image(1, "different", declared.clone()),
            image(2, "different", declared),
            image(3, "extra", json!(null)),
            image(4, "different", json!(format!("not a valid image reference: {}", reason.unwrap()))),
            image(5, "undecided", json!("the release has a tag alone: lock it, or leave out --offline")),
            image(6, "ignored", json!(null)),
        ],
        "missing": [{"name": "web", "image": format!("r.example.com/acme/web:v2.0.0@{b}")}],
        "otherCommits": [], "unknownCommits": [], "notLookedAt": [], "unlistedKinds": []})
    );
}

#[test]
fn a_part_need_not_use_every_image_and_an_ignored_one_is_still_the_releases_where_it_names_it() {
    let scene = scene();
    scene.write("p.yaml", pod(&format!("r.example.com/acme/api@{}", digest('a'))).as_bytes());
    scene.write("bad.yaml", pod("r.example.com/acme/api:v9.0.0").as_bytes());
    for (arguments, code) in [
        (&["p.yaml"][..], 1),
        (&["--partial", "p.yaml"], 0),
        (&["--partial", "--ignore", "r.example.com/**", "bad.yaml"], 1),
        (&["--partial", "--ignore", "r.example.com/tools/**", "bad.yaml"], 1),
    ] {
        let ran = verify(&scene, &[&["--offline"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stdout);
    }
    let piped = scene.run_with_input(&["release", "verify", "--offline", "r.yaml", "-"], &rendered());
    assert_eq!(piped.code, 0, "{piped:?}");
}

const COMMIT: &str = "4f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
const OTHER: &str = "5f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";

#[test]
fn images_of_a_commit_are_told_by_their_tags_and_by_what_is_locked() {
    let entries = [
        ("full", format!("tag: git-{COMMIT}")),
        ("short", "tag: 4f2a1b0".to_owned()),
        ("labelled", format!("tag: v1.0.0, commit: {COMMIT}")),
        ("written", "tag: v1.0.0, commit: 4f2a1b0c9d8e".to_owned()),
        ("platform", "tag: 4f2a1b0-arm64".to_owned()),
    ];
    let file = |entries: &[(&str, String)]| {
        let entry =
            |(name, version): &(&str, String)| format!("  {name}: {{repo: r.example.com/acme/{name}, {version}}}\n");
        format!("release: r\nimages:\n{}", entries.iter().map(entry).collect::<String>())
    };
    let scene = Scene::new(&[("r.yaml", &file(&entries))]);
    let same = verify(&scene, &["--commit", COMMIT]);
    assert_eq!((same.code, same.stderr.as_str()), (0, ""), "{}", same.stdout);
    let other = verify(&scene, &["--commit", OTHER]);
    assert_eq!(other.code, 1);
    assert!(other.stdout.contains(&format!("commit     full\n           built from {COMMIT}\n")), "{}", other.stdout);
    assert!(other.stdout.ends_with("0 objects, 0 images: 5 of another commit\n"), "{}", other.stdout);

    let more = [entries.as_slice(), &[("vendor", "tag: v7.0.0".to_owned())]].concat();
    scene.write("r.yaml", file(&more).as_bytes());
    let unknown = verify(&scene, &["--commit", COMMIT]);
    assert_eq!(unknown.code, 3, "{}", unknown.stdout);
    let told = "undecided  vendor\n           its commit is not known: `tagwarden release lock` asks for it\n";
    assert!(unknown.stdout.starts_with(told), "{}", unknown.stdout);
    let json = verify(&scene, &["--commit", OTHER, "--format", "json"]).json();
    assert_eq!(json["otherCommits"][0], json!({"name": "full", "commit": COMMIT}));
    assert_eq!(json["unknownCommits"], json!(["vendor"]));

    let (ours, theirs) = ("r.example.com/acme/full", "r.example.com/acme/vendor");
    assert_eq!(verify(&scene, &["--commit", COMMIT, "--first-party", ours]).code, 0);
    assert_eq!(verify(&scene, &["--commit", COMMIT, "--first-party", theirs]).code, 3);
    assert_eq!(verify(&scene, &["--commit", OTHER, "--first-party", theirs, "--first-party", ours]).code, 1);
}

#[test]
fn bad_input_is_refused_with_its_place_and_what_to_do() {
    let scene = scene();
    scene.write("broken.yaml", b"apiVersion: v1\nkind: [\n");
    scene.write("facts.yaml", b"kind: ImageFacts\n");
    scene.write("floating.yaml", release().replace("v3.0.0", "latest").as_bytes());
    for (arguments, told) in [
        (&["r.yaml"][..], "nothing to compare with: name manifests (`-` is standard input), or --cluster, or --commit"),
        (&["gone.yaml", "all"], "gone.yaml"),
        (&["floating.yaml", "all"], "the tag 'latest' moves, and a release names versions"),
        (&["r.yaml", "gone"], "gone"),
        (&["r.yaml", "broken.yaml"], "broken.yaml:"),
        (&["r.yaml", "--cluster", "all"], "cannot be used with"),
        (&["r.yaml", "-n", "shop", "all"], "--cluster"),
        (&["r.yaml", "--context", "x", "all"], "--cluster"),
        (&["r.yaml", "--commit", "4f2a1b0"], "a whole commit is needed here, 40 or 64 of 0-9 and a-f"),
        (&["r.yaml", "--first-party", "r.example.com/**", "all"], "--commit"),
        (&["r.yaml", "--ignore", "acme/**", "all"], "docker.io/acme/**"),
        (&["r.yaml", "--offline", "--facts", "facts.yaml", "all"], "cannot be used with"),
        (&["r.yaml", "--facts", "facts.yaml", "all"], "facts.yaml"),
        (&["r.yaml", "--config", "gone.yaml", "all"], "gone.yaml"),
        (&["r.yaml", "--format", "sarif", "all"], "sarif"),
    ] {
        let ran = scene.run(&[&["release", "verify"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
    }
    // What can be read is compared all the same.
    let ran = verify(&scene, &["--offline", "broken.yaml", "all"]);
    assert!(ran.code == 2 && ran.stdout.ends_with("4 equal\n"), "{ran:?}");
}

/// A registry with two versions of `acme/api`, a locked release of the first, and `p.yaml` with its tag alone.
fn scene_with_registry() -> (Scene, Loopback, String) {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let text = "release: r\nimages: {api: {repo: r.example.com/acme/api, tag: v1.0.0}}\n";
    scene.write("open.yaml", text.as_bytes());
    scene.write("r.yaml", text.as_bytes());
    let locked = scene.run(&["release", "lock", "--config", "config.yaml", "--write", "r.yaml"]);
    assert_eq!(locked.code, 0, "{locked:?}");
    scene.write("p.yaml", (pod("r.example.com/acme/api:v1.0.0").repeat(3)).as_bytes());
    (scene, loopback, digest)
}

#[test]
fn a_tag_alone_is_asked_for_once_and_one_that_moved_is_different() {
    let (scene, mut loopback, old) = scene_with_registry();
    let config = |arguments: &[&str]| verify(&scene, &[&["--config", "config.yaml"], arguments].concat());
    let before = loopback.registry.requests();
    let ran = config(&["p.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("3 objects, 3 images: 3 equal\n"), "{}", ran.stdout);
    assert_eq!(loopback.registry.requests() - before, 1, "three Pods, one question");

    let new = loopback.push("acme/api", &["v1.0.0"], "moved");
    let ran = config(&["p.yaml"]);
    let (was, is) = (&old[..19], &new[..19]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("the release has v1.0.0 at {was}, and it is {is} now\n")), "{}", ran.stdout);
    let before = loopback.registry.requests();
    let offline = config(&["--offline", "p.yaml"]);
    assert!(offline.code == 0 && offline.stdout.ends_with("3 images: 3 by tag alone\n"), "{offline:?}");
    assert_eq!(loopback.registry.requests(), before);

    let facts = |digest: &str| {
        let text = format!(
            "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/api: {{tags: {{v1.0.0: '{digest}'}}}}\n"
        );
        scene.write("facts.yaml", text.as_bytes());
        verify(&scene, &["--facts", "facts.yaml", "p.yaml"]).code
    };
    assert_eq!((facts(&old), facts(&new)), (0, 1));
    assert_eq!(loopback.registry.requests(), before, "facts stand for the registry");
    scene.write("facts.yaml", b"apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry: {}\n");
    let unknown = verify(&scene, &["--facts", "facts.yaml", "p.yaml"]);
    assert!(unknown.code == 3 && unknown.stdout.contains("; add it to the file of --facts, or leave"), "{unknown:?}");

    loopback.go_down();
    let silent = config(&["p.yaml"]);
    assert!(silent.code == 3 && silent.stdout.starts_with("undecided  r.example.com/acme/api:v1.0.0\n"), "{silent:?}");
    assert!(silent.stdout.ends_with("3 images: 3 undecided\n"), "{}", silent.stdout);
}

#[test]
fn a_release_by_tags_alone_has_what_the_tag_is_and_its_platforms() {
    let (scene, loopback, digest) = scene_with_registry();
    let image = ExampleImage { platforms: &["linux/amd64"], labels: &[("build", "other")] };
    let other = loopback.registry.push("acme/api", &image).unwrap().to_string();
    let shown = scene.run(&["release", "show", "--format", "json", "r.yaml"]).json();
    let child = shown["images"][0]["platforms"]["linux/arm64"].as_str().unwrap().to_owned();
    for (written, code) in [
        (vec![&digest], 0),
        (vec![&child], 0),
        (vec![&digest, &child], 0),
        (vec![&other], 1),
        (vec![&digest, &other], 1),
    ] {
        let pods = written.iter().map(|digest| pod(&format!("r.example.com/acme/api@{digest}")));
        scene.write("d.yaml", pods.collect::<String>().as_bytes());
        let arguments = ["release", "verify", "--config", "config.yaml", "open.yaml", "d.yaml"];
        let ran = scene.run(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{written:?}: {}", ran.stdout);
    }
}
