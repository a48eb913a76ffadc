//! `labels check`: labels against tag, source and history; a real registry and a real git repository.

use std::path::Path;
use std::process::Command;

use tagwarden::cli::ExampleImage;

use crate::cli_registry::Loopback;
use crate::cli_support::{Ran, Scene, git, outside_hooks};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// A commit that no repository has.
const STRANGE: &str = "0123456789abcdef0123456789abcdef01234567";

fn facts(labels: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/api:\n    tags: {{v1.0.0: \"{DIGEST}\", \
         {tag}: \"{DIGEST}\"}}\n    images: {{\"{DIGEST}\": {{labels: {{{labels}}}, platforms: [linux/amd64, linux/arm64]}}}}\n",
        tag = &STRANGE[..7]
    )
}

fn labels(revision: &str, version: &str, source: &str) -> String {
    format!(
        "org.opencontainers.image.revision: \"{revision}\", org.opencontainers.image.version: \"{version}\", \
         org.opencontainers.image.source: \"{source}\""
    )
}

const SOURCE: &str = "https://git.example.com/acme/api";

fn check(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["labels", "check", "--facts", "facts.yaml"], arguments].concat())
}

/// The findings, each as `ID reason`.
fn found(ran: &Ran) -> Vec<String> {
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    findings.iter().map(|one| format!("{} {}", word(&one["id"]), word(&one["reason"]))).collect()
}

fn head(folder: &Path) -> String {
    let mut command = Command::new("git");
    command.args(["rev-parse", "HEAD"]).current_dir(folder);
    String::from_utf8(outside_hooks(&mut command).output().unwrap().stdout).unwrap().trim().to_owned()
}

const IMAGE: &str = "r.example.com/acme/api:v1.0.0";

