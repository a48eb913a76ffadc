//! Bad input, for each verb that reads files and each kind of file that it reads: one sentence with file and place, what
//! else there is is still judged, and the run ends with 2.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cli_support::{Ran, Scene, copy_binary};

const POLICY: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: acme}\nspec:\n  mode: enforce\n  \
    rules: [{images: [\"registry.example.com/acme/**\"], tags: [release]}]\n";

const TEST: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [../policies]\n\
    now: 2026-03-01T00:00:00Z\ncases:\n  - {image: \"registry.example.com/acme/api:main\", expect: deny}\n";

const FACTS: &str = "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry: {}\n";

const BAD: &str = "registry.example.com/acme/api:main";

fn pod(image: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: {image}}}]}}\n")
}

/// What stands where a file should be.
enum Damage {
    /// A file of these bytes.
    Bytes(Vec<u8>),
    /// The same, which takes long enough that not every role is tried with it.
    Heavy(Vec<u8>),
    /// A directory; what searches a directory looks into it instead.
    Directory,
    /// A link that leads nowhere, as one to a file that has just vanished.
    Dangling,
    /// A link to itself.
    Loop,
    /// A pipe; who is told of it by name reads it, as everything does.
    Pipe,
    /// A file that can be opened and not be read.
    Unreadable,
}

impl Damage {
    fn plant(&self, path: &Path) {
        match self {
            Damage::Bytes(bytes) | Damage::Heavy(bytes) => fs::write(path, bytes).unwrap(),
            Damage::Directory => fs::create_dir(path).unwrap(),
            Damage::Dangling => symlink("vanished.yaml", path).unwrap(),
            Damage::Loop => symlink(path.file_name().unwrap(), path).unwrap(),
            Damage::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Damage::Unreadable => symlink("/proc/self/mem", path).unwrap(),
        }
    }
}

/// Every damage, and what is said of it after the file's name; the place stands in front, where there is one.
fn damages() -> Vec<(Damage, &'static str)> {
    let text = |text: &str| Damage::Bytes(text.as_bytes().to_vec());
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    let copies = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 19), vec!["*a"; 5000].join(", "));
    vec![
        (text("kind: Pod\nspec: {containers: [{name: c, image:"), ":2:"),
        (text("kind: Pod\nspec:\n  image: \"nginx"), ":3:10: not valid YAML"),
        (text("kind: Pod\n\tspec: {}\n"), ":1:"),
        (text("kind: Pod\nspec: {}\nkind: Pod\n"), ":3:1: the key 'kind' stands twice in one map"),
        (text("kind: *nothing\n"), ":1:7: not valid YAML"),
        (text("kind: !pod Pod\n"), ":1:12: the tag '!pod' is not supported"),
        (text("? [a]\n: b\n"), ":1:3: a key must be a plain string"),
        (text(&"[".repeat(10_000)), ":1:"),
        (text(&"- ".repeat(1_000)), ":1:401: nested more than 200 levels deep"),
        (text("kind: Pod\nspec: a\0b\n"), ":2:8: not valid YAML: unexpected character"),
        (text("kind: Pod\n---\n\u{feff}kind: Pod\n"), ":3:1: not valid YAML: a BOM must not appear inside a document"),
        (Damage::Bytes(b"kind: Pod\nname: caf\xe9\n".to_vec()), ": not UTF-8: byte 0xe9 at line 2, column 10"),
        (Damage::Bytes(b"\xff\xfek\0i\0n\0d\0".to_vec()), ": not UTF-8: byte 0xff at line 1, column 1"),
        (Damage::Heavy(bomb.into_bytes()), "more than 1000000 nodes once aliases are expanded"),
        (Damage::Heavy(copies.into_bytes()), ":2:"),
        (Damage::Heavy(vec![b'#'; (64 << 20) + 1]), ": larger than 64 MiB, which no manifest is"),
        (Damage::Directory, ": cannot be read: is a directory"),
        (Damage::Dangling, ": cannot be read: no such file or directory"),
        (Damage::Loop, ": cannot be read: too many levels of symbolic links"),
        (Damage::Pipe, "not a regular file"),
        (Damage::Unreadable, ": cannot be read: input/output error"),
    ]
}

/// How a run comes to the damaged file.
#[derive(PartialEq)]
enum Reach {
    /// By its name.
    Named,
    /// By the name of its directory.
    Searched,
}

