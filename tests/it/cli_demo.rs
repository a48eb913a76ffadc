//! `demo`: ends by itself with every verdict as promised; kept, it answers until it is told to end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};

use crate::cli_support::Scene;

#[test]
fn every_verdict_is_as_promised_and_reads_as_kubectl_prints_it() {
    let ran = Scene::new(&[]).run(&["demo"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let count = |text: &str| ran.stdout.matches(text).count();
    assert_eq!((count(" created\n"), count("denied the request: ")), (17, 19), "{}", ran.stdout);
    assert!(ran.stdout.contains("36 objects under 8 policies, every verdict as promised."), "{}", ran.stdout);
    let denial = "$ kubectl create -f refuse/deployment.yaml\n\
        Error from server (Forbidden): error when creating \"refuse/deployment.yaml\": \
        admission webhook \"workloads.tagwarden.dev\" denied the request: \
        tagwarden denied Deployment shop/shop: 1 of 2 images break policy no-floating-tags\n";
    assert!(ran.stdout.contains(denial), "{}", ran.stdout);
}

#[test]
fn a_scene_shows_what_is_in_the_release_and_what_is_not() {
    let ran = Scene::new(&[]).run(&["demo"]);
    let (_, scene) = ran.stdout.split_once("\n== policies/releases: ").unwrap();
    let (scene, _) = scene.split_once("\n== ").unwrap();
    assert_eq!(scene.matches("deployment.apps/system created").count(), 2, "{scene}");
    for said in [
        "1. TW300 release: container \"model\", image ghcr.io/acme/report:v1.0.0\n",
        "the tag is v1.2.4; release system-2026-01-11-expA has app as v1.2.3\n   use: ghcr.io/acme/app:v1.2.3\n",
        "1. TW303 release: ",
    ] {
        assert!(scene.contains(said), "{said} is not said in: {scene}");
    }
}

#[test]
fn six_scenes_are_played_against_a_registry() {
    let ran = Scene::new(&[]).run(&["demo"]);
    let (_, scenes) = ran.stdout.split_once("\n== policies/pinning: ").unwrap();
    let scenes: Vec<_> = scenes.split("\n-- ").skip(1).collect();
    let said: [&[&str]; 6] = [
        &["pod/api created", "as written  image: registry.example.com/acme/api:v1.4.2\n", "api:v1.4.2@sha256:d02650a6"],
        &["pod/web created", "web:env-prod@sha256:4c75f323"],
        &["TW201 channel: container \"worker\"", "which no release tag carries"],
        &["TW200 digest: container \"api\"", "v1.4.2 is sha256:d02650a61aa2, not sha256:60ae91059a55"],
        &["Warning: TW203 moved: container \"batch-next\"", "TW200 digest: ", "pod/batch-as-now created"],
        &[
            "Warning: tagwarden: registry.example.com does not answer",
            "pod/api-again created",
            "could not decide on Pod",
        ],
    ];
    assert_eq!(scenes.len(), said.len(), "{}", ran.stdout);
    for (scene, said) in scenes.iter().zip(said) {
        said.iter().for_each(|text| assert!(scene.contains(text), "{text} is not said in: {scene}"));
    }
}

#[test]
fn what_the_readme_shows_of_it_is_what_it_prints() {
    let ran = Scene::new(&[]).run(&["demo"]);
    let readme = include_str!("../../README.md");
    let blocks: Vec<&str> =
        readme.split("```console demo\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    // A block leaves out what stands between its lines; how long the registry was away is nobody's promise.
    let printed = timeless(&ran.stdout);
    for block in blocks {
        let mut rest = printed.as_str();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let line = format!("{}\n", timeless(line));
            let at =
                rest.find(&line).unwrap_or_else(|| panic!("the README shows, and the demo does not print: {line}"));
            rest = &rest[at + line.len()..];
        }
    }
}

/// `, 12 seconds old,` is a comma.
fn timeless(text: &str) -> String {
    let mut pieces: Vec<&str> = text.split(" seconds old,").collect();
    let last = pieces.pop().unwrap_or_default();
    let without_age = |piece: &&str| piece.trim_end_matches(|end: char| end.is_ascii_digit()).trim_end().to_owned();
    pieces.iter().map(without_age).collect::<String>() + last
}

#[test]
fn an_age_is_left_out_whatever_it_is() {
    let text = |age: &str| format!("a, 1 time{age} b\nc{age}\n");
    for age in [", 0 seconds old,", ", 1 seconds old,", ", 120 seconds old,"] {
        assert_eq!(timeless(&text(age)), text(","));
    }
}

#[test]
fn a_closed_pipe_does_not_trouble_it() {
    let scene = Scene::new(&[]);
    let mut child = scene.command(&["demo"]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

/// Does not outlive a test that fails.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Ended already where the test passed.
        let _ = self.0.kill();
    }
}

#[test]
fn kept_it_answers_until_it_is_interrupted() {
    let scene = Scene::new(&[]);
    let mut kept = Kept(scene.command(&["demo", "--keep"]).spawn().unwrap());
    let child = &mut kept.0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut health = None;
    let mut call = None;
    for line in lines.by_ref().map(|line| line.unwrap()) {
        if let Some((_, address)) = line.split_once("http://") {
            health = address.strip_suffix("/metrics").map(str::to_owned);
        }
        if line.starts_with("  curl ") {
            call = Some(line.clone());
        }
        if line == "Press Ctrl-C to end." {
            break;
        }
    }
    let mut stream = TcpStream::connect(health.unwrap()).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // The files that the printed command names are there, and gone afterwards.
    let call = call.unwrap();
    let authority = call.split(' ').skip_while(|word| *word != "--cacert").nth(1).unwrap();
    assert!(std::fs::read_to_string(authority).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(authority).exists());
}