#[test]
fn labels_that_agree_are_told_and_nothing_is_wrong() {
    let scene = Scene::new(&[("facts.yaml", &facts(&labels(STRANGE, "1.0.0", SOURCE)))]);
    let ran = check(&scene, &["--source", "git@git.example.com:acme/api.git", IMAGE]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let told = format!(
        "image       {IMAGE}\ndigest      {DIGEST}\nplatforms   linux/amd64, linux/arm64\nrevision    {STRANGE}\n\
         version     1.0.0\nsource      {SOURCE}\nverdict     the labels agree\n"
    );
    assert_eq!(ran.stdout, told);
    let json = check(&scene, &["--format", "json", IMAGE]).json();
    assert_eq!((&json["schemaVersion"], &json["digest"], &json["branch"]), (&1.into(), &DIGEST.into(), &().into()));
    assert_eq!(json["platforms"][1]["platform"], "linux/arm64");
    assert_eq!(json["platforms"][1]["revision"], STRANGE);
    assert!(json["notes"][0].as_str().unwrap().contains("compared with nothing"), "{json}");
}

#[test]
fn what_is_absent_or_differs_is_a_finding_each() {
    let commit = format!("r.example.com/acme/api:{}", &STRANGE[..7]);
    let other = STRANGE.replace('0', "f");
    let cases = [
        (labels(STRANGE, "1.0.0", SOURCE), IMAGE, &[][..]),
        (labels(STRANGE, "7", SOURCE), &commit, &[]),
        (String::new(), IMAGE, &["TW400 labels", "TW401 revision", "TW402 version"]),
        (labels(STRANGE, "1.0.1", SOURCE), IMAGE, &["TW402 version"]),
        (labels(&STRANGE[..12], "1.0.0", SOURCE), IMAGE, &["TW401 revision"]),
        (labels(&other, "7", SOURCE), &commit, &["TW401 revision"]),
        (labels("--upload-pack=x", "1.0.0", SOURCE), IMAGE, &["TW401 revision"]),
        (labels(STRANGE, "1.0.0", "our monorepo"), IMAGE, &["TW400 labels"]),
        (labels(STRANGE, "1.0.0", "https://git.example.com/acme/web"), IMAGE, &["TW400 labels"]),
        (labels(STRANGE, "1.0.0", &format!("{SOURCE}.git")), IMAGE, &[]),
    ];
    for (labels, image, ids) in cases {
        let scene = Scene::new(&[("facts.yaml", &facts(&labels))]);
        let ran = check(&scene, &["--format", "json", "--source", SOURCE, image]);
        assert_eq!(
            (found(&ran).join(", "), ran.code),
            (ids.join(", "), i32::from(!ids.is_empty())),
            "{labels} {image}"
        );
    }
    // One platform of two is enough.
    let one = facts(&labels(STRANGE, "1.0.0", SOURCE)).replace(
        "[linux/amd64, linux/arm64]",
        "{linux/amd64: {}, linux/arm64: {labels: {org.opencontainers.image.version: 2.0.0}}}",
    );
    let scene = Scene::new(&[("facts.yaml", &one)]);
    let ran = check(&scene, &["--source", SOURCE, IMAGE]);
    assert_eq!(ran.code, 1);
    let message = "on linux/arm64: the label org.opencontainers.image.version is '2.0.0', and the tag is v1.0.0\n";
    assert!(ran.stdout.contains(message), "{}", ran.stdout);
    assert!(ran.stdout.contains("version     1.0.0, 2.0.0\n"), "{}", ran.stdout);
}

/// A repository with two commits on `main`, and one beside it on `side`; their names.
fn repository(scene: &Scene) -> [String; 3] {
    git(scene, &["init", "-q", "-b", "main", "repo"]);
    let commit = |message: &str| {
        git(scene, &["-C", "repo", "commit", "-q", "--allow-empty", "-m", message]);
        head(&scene.path().join("repo"))
    };
    let (first, second) = (commit("1"), commit("2"));
    git(scene, &["-C", "repo", "checkout", "-q", "-b", "side", &first]);
    [first, second, commit("3")]
}

#[test]
fn the_revision_is_a_commit_of_the_repository_and_on_the_branch() {
    let scene = Scene::new(&[]);
    let [first, second, side] = repository(&scene);
    let run = |revision: &str, arguments: &[&str]| {
        scene.write("facts.yaml", facts(&labels(revision, "1.0.0", SOURCE)).as_bytes());
        check(&scene, &[&["--format", "json", IMAGE, "--git", "repo"], arguments].concat())
    };
    for (revision, arguments, ids) in [
        (&*first, &["--branch", "main"][..], &[][..]),
        (&second, &["--branch", "main"], &[]),
        (&side, &["--branch", "main"], &["TW401 revision"]),
        (&side, &["--branch", "side"], &[]),
        (&side, &["--branch", "refs/heads/side"], &[]),
        (&side, &[], &[]),
        (STRANGE, &[], &["TW401 revision"]),
        // No commit, and nothing that git is asked about.
        ("--help", &["--branch", "main"], &["TW401 revision"]),
        ("main", &["--branch", "main"], &["TW401 revision"]),
    ] {
        let ran = run(revision, arguments);
        assert_eq!(
            (found(&ran).join(", "), ran.code),
            (ids.join(", "), i32::from(!ids.is_empty())),
            "{revision} {arguments:?}"
        );
        assert_eq!(ran.stderr, "");
    }
    // A branch that is called like a commit is none.
    git(&scene, &["-C", "repo", "branch", STRANGE]);
    assert_eq!(found(&run(STRANGE, &[])), ["TW401 revision"]);
    for (arguments, said) in [
        (&["--branch", "gone"][..], "has no branch 'gone'"),
        (&["--branch", "main~1"], "'main~1' is not the name of a branch"),
        (&["--branch", "--all"], "'--all' is not the name of a branch"),
    ] {
        let arguments = [arguments[0].to_owned() + "=" + arguments[1]];
        let ran = run(&first, &[&arguments[0]]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = check(&scene, &[IMAGE, "--git", "."]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("is in no git repository"), "{}", ran.stderr);
}

#[test]
fn the_remote_says_what_was_published_and_where_the_source_is() {
    let scene = Scene::new(&[]);
    let [first, second, _] = repository(&scene);
    git(&scene, &["clone", "-q", "-b", "main", "repo", "clone"]);
    git(&scene, &["-C", "clone", "commit", "-q", "--allow-empty", "-m", "not pushed"]);
    let unpushed = head(&scene.path().join("clone"));
    git(&scene, &["-C", "clone", "remote", "set-url", "origin", "https://ci:token@git.example.com/acme/api.git"]);
    let run = |revision: &str, source: &str, folder: &str| {
        scene.write("facts.yaml", facts(&labels(revision, "1.0.0", source)).as_bytes());
        check(&scene, &["--format", "json", IMAGE, "--git", folder, "--branch", "main"])
    };
    assert_eq!(found(&run(&second, SOURCE, "clone")), [""; 0]);
    assert_eq!(found(&run(&unpushed, SOURCE, "clone")), ["TW401 revision"], "it is on the local branch alone");
    let other = run(&second, "https://git.example.com/acme/web", "clone");
    assert_eq!(found(&other), ["TW400 labels"]);
    assert!(!other.stdout.contains("token"), "{}", other.stdout);

    // Where the history is cut off nobody can say, and that is no violation.
    let url = format!("file://{}", scene.path().join("repo").display());
    git(&scene, &["clone", "-q", "--depth", "1", "-b", "main", &url, "shallow"]);
    let ran = run(&first, SOURCE, "shallow");
    assert_eq!((found(&ran), ran.code), (vec!["TW900 shallow".to_owned()], 3));
    assert_eq!(run(&second, SOURCE, "shallow").code, 0);
}

#[test]
fn a_registry_is_asked_for_every_platform() {
    let (scene, mut loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let labels = [
        ("org.opencontainers.image.version", "3.0.0"),
        ("org.opencontainers.image.revision", STRANGE),
        ("org.opencontainers.image.source", SOURCE),
    ];
    let image = ExampleImage { platforms: &["linux/amd64", "linux/arm64"], labels: &labels };
    let digest = loopback.registry.push("acme/api", &image).unwrap();
    loopback.registry.tag("acme/api", "v3.0.0", &digest);
    let run = |image: &str| scene.run(&["labels", "check", "--config", "config.yaml", "--format", "json", image]);
    let before = loopback.registry.requests();
    let ran = run("r.example.com/acme/api:v3.0.0");
    assert_eq!((ran.code, found(&ran)), (0, Vec::new()), "{}", ran.stdout);
    assert_eq!(ran.json()["platforms"].as_array().unwrap().len(), 2);
    assert_eq!(loopback.registry.requests() - before, 6, "tag, index, two manifests and two configurations");
    assert_eq!(run(&format!("r.example.com/acme/api@{digest}")).code, 0);
    // This one has a version and nothing else.
    assert_eq!(found(&run("r.example.com/acme/api:v1.0.0")), ["TW400 labels", "TW401 revision"]);
    let other = format!("r.example.com/acme/api:v1.0.0@{digest}");
    assert_eq!(found(&run(&other)), ["TW200 digest"]);
    assert_eq!(found(&run("r.example.com/acme/api:v9.0.0")), ["TW901 not-found"]);
    assert_eq!(found(&run("nginx:1.27")), ["TW101 ShortName"]);
    loopback.go_down();
    let ran = run("r.example.com/acme/api:v3.0.0");
    assert_eq!((ran.code, found(&ran)), (3, vec!["TW900 unreachable".to_owned()]));
}
