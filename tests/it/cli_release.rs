//! `release` against a registry on loopback: what is asked, what is written, what is refused, and each exit code.

use std::fs;

use serde_json::json;
use tagwarden::cli::ExampleImage;

use crate::cli_registry::Loopback;
use crate::cli_support::{Ran, Scene, git};

/// The first code block of the product's design, with a registry of the tests.
pub const DESIGN: &str = "release: system-2026-01-11-expA
images:
  app:          {repo: r.example.com/acme/app, tag: v1.2.3}
  modelService: {repo: r.example.com/acme/model-service, tag: v2.0.1}
experiment: {istio: {canaryWeight: 10, stableWeight: 90}}
";

pub const COMMIT: &str = "4f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";

/// A registry with what the release names, and the release in `r.yaml`.
pub fn scene() -> (Scene, Loopback) {
    let (scene, loopback) = (Scene::new(&[("r.yaml", DESIGN)]), Loopback::new());
    loopback.configure(&scene, &[]);
    push(&loopback, "acme/app", "v1.2.3", "1", Some(COMMIT), &["linux/amd64", "linux/arm64"]);
    push(&loopback, "acme/model-service", "v2.0.1", "1", None, &["linux/amd64"]);
    (scene, loopback)
}

/// Pushes an image; its digest.
pub fn push(
    loopback: &Loopback,
    repository: &str,
    tag: &str,
    build: &str,
    revision: Option<&str>,
    platforms: &[&str],
) -> String {
    let revision = revision.map(|revision| ("org.opencontainers.image.revision", revision));
    let labels: Vec<_> = [("build", build)].into_iter().chain(revision).collect();
    let digest = loopback.registry.push(repository, &ExampleImage { platforms, labels: &labels }).unwrap();
    loopback.registry.tag(repository, tag, &digest);
    digest.to_string()
}

/// Runs a verb of `release` with the configuration that knows the registry.
pub fn release(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["release", arguments[0], "--config", "config.yaml"], &arguments[1..]].concat())
}

pub fn read(scene: &Scene, path: &str) -> String {
    fs::read_to_string(scene.path().join(path)).unwrap()
}

pub fn shown(scene: &Scene, file: &str) -> serde_json::Value {
    scene.run(&["release", "show", "--format", "json", file]).json()
}