/// A verb, and what it takes the damaged file `d/broken.yaml` for.
struct Role {
    arguments: &'static [&'static str],
    reach: Reach,
    /// The text of `d/good.yaml`.
    beside: fn() -> String,
    /// What shows that others were judged; empty where there is nothing to judge without the file.
    judged: &'static str,
    /// Whether what takes long is tried.
    heavy: bool,
}

const ROLES: &[Role] = &[
    role(&["check", "--offline", "--policies", "policies", "d/broken.yaml", "d/good.yaml"], Reach::Named, "1 denied"),
    Role { heavy: true, ..role(&["check", "--offline", "--policies", "policies", "d"], Reach::Searched, "1 denied") },
    Role { heavy: true, ..policies(&["check", "--offline", "--policies", "d", "pod.yaml"]) },
    role(&["check", "--offline", "--policies", "policies", "--config", "d/broken.yaml", "pod.yaml"], Reach::Named, ""),
    role(&["check", "--policies", "policies", "--facts", "d/broken.yaml", "pod.yaml"], Reach::Named, ""),
    role(&["explain", "--offline", "--policies", "policies", "-f", "d/broken.yaml"], Reach::Named, ""),
    policies(&["explain", "--offline", "--policies", "d", BAD]),
    role(&["explain", "--offline", "--config", "d/broken.yaml", BAD], Reach::Named, ""),
    role(&["explain", "--policies", "policies", "--facts", "d/broken.yaml", BAD], Reach::Named, ""),
    Role { judged: "linted ", ..role(&["lint", "d/broken.yaml", "policies/p.yaml"], Reach::Named, "") },
    Role { heavy: true, judged: "linted ", ..policies(&["lint", "d"]) },
    role(&["lint", "--config", "d/broken.yaml", "policies"], Reach::Named, ""),
    role(&["test", "tests/manifest.test.yaml", "tests/good.test.yaml"], Reach::Named, "ok      tests/good.test.yaml"),
    role(&["test", "tests/policy.test.yaml", "tests/good.test.yaml"], Reach::Named, "ok      tests/good.test.yaml"),
    role(&["test", "tests/config.test.yaml", "tests/good.test.yaml"], Reach::Named, "ok      tests/good.test.yaml"),
    Role {
        heavy: true,
        ..role(&["pin", "--facts", "facts.yaml", "d/broken.yaml", "d/good.yaml"], Reach::Named, "1 image")
    },
    role(&["pin", "--facts", "facts.yaml", "d"], Reach::Searched, "1 image"),
    role(&["pin", "--facts", "facts.yaml", "--config", "d/broken.yaml", "pod.yaml"], Reach::Named, ""),
    role(&["pin", "--facts", "d/broken.yaml", "pod.yaml"], Reach::Named, ""),
    role(&["resolve", "--config", "d/broken.yaml", "localhost:1/a:v1"], Reach::Named, ""),
];

const fn role(arguments: &'static [&'static str], reach: Reach, judged: &'static str) -> Role {
    Role { arguments, reach, beside: || pod(BAD), judged, heavy: false }
}

const fn policies(arguments: &'static [&'static str]) -> Role {
    Role { beside: || POLICY.to_owned(), ..role(arguments, Reach::Searched, "") }
}

/// Everything that a role needs but the damaged file.
fn scene(beside: &str) -> Scene {
    let of_test = |key: &str| TEST.replace("cases:", &format!("{key}: ../d/broken.yaml\ncases:"));
    let manifest = TEST.replace(&format!("image: \"{BAD}\""), "manifest: ../d/broken.yaml");
    let policy = TEST.replace("../policies", "../d/broken.yaml");
    Scene::new(&[
        ("policies/p.yaml", POLICY),
        ("facts.yaml", FACTS),
        ("pod.yaml", &pod(BAD)),
        ("tests/good.test.yaml", TEST),
        ("tests/manifest.test.yaml", &manifest),
        ("tests/policy.test.yaml", &policy),
        ("tests/config.test.yaml", &of_test("config")),
        ("d/good.yaml", beside),
    ])
}

/// The message without its frame: `d/broken.yaml:2:8: what is wrong`, as far as the lines say so.
fn flat(said: &str) -> String {
    let (mut message, mut flat) = ("", String::new());
    for line in said.lines() {
        if let Some(error) = line.strip_prefix("error: ") {
            message = error;
            flat += error;
        } else if let Some((_, place)) = line.split_once("--> ") {
            flat += &format!("\n{place}: {message}\n");
        }
    }
    flat
}

