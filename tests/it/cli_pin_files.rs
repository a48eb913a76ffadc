//! `pin` and the bytes of files: golden texts of every kind of file, random layouts, and what can go wrong with files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;

use crate::cli_support::{Ran, Scene, copy_binary};

const IMAGE: &str = "registry.example.com/acme/api:v1.4.2";
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pin")
}

/// A scene with the facts of the golden files.
fn scene() -> Scene {
    let scene = Scene::new(&[]);
    scene.write("facts.yaml", &fs::read(data().join("facts.yaml")).unwrap());
    scene
}

fn pin(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["pin", "--facts", "facts.yaml"], arguments].concat())
}

/// Every file below a directory, with its text.
fn texts(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_kind_of_file_becomes_its_golden_text() {
    let scene = scene();
    for (name, text) in texts(&data().join("before")) {
        scene.write(&format!("d/{name}"), text.as_bytes());
    }
    let ran = pin(&scene, &["--write", "d"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let golden = texts(&data().join("after"));
    let written = texts(&scene.path().join("d"));
    assert_eq!(written.len(), golden.len());
    for (written, golden) in written.iter().zip(&golden) {
        assert_eq!(written, golden);
    }
    let changed = texts(&data().join("before")).iter().zip(&golden).filter(|(before, after)| before != after).count();
    assert_eq!(changed, 8, "the golden texts do differ");

    let again = pin(&scene, &["--check", "d"]);
    assert!(again.code == 0 && again.stdout.contains("33 images: 29 pinned already, 4 left\n"), "{}", again.stdout);
}

#[test]
fn what_cannot_be_written_is_told_with_its_remedy_and_left() {
    let scene = scene();
    let files = [
        ("values.yaml", "a: {repository: registry.example.com/acme/api, tag: v1.4.2}\n", "`tag: v1@sha256:...`"),
        (
            "empty-values.yaml",
            "a: {repository: registry.example.com/acme/api, tag: '', digest: ''}\n",
            "the chart chooses one",
        ),
        ("Dockerfile", "ARG V=1.4.2\nFROM registry.example.com/acme/api:v${V}\n", "as the default of one ARG"),
        (
            "x.Dockerfile",
            "ARG V\nFROM registry.example.com/acme/api:$V\n",
            "the argument V has no default in this file",
        ),
        (
            "compose.yaml",
            "services:\n  a:\n    image: registry.example.com/acme/api:${V:-v1.4.2}\n",
            "it holds a variable",
        ),
        (
            "kustomization.yaml",
            "images: [{name: registry.example.com/acme/api, newTag: 1.4}]\n",
            "write the tag in quotes",
        ),
        (
            "pod.yaml",
            "kind: Pod\napiVersion: v1\nspec: {containers: [{image: 5}, {image: 'a b'}]}\n",
            "not a valid image reference",
        ),
        (
            "shared.yaml",
            "a: {repository: registry.example.com/acme/api, tag: v1.4.2, digest: &d ''}\n\
                         b: {repository: registry.example.com/acme/migrate, tag: v1.4.1, digest: *d}\n",
            "write each out",
        ),
    ];
    for (name, text, said) in files {
        scene.write(name, text.as_bytes());
        let ran = pin(&scene, &["--check", name]);
        assert!(ran.code == 4 && ran.stdout.contains(said), "{name}: {}", ran.stdout);
        let ran = pin(&scene, &["--write", name]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{name}: {}", ran.stdout);
        assert_eq!(fs::read_to_string(scene.path().join(name)).unwrap(), text, "{name}");
    }
}

/// An image as a scalar of YAML in flow or block style: before, and after it is pinned.
fn scalar() -> impl Strategy<Value = (String, String)> {
    let escaped = IMAGE.replace(':', "\\x3A");
    select(vec![
        (IMAGE.to_owned(), format!("{IMAGE}@{DIGEST}")),
        (format!("'{IMAGE}'"), format!("'{IMAGE}@{DIGEST}'")),
        (format!("\"{IMAGE}\""), format!("\"{IMAGE}@{DIGEST}\"")),
        (format!("\"{escaped}\""), format!("\"{escaped}@{DIGEST}\"")),
        (format!("!!str '{IMAGE}'"), format!("!!str '{IMAGE}@{DIGEST}'")),
        (format!("&a{} {IMAGE}", 1), format!("&a1 {IMAGE}@{DIGEST}")),
        (format!("{IMAGE}@{DIGEST}"), format!("{IMAGE}@{DIGEST}")),
        ("registry.example.com/acme/api:env-prod".to_owned(), "registry.example.com/acme/api:env-prod".to_owned()),
    ])
}

/// A container in some layout, indented by two spaces: before, and after.
fn container() -> impl Strategy<Value = (String, String)> {
    let space = || select(vec!["", " ", "    "]);
    let comment = || select(vec!["", " # c", "   # image: registry.example.com/acme/api:v1.4.2", " #\té\u{200b}"]);
    let above = || select(vec!["", "    args: [\"a:1\", 'it''s', \"#\"]\n", "\n", "    # image: x:1\n\n"]);
    let further =
        || select(vec!["", "\n", "    # image: x:1\n", "    command:\n    - registry.example.com/acme/api:v1.4.2\n"]);
    let block = (space(), scalar(), comment(), above(), further()).prop_map(
        |(space, (before, after), comment, above, below)| {
            let text = |image: &str| format!("  - name: a\n{above}    image: {space}{image}{comment}\n{below}");
            (text(&before), text(&after))
        },
    );
    let first = (scalar(), comment(), further()).prop_map(|((before, after), comment, below)| {
        let text = |image: &str| {
            format!(
                "  -   \"image\":   {image}{comment}\n      name: a\n{}",
                below.replace("\n    ", "\n      ").replacen("    ", "      ", 1)
            )
        };
        (text(&before), text(&after))
    });
    let flow = (space(), scalar(), comment()).prop_map(|(space, (before, after), comment)| {
        let text = |image: &str| {
            format!("  - {{name: a,{space} image: {image} {space}, env: [{{name: x, value: {IMAGE}}}]}}{comment}\n")
        };
        (text(&before), text(&after))
    });
    let folded = (select(vec![">-", "|-", "|- # c", "!!str >-"]), further()).prop_map(|(style, below)| {
        let text = |image: &str| format!("  - name: a\n    image: {style}\n        {image}\n{below}");
        (text(IMAGE), text(&format!("{IMAGE}@{DIGEST}")))
    });
    prop_oneof![block, first, flow, folded]
}

/// A file of some documents, with its ends of lines: before, and after.
fn file() -> impl Strategy<Value = (String, String)> {
    let head = select(vec![
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {i: 'registry.example.com/acme/api:v1.4.2'}}\nspec:\n  containers:\n",
        "# Source: a/b.yaml\nspec: # c\n  containers:   # image: x\nCONTAINERSkind: \"Pod\"\napiVersion: 'v1'\n",
    ]);
    let document = (head, prop::collection::vec(container(), 1..4)).prop_map(|(head, containers)| {
        let text = |pick: fn(&(String, String)) -> &String| {
            let containers: String = containers.iter().map(pick).map(String::as_str).collect();
            if head.contains("CONTAINERS") {
                head.replace("CONTAINERS", &containers)
            } else {
                format!("{head}{containers}")
            }
        };
        (text(|pair| &pair.0), text(|pair| &pair.1))
    });
    let documents = prop::collection::vec(document, 1..3);
    let ends = (
        select(vec!["\n", "\r\n"]),
        select(vec!["", "\u{feff}"]),
        select(vec!["---\n", "--- # c\n", "...\n---\n"]),
        any::<bool>(),
    );
    (documents, ends).prop_map(|(documents, (line_end, mark, between, last))| {
        let text = |pick: fn(&(String, String)) -> &String| {
            let text = documents.iter().map(pick).map(String::as_str).collect::<Vec<_>>().join(between);
            let text = if last { text.as_str() } else { text.trim_end_matches('\n') };
            format!("{mark}{}", text.replace('\n', line_end))
        };
        (text(|pair| &pair.0), text(|pair| &pair.1))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_layout_only_the_images_change(files in prop::collection::vec(file(), 40)) {
        let scene = scene();
        for (at, (before, _)) in files.iter().enumerate() {
            scene.write(&format!("d/{at}.yaml"), before.as_bytes());
        }
        let ran = pin(&scene, &["--write", "d"]);
        prop_assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        for (at, (before, after)) in files.iter().enumerate() {
            let written = fs::read_to_string(scene.path().join(format!("d/{at}.yaml"))).unwrap();
            prop_assert_eq!(&written, after, "of {:?}", before);
        }
        let again = pin(&scene, &["--write", "d"]);
        prop_assert!(again.code == 0 && !again.stdout.contains("pinned now"), "{}", again.stdout);
    }
}

/// A Pod with the image that the facts know.
fn pod() -> String {
    format!("apiVersion: v1\nkind: Pod\nspec: {{containers: [{{image: {IMAGE}}}]}}\n")
}

fn pinned() -> String {
    pod().replace(IMAGE, &format!("{IMAGE}@{DIGEST}"))
}

#[test]
fn a_file_that_changes_or_vanishes_while_others_are_read_is_not_written() {
    for (change, said) in [
        (&(|path: &Path| fs::write(path, "mine\n").unwrap()) as &dyn Fn(&Path), "a.yaml\n  |\n  = help"),
        (&|path: &Path| fs::remove_file(path).unwrap(), "no such file or directory"),
    ] {
        let scene = scene();
        scene.write("a.yaml", pod().as_bytes());
        scene.write("b.yaml", pod().as_bytes());
        let pipe = scene.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let arguments = ["pin", "--facts", "facts.yaml", "--write", "a.yaml", "pipe", "b.yaml"];
        let child = scene.command(&arguments).spawn().unwrap();
        // Opened once the other side reads, which is after the first file was read.
        let mut feed = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        change(&scene.path().join("a.yaml"));
        feed.write_all(b"kind: Service\napiVersion: v1\n").unwrap();
        drop(feed);
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.stderr.contains("cannot be written") && ran.stderr.contains(said)
                || ran.stderr.contains("changed while"),
            "{}",
            ran.stderr
        );
        let left = fs::read_to_string(scene.path().join("a.yaml")).ok();
        assert!(left.is_none_or(|text| text == "mine\n"), "nothing is lost, and nothing made anew");
        assert_eq!(fs::read_to_string(scene.path().join("b.yaml")).unwrap(), pinned(), "others are still pinned");
        assert!(ran.stdout.contains("wrote b.yaml\n") && !ran.stdout.contains("wrote a.yaml\n"), "{}", ran.stdout);
    }
}

#[test]
fn links_permissions_and_doubles_are_respected() {
    let scene = scene();
    scene.write("real/pod.yaml", pod().as_bytes());
    let real = scene.path().join("real/pod.yaml");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real/pod.yaml", scene.path().join("link.yaml")).unwrap();
    symlink("..", scene.path().join("real/loop")).unwrap();
    let ran = pin(&scene, &["--write", "link.yaml", "real", "real/pod.yaml"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            0,
            "wrote link.yaml\n2 files, 1 image: 1 pinned now\nnot looked into, kinds without known images: ImageFacts (1)\n"
        )
    );
    assert!(fs::symlink_metadata(scene.path().join("link.yaml")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), pinned());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);

    scene.write("protected.yaml", pod().as_bytes());
    fs::set_permissions(scene.path().join("protected.yaml"), fs::Permissions::from_mode(0o444)).unwrap();
    let ran = pin(&scene, &["--write", "protected.yaml"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("protected.yaml") && ran.stderr.contains("it is read-only"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(scene.path().join("protected.yaml")).unwrap(), pod());
}

#[test]
fn a_directory_that_may_not_be_written_is_told() {
    let scene = scene();
    scene.write("d/pod.yaml", pod().as_bytes());
    let directory = scene.path().join("d");
    fs::set_permissions(scene.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere, so somebody else has to try; the program is taken along to where he can run it.
    let program = scene.path().join("tagwarden");
    copy_binary(&program);
    let mut command = Command::new(&program);
    command.args(["pin", "--facts", "facts.yaml", "--write", "d/pod.yaml"]).current_dir(scene.path());
    if fs::metadata(scene.path()).unwrap().uid() == 0 {
        command.uid(65534);
    }
    let ran = Ran::from(command.output().unwrap());
    assert!(
        ran.code == 2 && ran.stderr.contains("error: cannot be written: permission denied\n--> d/pod.yaml\n"),
        "{ran:?}"
    );
    assert_eq!(fs::read_to_string(directory.join("pod.yaml")).unwrap(), pod());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn broken_inputs_are_named_and_others_are_still_pinned() {
    let scene = scene();
    scene.write("good.yaml", pod().as_bytes());
    scene.write("latin.yaml", b"image: caf\xe9\n");
    scene.write("latin.Dockerfile", b"FROM a:1 # \xff\n");
    scene.write("twice.yaml", format!("{}spec: {{}}\n", pod()).as_bytes());
    scene.write("half.yaml", format!("{}---\na: [\n", pod()).as_bytes());
    scene.write("deep.yaml", "[".repeat(10_000).as_bytes());
    scene.write("empty/readme.txt", b"");
    let paths = [
        "latin.yaml",
        "latin.Dockerfile",
        "twice.yaml",
        "half.yaml",
        "deep.yaml",
        "nowhere.yaml",
        "empty",
        "good.yaml",
    ];
    let ran = pin(&scene, &[&["--write"], &paths[..]].concat());
    assert_eq!(ran.code, 2);
    for said in [
        "byte 0xe9 at line 1, column 11",
        "latin.Dockerfile",
        "'spec' stands twice",
        "half.yaml:5:",
        "deep.yaml",
        "nowhere.yaml",
        "empty",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(
        ran.stdout,
        "wrote good.yaml\n1 file, 1 image: 1 pinned now\nleft as they are: 7 broken files, see the errors\n"
    );
    assert!(fs::read_to_string(scene.path().join("half.yaml")).unwrap().starts_with(&pod()), "not in part either");
}

#[test]
fn a_file_that_would_not_read_as_meant_is_left_as_it_is() {
    let scene = scene();
    // The digest is shared with an image that is left, and would get it, too.
    let text = "a: {repository: registry.example.com/acme/api, tag: v1.4.2, digest: &d ''}\n\
                b: {repository: registry.example.com/acme/migrate, tag: latest, digest: *d}\n";
    scene.write("values.yaml", text.as_bytes());
    scene.write("good.yaml", pod().as_bytes());
    let ran = pin(&scene, &["--write", "values.yaml", "good.yaml"]);
    assert!(ran.code == 2 && ran.stderr.contains("with its digests it would not read as meant"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(scene.path().join("values.yaml")).unwrap(), text);
    assert!(ran.stdout.contains("not pinned: its file could not be written"), "{}", ran.stdout);
    assert!(ran.stdout.contains("wrote good.yaml\n"), "{}", ran.stdout);
}

#[test]
fn ten_mebibytes_are_pinned() {
    let scene = scene();
    // A stream may have a million nodes, so there is some text beside them.
    let comment = format!("# {}\n---\n", "c".repeat(2000));
    let documents = 10 * 1024 * 1024 / (pod().len() + comment.len()) + 1;
    scene.write("large.yaml", format!("{}{comment}", pod()).repeat(documents).as_bytes());
    let ran = pin(&scene, &["--write", "large.yaml"]);
    assert_eq!(
        (ran.code, ran.stdout),
        (0, format!("wrote large.yaml\n1 file, {documents} images: {documents} pinned now\n"))
    );
    assert_eq!(
        fs::read_to_string(scene.path().join("large.yaml")).unwrap(),
        format!("{}{comment}", pinned()).repeat(documents)
    );
}

#[test]
fn a_closed_pipe_ends_quietly_and_files_are_written_all_the_same() {
    let scene = scene();
    let many: String = (0..2000).map(|_| format!("{}---\n", pod().replace("v1.4.2", "v9"))).collect();
    for arguments in [&["many.yaml"][..], &["--write", "many.yaml", "good.yaml"]] {
        scene.write("many.yaml", many.as_bytes());
        scene.write("good.yaml", pod().as_bytes());
        let mut child = scene.command(&[&["pin", "--facts", "facts.yaml"], arguments].concat()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(3), ""));
    }
    assert_eq!(fs::read_to_string(scene.path().join("good.yaml")).unwrap(), pinned());
}