#[test]
fn the_file_of_the_design_is_locked_as_it_stands_and_again_nothing_changes() {
    let (scene, loopback) = scene();
    let before = loopback.registry.requests();
    let ran = release(&scene, &["lock", "r.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert_eq!(loopback.registry.requests() - before, 5, "index, image, configuration; image, configuration");
    assert_eq!(read(&scene, "r.yaml"), DESIGN, "without --write nothing is written");
    assert_eq!(release(&scene, &["lock", "--check", "r.yaml"]).code, 4);

    let wrote = release(&scene, &["lock", "--write", "r.yaml"]);
    let locked = read(&scene, "r.yaml");
    assert_eq!(locked, ran.stdout);
    let output = shown(&scene, "r.yaml");
    let id = output["id"].as_str().unwrap();
    assert_eq!(wrote.stdout, format!("r.yaml is written: system-2026-01-11-expA, {id}\n"));
    assert_eq!((&output["locked"], &output["writtenId"]), (&json!(true), &json!(id)));
    let app = &output["images"][0];
    assert_eq!((&app["name"], &app["commit"]), (&json!("app"), &json!(COMMIT)));
    let platforms: Vec<_> = app["platforms"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_ne!(app["platforms"]["linux/amd64"], app["digest"], "the index's, and each child's own");
    assert_eq!(output["images"][1]["platforms"], json!({}), "an image without an index has itself alone");
    assert!(locked.contains("\nexperiment: {istio: {canaryWeight: 10, stableWeight: 90}}\n"), "{locked}");
    assert!(
        locked.contains("\n  app:          {repo: r.example.com/acme/app, tag: v1.2.3, digest: sha256:"),
        "{locked}"
    );

    let before = loopback.registry.requests();
    let again = release(&scene, &["lock", "--write", "r.yaml"]);
    assert_eq!((again.code, again.stdout), (0, format!("r.yaml is locked already: system-2026-01-11-expA, {id}\n")));
    assert_eq!(loopback.registry.requests() - before, 3, "one HEAD of what is whole; the other says no more of itself");
    assert_eq!(read(&scene, "r.yaml"), locked);
    let before = loopback.registry.requests();
    let check = release(&scene, &["lock", "--check", "r.yaml"]);
    assert_eq!(
        (check.code, check.stdout),
        (0, format!("r.yaml: 2 images: the lock holds: system-2026-01-11-expA, {id}\n"))
    );
    assert_eq!(loopback.registry.requests() - before, 2, "one HEAD for each");
}

#[test]
fn the_repository_and_the_commit_that_it_is_locked_at_are_written_where_they_are_told() {
    let (scene, loopback) = scene();
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let id = shown(&scene, "r.yaml")["id"].clone();
    for (source, repo) in [
        (format!("https://git.example.com/acme/operation@{COMMIT}"), "https://git.example.com/acme/operation"),
        (format!("git@git.example.com:acme/operation@{COMMIT}"), "git@git.example.com:acme/operation"),
    ] {
        let ran = release(&scene, &["lock", "--write", "--source", &source, "r.yaml"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{source}");
        let output = shown(&scene, "r.yaml");
        assert_eq!(output["source"], json!({"repo": repo, "commit": COMMIT}));
        assert_eq!((&output["id"], &output["locked"]), (&id, &json!(true)), "where it is kept is not what it declares");
    }
    let locked = read(&scene, "r.yaml");
    assert!(locked.contains("\nexperiment: {istio: {canaryWeight: 10, stableWeight: 90}}\n"), "{locked}");
    let before = loopback.registry.requests();
    for (source, told) in [
        ("https://git.example.com/acme/operation", "write REPO@COMMIT: "),
        ("https://git.example.com/acme/operation@main", "'main' is not a commit, 7 to 64 hex digits in lower case; "),
        (
            "https://me:secret@git.example.com/acme/operation@4f2a1b0",
            "no address of a repository, or one with a password",
        ),
        ("@4f2a1b0", "no address of a repository"),
    ] {
        let ran = release(&scene, &["lock", "--write", "--source", source, "r.yaml"]);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{source}: {}", ran.stderr);
    }
    let check = release(&scene, &["lock", "--check", "--source", "https://git.example.com/a@4f2a1b0", "r.yaml"]);
    assert!(check.code == 2 && check.stderr.contains("cannot be used with"), "{}", check.stderr);
    assert_eq!((read(&scene, "r.yaml"), loopback.registry.requests()), (locked, before));
}

#[test]
fn a_tag_that_moved_is_drift_until_it_is_taken() {
    let (scene, loopback) = scene();
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let locked = read(&scene, "r.yaml");
    let old = shown(&scene, "r.yaml")["images"][0]["digest"].as_str().unwrap().to_owned();
    let new = push(&loopback, "acme/app", "v1.2.3", "2", None, &["linux/amd64"]);
    for arguments in [&["lock", "r.yaml"][..], &["lock", "--write", "r.yaml"]] {
        let ran = release(&scene, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{}", ran.stderr);
        let told = format!("error: the tag has moved: v1.2.3 is {new}, and {old} is written\n --> r.yaml:4:3\n");
        assert!(ran.stderr.starts_with(&told), "{}", ran.stderr);
    }
    let check = release(&scene, &["lock", "--check", "r.yaml"]);
    assert_eq!(check.code, 4);
    assert!(check.stdout.ends_with("r.yaml: 2 images: the lock is stale: 1 difference\n"), "{}", check.stdout);
    assert_eq!(read(&scene, "r.yaml"), locked);

    let updated = release(&scene, &["lock", "--write", "--update", "r.yaml"]);
    assert_eq!(updated.code, 0, "{}", updated.stderr);
    let app = shown(&scene, "r.yaml")["images"][0].clone();
    assert_eq!((app["digest"].as_str(), &app["commit"], &app["platforms"]), (Some(&*new), &json!(null), &json!({})));
    assert_eq!(release(&scene, &["lock", "--check", "r.yaml"]).code, 0);
}

#[test]
fn what_changed_since_the_lock_makes_it_stale() {
    let (scene, _loopback) = scene();
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let locked = read(&scene, "r.yaml");
    scene.write("w.yaml", locked.replace("10, stableWeight: 90", "20, stableWeight: 80").as_bytes());
    let ran = release(&scene, &["lock", "--check", "w.yaml"]);
    assert_eq!(ran.code, 4);
    assert!(
        ran.stdout.starts_with("error: the id sha256:")
            && ran.stdout.contains("is written, and that of the content is")
            && ran.stdout.contains("\n --> w.yaml:2:5\n")
    );
    scene.write("w.yaml", locked.replace("10, stableWeight: 90", "20, stableWeight: 90").as_bytes());
    for arguments in [&["lock", "w.yaml"][..], &["lock", "--check", "w.yaml"], &["set", "w.yaml", "app=v1.2.3"]] {
        let ran = release(&scene, arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(
            ran.stderr.starts_with("error: canaryWeight 20 and stableWeight 90 make 110, not 100"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(scene.run(&["release", "show", "w.yaml"]).code, 0, "whoever only reads is warned");
}

#[test]
fn a_registry_without_an_answer_is_undecided_and_nothing_is_written() {
    let (scene, mut loopback) = scene();
    scene.write("open.yaml", DESIGN.replace("v2.0.1", "v9.9.9").as_bytes());
    for arguments in [&["lock", "--write", "open.yaml"][..], &["lock", "--check", "open.yaml"]] {
        let ran = release(&scene, arguments);
        let code = if arguments.contains(&"--check") { 4 } else { 3 };
        assert_eq!(ran.code, code, "{}", ran.stdout);
        let told = "error: r.example.com/acme/model-service:v9.9.9 is not known: ";
        assert!(ran.stderr.starts_with(told), "{}", ran.stderr);
    }
    assert_eq!(read(&scene, "open.yaml"), DESIGN.replace("v2.0.1", "v9.9.9"));
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    loopback.go_down();
    let ran = release(&scene, &["lock", "--check", "r.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "r.yaml: 2 images: whether the lock holds is not known\n"));
}

#[test]
fn a_tag_and_a_label_that_name_two_commits_are_refused() {
    let (scene, loopback) = scene();
    push(&loopback, "acme/app", "5f2a1b0", "1", Some(COMMIT), &["linux/amd64"]);
    scene.write("r.yaml", DESIGN.replace("v1.2.3", "5f2a1b0").as_bytes());
    let ran = release(&scene, &["lock", "--write", "r.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.starts_with("error: its tag names the commit 5f2a1b0, and its label the commit 4f2a"),
        "{}",
        ran.stderr
    );
    assert_eq!(read(&scene, "r.yaml"), DESIGN.replace("v1.2.3", "5f2a1b0"));
}

#[test]
fn set_changes_one_image_and_keeps_the_rest_byte_by_byte() {
    let (scene, loopback) = scene();
    let commented = DESIGN.replace("tag: v1.2.3}", "tag: v1.2.3} # ours").replace("images:\n", "images: # all\n");
    scene.write("r.yaml", commented.as_bytes());
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let locked = read(&scene, "r.yaml");
    let next = push(&loopback, "acme/app", "v1.2.4", "3", None, &["linux/amd64"]);
    let ran = release(&scene, &["set", "r.yaml", "app=v1.2.4", "--as", "system-2"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(read(&scene, "r.yaml"), locked);
    let line = format!("  app:          {{repo: r.example.com/acme/app, tag: v1.2.4, digest: {next}}} # ours\n");
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("release: system-2\nid: sha256:"), "{}", ran.stdout);
    assert!(
        ran.stdout.ends_with(
            "previous: [system-2026-01-11-expA]\nexperiment: {istio: {canaryWeight: 10, stableWeight: 90}}\n"
        )
    );
    let other = locked.lines().find(|line| line.contains("modelService")).unwrap();
    assert!(ran.stdout.contains(other));

    let wrong = format!("app=v1.2.4@sha256:{}", "1".repeat(64));
    let right = format!("app=v1.2.4@{next}");
    let alone = format!("app=@{next}");
    for (versions, code, told) in [
        (&*wrong, 1, format!("error: tag and digest disagree: v1.2.4 is {next}, and sha256:1111")),
        ("app=v9.9.9", 3, "error: r.example.com/acme/app:v9.9.9 is not known: ".to_owned()),
        ("ap=v1.2.4", 2, "error: the release has no image 'ap'; did you mean 'app'?".to_owned()),
        (
            "app=latest",
            2,
            "error: invalid value 'app=latest' for '[IMAGE=VERSION]...': the tag 'latest' moves".to_owned(),
        ),
        ("app", 2, "error: invalid value 'app' for '[IMAGE=VERSION]...': write IMAGE=VERSION".to_owned()),
        (&*right, 0, String::new()),
        (&*alone, 0, String::new()),
    ] {
        let ran = release(&scene, &["set", "r.yaml", versions]);
        assert_eq!(ran.code, code, "{versions}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(&told), "{versions}: {}", ran.stderr);
        assert_eq!(ran.stdout.is_empty(), code != 0, "{versions}");
    }
    let alone = release(&scene, &["set", "--write", "r.yaml", &alone]);
    assert_eq!(alone.code, 0, "{}", alone.stderr);
    assert!(read(&scene, "r.yaml").contains(&format!("{{repo: r.example.com/acme/app, digest: {next}}} # ours")));
}

#[test]
fn an_event_is_not_trusted() {
    let (scene, loopback) = scene();
    let next = push(&loopback, "acme/app", "v1.2.4", "3", None, &["linux/amd64"]);
    let run = |event: serde_json::Value| {
        scene.write("event.json", event.to_string().as_bytes());
        release(&scene, &["set", "r.yaml", "--from-event", "event.json"])
    };
    let good = run(json!({"image": "r.example.com/acme/app", "tag": "v1.2.4", "digest": next}));
    assert_eq!(good.code, 0, "{}", good.stderr);
    assert!(good.stdout.contains(&format!("tag: v1.2.4, digest: {next}")));
    for (event, code, told) in [
        (json!({"image": "r.example.com/acme/app", "tag": "v1.2.4", "run": "x"}), 2, "unknown field `run`"),
        (json!({"image": "evil.example.com/acme/app", "tag": "v1.2.4"}), 2, "is the repository of 0 images"),
        (
            json!({"image": "r.example.com/acme/app", "tag": "v1.2.4", "digest": format!("sha256:{}", "1".repeat(64))}),
            1,
            "tag and digest disagree",
        ),
        (json!({"image": "r.example.com/acme/app", "tag": "v1.2.4\nrelease: x"}), 2, "is not a tag"),
    ] {
        let ran = run(event.clone());
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{event}");
        assert!(ran.stderr.contains(told), "{event}: {}", ran.stderr);
    }
}

#[test]
fn facts_of_a_file_stand_for_the_registry() {
    let (scene, loopback) = scene();
    let digest = format!("sha256:{}", "1".repeat(64));
    let facts = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/app:\n    tags: {{v1.2.3: '{digest}'}}\n    \
         images: {{'{digest}': {{labels: {{org.opencontainers.image.revision: {COMMIT}}}}}}}\n  \
         r.example.com/acme/model-service: {{tags: {{v2.0.1: '{digest}'}}}}\n"
    );
    scene.write("facts.yaml", facts.as_bytes());
    let before = loopback.registry.requests();
    let ran = scene.run(&["release", "lock", "--facts", "facts.yaml", "r.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains(&format!("tag: v1.2.3, digest: {digest}, commit: {COMMIT}}}")), "{}", ran.stdout);
    assert_eq!(loopback.registry.requests(), before);
}

#[test]
fn values_go_to_helm_and_files_are_whole_or_not_there() {
    let (scene, _loopback) = scene();
    let nested = scene.run(&["release", "values", "r.yaml"]);
    let open = "note: r.yaml: 2 of 2 images have no digest, so what their tags name decides; `tagwarden release lock --write` adds them\n";
    assert_eq!((nested.code, nested.stderr.as_str()), (0, open));
    assert!(
        nested.stdout.contains("app:\n  image:\n    repository: r.example.com/acme/app\n    tag: v1.2.3\n"),
        "{}",
        nested.stdout
    );
    assert!(
        nested.stdout.contains("experiment:\n  istio:\n    canaryWeight: 10\n    stableWeight: 90\n"),
        "{}",
        nested.stdout
    );
    let flat = scene.run(&["release", "values", "--style", "flat", "-o", "v.yaml", "r.yaml"]);
    assert_eq!((flat.code, flat.stdout.as_str()), (0, ""));
    assert!(
        read(&scene, "v.yaml").contains("images:\n  app: r.example.com/acme/app:v1.2.3\n"),
        "{}",
        read(&scene, "v.yaml")
    );
    let nowhere = scene.run(&["release", "values", "-o", "no/v.yaml", "r.yaml"]);
    assert_eq!(
        (nowhere.code, nowhere.stderr.lines().last()),
        (2, Some("error: cannot write no/v.yaml: no such file or directory"))
    );
}

#[test]
fn releases_are_compared_with_what_git_knows() {
    let (scene, loopback) = scene();
    git(&scene, &["init", "-q"]);
    git(&scene, &["add", "r.yaml"]);
    git(&scene, &["commit", "-q", "-m", "one"]);
    let next = push(&loopback, "acme/app", "v1.3.0", "3", None, &["linux/amd64"]);
    assert_eq!(release(&scene, &["set", "--write", "r.yaml", "app=v1.3.0", "--as", "system-2"]).code, 0);
    let plain = scene.run(&["release", "diff", "HEAD:r.yaml", "r.yaml"]);
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""));
    let told = format!("\n~ app\n    tag         v1.2.3 -> v1.3.0\n    digest      none -> {next}\n");
    assert!(plain.stdout.contains(&told), "{}", plain.stdout);
    assert!(plain.stdout.contains("to verify:\n  - app: what is new in v1.3.0\n"), "{}", plain.stdout);
    let markdown = scene.run(&["release", "diff", "--format", "markdown", "HEAD:r.yaml", "r.yaml"]).stdout;
    assert!(markdown.starts_with("## Release `system-2`\n\nFrom `system-2026-01-11-expA` (`sha256:"), "{markdown}");
    let row = format!("| `app` | `v1.2.3` | `v1.3.0` `{}` |  |\n", &next[..19]);
    assert!(markdown.contains(&row) && markdown.contains("\n### To verify\n\n- [ ] "), "{markdown}");
    let output = scene.run(&["release", "diff", "--format", "json", "--exit-code", "HEAD:r.yaml", "r.yaml"]);
    assert_eq!((output.code, &output.json()["equal"]), (1, &json!(false)));
    assert_eq!(output.json()["images"][0]["to"]["digest"], json!(next));
    let same = scene.run(&["release", "diff", "--exit-code", "r.yaml", "r.yaml"]);
    assert!(same.code == 0 && same.stdout.contains("declare the same"), "{}", same.stdout);
    for (wrong, told) in
        [("nowhere:r.yaml", "git has no 'nowhere:r.yaml'; write REV:PATH"), ("gone.yaml", "cannot be read")]
    {
        let ran = scene.run(&["release", "diff", wrong, "r.yaml"]);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{wrong}: {}", ran.stderr);
    }
}

#[test]
fn what_a_revision_held_is_not_for_the_environment_to_say() {
    let (scene, _loopback) = scene();
    git(&scene, &["init", "-q"]);
    git(&scene, &["add", "r.yaml"]);
    git(&scene, &["commit", "-q", "-m", "one"]);
    for (name, value) in [
        ("GIT_OBJECT_DIRECTORY", "elsewhere"),
        ("GIT_COMMON_DIR", "elsewhere"),
        ("GIT_CONFIG_COUNT", "x"),
        ("GIT_CONFIG_PARAMETERS", "x"),
        ("GIT_DIR", "elsewhere"),
    ] {
        let output = scene.command(&["release", "show", "HEAD:r.yaml"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn other_platforms_are_shown_and_however_many_there_are() {
    let (scene, _loopback) = scene();
    let file = |number: usize, digit: &str| {
        let platforms: Vec<String> =
            (0..number).map(|at| format!("linux/p{at:05}: \"sha256:{}\"", digit.repeat(64))).collect();
        let digest = format!("sha256:{}", "a".repeat(64));
        format!(
            "release: r\nimages:\n  app: {{repo: ghcr.io/acme/app, tag: v1, digest: \"{digest}\", platforms: {{{}}}}}\n",
            platforms.join(", ")
        )
    };
    scene.write("one.yaml", file(6, "b").as_bytes());
    scene.write("two.yaml", file(6, "c").as_bytes());
    scene.write("many.yaml", file(6_000, "b").as_bytes());
    for (name, more) in [("one.yaml", 2), ("many.yaml", 5_996)] {
        let shown = scene.run(&["release", "show", name]);
        let row = format!("linux/p00000, linux/p00001, linux/p00002, linux/p00003, +{more} more\n");
        assert!(shown.code == 0 && shown.stdout.ends_with(&row), "{}", shown.stdout);
    }
    let long = format!(
        "release: r\nimages:\n  app: {{repo: ghcr.io/acme/app, tag: v1, platforms: {{? linux/{} : \"sha256:{}\"}}}}\n",
        "x".repeat(70_000),
        "b".repeat(64)
    );
    scene.write("long.yaml", long.as_bytes());
    let shown = scene.run(&["release", "show", "long.yaml"]);
    assert!(shown.code == 0 && shown.stdout.len() < 1_000, "{}: {}", shown.code, shown.stderr);

    let plain = scene.run(&["release", "diff", "--exit-code", "one.yaml", "two.yaml"]);
    let (b, c) = ("sha256:bbbbbbbbbbbb", "sha256:cccccccccccc");
    let told = format!("\n~ app\n    platforms   linux/p00000 {b} -> {c}, linux/p00001 {b} -> {c}, ");
    assert!(plain.code == 1 && plain.stdout.contains(&told), "{}", plain.stdout);
    assert!(plain.stdout.contains(", +2 more\n\nto verify:\n  - app: linux/p00000, "), "{}", plain.stdout);
    let markdown = scene.run(&["release", "diff", "--format", "markdown", "one.yaml", "two.yaml"]).stdout;
    assert!(markdown.contains(&format!("` (`linux/p00000 {b} -> {c}, ")), "{markdown}");
    let output = scene.run(&["release", "diff", "--format", "json", "one.yaml", "two.yaml"]).json();
    assert_eq!((&output["equal"], &output["images"][0]["change"]), (&json!(false), &json!("changed")));
    assert_eq!(output["images"][0]["to"]["platforms"]["linux/p00000"], json!(format!("sha256:{}", "c".repeat(64))));
}

#[test]
fn another_format_is_imported_and_can_be_locked() {
    let (scene, _loopback) = scene();
    scene.write(
        "shop.yaml",
        b"name: shop\nservices:\n  app: {image: r.example.com/acme/app:v1.2.3}\n  web: {build: .}\n",
    );
    let ran = scene.run(&["release", "import", "shop.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "note: web is built, not pulled, and is left out\n"));
    assert_eq!(ran.stdout, "release: shop\nimages:\n  app:\n    repo: r.example.com/acme/app\n    tag: v1.2.3\n");
    scene.write("imported.yaml", ran.stdout.as_bytes());
    assert_eq!(release(&scene, &["lock", "--write", "imported.yaml"]).code, 0);
    assert_eq!(release(&scene, &["lock", "--check", "imported.yaml"]).code, 0);
    let named = scene.run(&["release", "import", "--name", "other", "shop.yaml"]);
    assert!(named.stdout.starts_with("release: other\n"));
    let list = "- name: app\n  dmap: {'sha256:DIGEST': ['1.0']}\n".replace("DIGEST", &"1".repeat(64));
    scene.write("images.yaml", list.as_bytes());
    assert_eq!(scene.run(&["release", "import", "images.yaml"]).code, 2);
    let placed = scene.run(&["release", "import", "--registry", "r.example.com/acme", "images.yaml"]);
    assert!(
        placed.code == 0 && placed.stdout.contains("repo: r.example.com/acme/app\n    tag: \"1.0\"\n"),
        "{}",
        placed.stdout
    );
}

#[test]
fn standard_input_is_read_and_never_written() {
    let (scene, _loopback) = scene();
    let run = |arguments: &[&str]| scene.run_with_input(arguments, DESIGN);
    assert!(run(&["release", "show", "-"]).stdout.starts_with("release     system-2026-01-11-expA\n"));
    let locked = run(&["release", "lock", "--config", "config.yaml", "-"]);
    assert!(locked.code == 0 && locked.stdout.contains("digest: sha256:"), "{}", locked.stderr);
    let refused = run(&["release", "lock", "--write", "-"]);
    assert_eq!(
        (refused.code, refused.stderr.lines().next()),
        (2, Some("error: standard input cannot be written: leave out --write, and the new text is printed"))
    );
}

#[test]
fn fifty_images_cost_three_requests_each_and_a_check_one() {
    let (scene, loopback) = scene();
    let mut text = "release: large\nimages:\n".to_owned();
    for number in 0..50 {
        let repository = format!("acme/service-{number}");
        push(&loopback, &repository, "v1.0.0", &number.to_string(), Some(COMMIT), &["linux/amd64", "linux/arm64"]);
        text += &format!("  service-{number}: {{repo: r.example.com/{repository}, tag: v1.0.0}}\n");
    }
    scene.write("large.yaml", text.as_bytes());
    for (arguments, requests) in [
        (&["lock", "--write", "large.yaml"][..], 150),
        (&["lock", "--check", "large.yaml"], 50),
        (&["lock", "--write", "large.yaml"], 50),
    ] {
        let before = loopback.registry.requests();
        let ran = release(&scene, arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(loopback.registry.requests() - before, requests, "{arguments:?}");
    }
    assert_eq!(read(&scene, "large.yaml").matches("platforms: {linux/amd64: sha256:").count(), 50);
}

#[test]
fn check_tells_of_a_release_that_was_edited_after_its_lock_and_judges_by_its_content() {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n  mode: enforce\n  \
                  rules: [{images: [\"r.example.com/acme/**\"], tags: [digest], release: require}]\n";
    let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
    let release = |letter: &str| {
        format!(
            "release: r\nimages: {{app: {{repo: r.example.com/acme/app, digest: '{}'}}}}\nprevious: [q]\n",
            digest(letter)
        )
    };
    let id = tagwarden::release::Release::read("r", &release("a")).unwrap().id().to_string();
    let locked = |letter: &str| release(letter).replacen('\n', &format!("\nid: {id}\n"), 1);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'r.example.com/acme/app@DIGEST'}]}\n";
    let scene = Scene::new(&[("p/p.yaml", policy), ("pod.yaml", &pod.replace("DIGEST", &digest("b")))]);
    let missing = "note: the release 'r' lists 'q' in 'previous', which is not loaded, and not allowed\n";
    for (letter, code, stale) in [("a", 1, ""), ("b", 0, "note: r.yaml:2:5: warning: the id ")] {
        scene.write("r.yaml", locked(letter).as_bytes());
        let ran = scene.run(&["check", "--policies", "p", "--offline", "--release", "r.yaml", "pod.yaml"]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.starts_with(stale) && ran.stderr.ends_with(missing), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), if stale.is_empty() { 1 } else { 2 }, "{}", ran.stderr);
    }
}