/// What holds of every complaint, whatever it is about.
fn is_decent(ran: &Ran, took: Duration, about: &str) -> String {
    let said = format!("{}{}", ran.stderr, ran.stdout);
    assert_eq!(ran.code, 2, "{about}: {said:.2000}");
    for leak in ["os error", "panicked", "Diagnostic {", "\u{1b}", "\0", "RUST_BACKTRACE", "Err("] {
        assert!(!said.contains(leak), "{about} shows {leak:?}: {said:.2000}");
    }
    assert!(said.len() < 5_000, "{about}: {} bytes: {said:.2000}", said.len());
    assert!(took < Duration::from_secs(60), "{about}: took {took:?}");
    said
}

#[test]
fn every_verb_tells_of_every_damage_in_one_sentence_and_judges_the_rest() {
    for role in ROLES {
        let scene = scene(&(role.beside)());
        let broken = scene.path().join("d/broken.yaml");
        for (damage, expected) in damages() {
            let tried = match damage {
                Damage::Heavy(_) => role.heavy,
                Damage::Directory => role.reach == Reach::Named && role.arguments[0] != "lint",
                Damage::Pipe => role.reach == Reach::Searched,
                _ => true,
            };
            // A directory of manifests, or of policies in a test, is a path like any other.
            let is_path = role.judged == "1 denied" || role.judged == "1 image" || role.arguments[1].contains("policy");
            if !tried || matches!(damage, Damage::Directory) && is_path {
                continue;
            }
            damage.plant(&broken);
            // Whoever opens the pipe all the same finds an end there instead of waiting for ever.
            let end = matches!(damage, Damage::Pipe).then(|| {
                let pipe = broken.clone();
                std::thread::spawn(move || drop(fs::OpenOptions::new().write(true).open(pipe).unwrap()))
            });
            let started = Instant::now();
            let ran = scene.run(role.arguments);
            if let Some(end) = end {
                drop(fs::OpenOptions::new().read(true).write(true).open(&broken).unwrap());
                end.join().unwrap();
            }
            let about = format!("{:?}, {expected}", role.arguments);
            let said = is_decent(&ran, started.elapsed(), &about);
            let flat = flat(&said);
            assert!(flat.contains("d/broken.yaml") && flat.contains(expected), "{about}: {flat}\n{said:.2000}");
            let errors = said.lines().filter(|line| line.starts_with("error:")).count();
            // Where the rest could be read, that it is a Pod and no policy or configuration is another matter.
            let reads_on = ["stands twice", "the tag '", "a BOM"].iter().any(|mild| expected.contains(mild));
            assert!(errors == 1 || reads_on && errors < 6, "{about}: one sentence each: {said:.3000}");
            assert!(ran.stdout.contains(role.judged), "{about}: others are judged: {said:.2000}");
            match damage {
                Damage::Directory => fs::remove_dir(&broken).unwrap(),
                _ => fs::remove_file(&broken).unwrap(),
            }
        }
    }
}

/// Root may read everything, so somebody else has to try; the program is taken along to where he can run it.
#[test]
fn what_may_not_be_read_is_told_by_every_verb() {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let program = tempfile::tempdir().unwrap();
    mode(program.path(), 0o755);
    copy_binary(&program.path().join("tagwarden"));
    for role in ROLES {
        let scene = scene(&(role.beside)());
        mode(scene.path(), 0o755);
        scene.write("d/broken.yaml", POLICY.as_bytes());
        mode(&scene.path().join("d/broken.yaml"), 0o000);
        scene.write("d/closed/m.yaml", b"");
        mode(&scene.path().join("d/closed"), 0o000);
        let mut command = Command::new(program.path().join("tagwarden"));
        command.args(role.arguments).current_dir(scene.path()).env("HOME", scene.path());
        if fs::metadata(scene.path()).unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        let (started, ran) = (Instant::now(), Ran::from(command.output().unwrap()));
        mode(&scene.path().join("d/closed"), 0o755);
        let about = format!("{:?}", role.arguments);
        let flat = flat(&is_decent(&ran, started.elapsed(), &about));
        assert!(flat.contains("d/broken.yaml: cannot be read: permission denied"), "{about}: {flat}");
        let walks = role.reach == Reach::Searched && !role.judged.is_empty() && role.arguments[0] != "lint";
        let told = flat.contains("d/closed: cannot be read: permission denied");
        assert_eq!(told, walks, "{about}: a directory below is told where it is looked into: {flat}");
        assert!(ran.stdout.contains(role.judged), "{about}: others are judged: {}", ran.stdout);
    }
}

#[test]
fn a_path_through_a_file_is_no_path() {
    let scene = scene(&pod(BAD));
    for arguments in [
        &["check", "--offline", "--policies", "policies", "pod.yaml/x.yaml", "pod.yaml"][..],
        &["check", "--offline", "--policies", "pod.yaml", "pod.yaml"],
        &["explain", "--offline", "-f", "pod.yaml/x.yaml"],
        &["lint", "pod.yaml/x.yaml"],
        &["test", "pod.yaml/x.test.yaml"],
        &["pin", "--facts", "facts.yaml", "pod.yaml/x.yaml"],
    ] {
        let ran = scene.run(arguments);
        let said = is_decent(&ran, Duration::ZERO, &format!("{arguments:?}")).to_lowercase();
        assert!(said.contains("not a directory") && said.contains("pod.yaml"), "{arguments:?}: {said}");
    }
}

/// Odd, and still what everybody who reads it takes it for.
#[test]
fn what_is_odd_but_right_is_judged_at_its_place() {
    let (plain, large) = (pod(BAD), format!("# {}\n", "c".repeat(2_000)));
    let anchored = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{of: &image {BAD}}}}}\n\
         spec: &spec\n  containers: [{{name: c, image: *image}}]\n"
    );
    let merged = format!(
        "base: &base\n  image: {BAD}\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - <<: *base\n    name: c\n"
    );
    let deep = |levels: usize| {
        let (open, close) = ("{a: ".repeat(levels), "}".repeat(levels));
        plain.replace("{name: p}", &format!("{{name: p, annotations: {open}x{close}}}"))
    };
    let json = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"IMAGE\"}]}\n}\n";
    for (name, text, place) in [
        ("as it is", plain.clone(), (4, 38)),
        ("a byte order mark", format!("\u{feff}{plain}"), (4, 38)),
        ("line ends of DOS", plain.replace('\n', "\r\n"), (4, 38)),
        ("line ends of an old Macintosh", plain.replace('\n', "\r"), (1, 83)),
        ("no line end", plain.trim_end().to_owned(), (4, 38)),
        ("tabs in JSON", json.replace("IMAGE", BAD), (4, 49)),
        ("tabs after what they do not indent", plain.replace("kind: Pod", "kind:\tPod\t# a Pod\t"), (4, 38)),
        ("wide characters", plain.replace("name: c", "name: 'é漢'"), (4, 41)),
        ("an alias stands where it was defined", anchored, (3, 46)),
        ("a merge key too", merged, (2, 10)),
        ("nesting that no object has", deep(190), (4, 38)),
        ("ten mebibytes", format!("{}{plain}", large.repeat((10 << 20) / large.len() + 1)), (5240, 38)),
        ("empty documents", format!("---\n---\n# nothing\n---\n{plain}---\n...\n---\n"), (8, 38)),
    ] {
        let scene = scene("");
        scene.write("m.yaml", text.as_bytes());
        let ran = scene.run(&["check", "--offline", "--policies", "policies", "--format", "json", "m.yaml"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{name}");
        let report = ran.json();
        let finding = &report["findings"][0];
        let seen = (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap());
        assert_eq!((finding["id"].as_str(), seen), (Some("TW120"), place), "{name}");
        assert_eq!(report["summary"]["objects"], 1, "{name}");
    }
}

/// An image that YAML reads as something else than text is no image, whoever reads it.
#[test]
fn images_that_are_no_text_are_refused_where_they_stand() {
    let open = POLICY.replace("registry.example.com/acme/**\"], tags: [release]", "registry.example.com/**\"]");
    for (image, id) in [
        ("true", "TW100"),
        ("012", "TW100"),
        ("1.10", "TW100"),
        ("0x1F", "TW100"),
        ("[a]", "TW100"),
        ("{a: b}", "TW100"),
        ("~", "TW100"),
        // Text in YAML 1.2; the API server, whose YAML is 1.1, refuses the whole object.
        ("yes", "TW110"),
        ("on", "TW110"),
        ("Off", "TW100"),
    ] {
        let scene = scene("");
        scene.write("policies/p.yaml", open.as_bytes());
        scene.write("m.yaml", pod(image).as_bytes());
        let ran = scene.run(&["check", "--offline", "--policies", "policies", "--format", "json", "m.yaml"]);
        let report = ran.json();
        let finding = &report["findings"][0];
        assert_eq!((ran.code, finding["id"].as_str(), finding["line"].as_u64()), (1, Some(id), Some(4)), "{image}");
    }
}

#[test]
fn old_booleans_and_octal_numbers_are_no_tags_of_values_until_they_are_quoted() {
    for tag in ["on", "yes", "Off", "n", "010", "0o17"] {
        let values = |tag: &str| format!("image:\n  repository: registry.example.com/acme/api\n  tag: {tag}\n");
        let scene = scene("");
        scene.write("values.yaml", values(tag).as_bytes());
        let check =
            ["check", "--offline", "--policies", "policies", "--values", "*.yaml", "--format", "json", "values.yaml"];
        let summary = scene.run(&check).json()["summary"].clone();
        let deferred = summary["deferredImages"][0].as_str().unwrap();
        assert!(
            deferred.starts_with("values.yaml: image: its tag is a ") && deferred.ends_with("quote it"),
            "{deferred}"
        );
        assert_eq!(summary["images"], 0, "{tag}");
        let pinned = scene.run(&["pin", "--facts", "facts.yaml", "values.yaml"]);
        assert!(pinned.stdout.contains("quote it"), "{tag}: {pinned:?}");
        scene.write("values.yaml", values(&format!("'{tag}'")).as_bytes());
        let ran = scene.run(&check);
        assert_eq!((ran.code, ran.json()["findings"][0]["id"].as_str()), (1, Some("TW120")), "{tag}: {ran:?}");
    }
}

#[test]
fn old_booleans_in_policies_are_named_at_their_place() {
    for (from, to, said) in [
        ("enforce", "on", "p.yaml:5:9: 'on' is not a value of this key"),
        ("enforce", "yes", "p.yaml:5:9: 'yes' is not a value of this key"),
        ("enforce", "true", "p.yaml:5:9: expected one of audit, warn, enforce, found the boolean true"),
        ("[release]", "[off]", "'off' is not a tag class or a pattern"),
        ("[release]", "[010]", "found the number 10"),
        ("{name: acme}", "{name: 1.10}", "p.yaml:3:18: expected a string, found the number 1.1"),
    ] {
        let scene = scene("");
        scene.write("policies/p.yaml", POLICY.replace(from, to).as_bytes());
        for arguments in [&["lint", "policies"][..], &["check", "--offline", "--policies", "policies", "pod.yaml"]] {
            let ran = scene.run(arguments);
            let flat = flat(&is_decent(&ran, Duration::ZERO, to));
            assert!(flat.contains(said), "{to}: {flat}");
        }
    }
}

#[test]
fn files_with_nothing_in_them_are_told_by_whoever_needs_something() {
    for nothing in ["", "\n", "---\n", "# only a comment\n", "\u{feff}", "---\n---\n...\n", "null\n"] {
        let scene = scene("");
        scene.write("none.yaml", nothing.as_bytes());
        for (arguments, code, said) in [
            (
                &["check", "--offline", "--policies", "policies", "none.yaml"][..],
                0,
                "checked 1 file, 0 objects, 0 images",
            ),
            (&["explain", "--offline", "-f", "none.yaml"], 2, "there is no image in it that could be explained"),
            (&["lint", "none.yaml"], 2, "there is no policy at all"),
            (&["test", "none.yaml"], 2, "there is no document in this file"),
            (&["pin", "--facts", "facts.yaml", "none.yaml"], 0, "1 file, 0 images"),
            (&["explain", "--offline", "--config", "none.yaml", BAD], 0, "verdict     allow"),
        ] {
            let ran = scene.run(arguments);
            assert_eq!(ran.code, code, "{nothing:?} {arguments:?}: {ran:?}");
            assert!(format!("{}{}", ran.stdout, ran.stderr).contains(said), "{nothing:?} {arguments:?}: {ran:?}");
        }
    }
}

#[test]
fn several_broken_policies_are_told_at_once() {
    let scene = scene("");
    scene.write("policies/a.yaml", b"# caf\xe9\n");
    symlink("nowhere", scene.path().join("policies/b.yaml")).unwrap();
    let ran = scene.run(&["check", "--offline", "--policies", "policies", "pod.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(ran.stderr, @r"
    error: not UTF-8: byte 0xe9 at line 1, column 6
    --> policies/a.yaml
     = help: save the file as UTF-8

    error: cannot be read: no such file or directory
    --> policies/b.yaml
     = help: check the path; `-` reads standard input
    ");
}

#[test]
fn an_explanation_nobody_reads_ends_quietly_with_the_verdict() {
    let scene = Scene::new(&[("policies/p.yaml", POLICY), ("pods.yaml", &format!("{}---\n", pod(BAD)).repeat(500))]);
    for format in ["plain", "json"] {
        let arguments = ["explain", "--offline", "--policies", "policies", "--format", format, "-f", "pods.yaml"];
        let mut child = scene.command(&arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]), "{format}");
    }
}
