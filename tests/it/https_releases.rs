//! Releases in the server: what governs which namespace, new and broken release files, the annotation, the log.

use std::fs;

use serde_json::{Value, json};

use crate::https_support::{Server, Setup, pod_review, review, until};

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: system}
spec:
  mode: enforce
  rules:
    - {name: free, images: [\"facts.example.com/free/**\"], tags: [digest]}
    - {name: audited, images: [\"facts.example.com/audited/**\"], tags: [digest], release: require, mode: audit}
    - {name: system, images: [\"facts.example.com/acme/**\"], tags: [digest], release: require}
";

const CONFIG: &str = "releases:
  - {namespaces: {include: [\"shop-*\"]}, dir: releases}
  - {namespaces: {include: [fixed]}, dir: releases, current: one}
  - {namespaces: {include: [lost]}, dir: releases, current: gone}
  - {namespaces: {include: [labelled]}, dir: releases, currentLabel: team}
trustedNamespaceLabels: [team]
";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn api(digit: char) -> String {
    format!("facts.example.com/acme/api@{}", digest(digit))
}

fn web(digit: char) -> String {
    format!("facts.example.com/acme/web@{}", digest(digit))
}

fn release(name: &str, api: char, web: char, previous: &str) -> String {
    format!(
        "release: {name}\nimages:\n  api: {{repo: facts.example.com/acme/api, digest: \"{}\"}}\n  \
         web: {{repo: facts.example.com/acme/web, digest: \"{}\"}}\n  \
         audited: {{repo: facts.example.com/audited/api, digest: \"{}\"}}\n{previous}",
        digest(api),
        digest(web),
        digest(api),
    )
}

fn server(files: &[(&str, &str)]) -> Server {
    let setup = Setup { policies: vec![("p.yaml", POLICY.to_owned())], ..Setup::config(CONFIG) };
    let server = setup.start();
    fs::create_dir(server.path("releases")).unwrap();
    for (name, text) in files {
        fs::write(server.path("releases").join(name), text).unwrap();
    }
    server
}

fn pod(images: &[&str], annotations: &Value) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(at, image)| json!({"name": format!("c{at}"), "image": image})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": annotations},
        "spec": {"containers": containers}})
}

fn create(namespace: &str, images: &[&str], annotations: &Value) -> Value {
    review("CREATE", namespace, &pod(images, annotations), &Value::Null)
}

/// The codes that a Pod of these images is refused with; empty: it is let in.
async fn refused(server: &Server, namespace: &str, images: &[&str]) -> Vec<String> {
    let response = server.http1().await.review("/validate", &create(namespace, images, &json!({}))).await;
    if response["allowed"] == true {
        return Vec::new();
    }
    let causes = response["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
    causes.iter().map(|cause| cause["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn loaded(server: &Server, release: &str) {
    until("the release is loaded", async || {
        let (_, metrics) = server.get("/metrics").await;
        let line =
            |line: &str| line.starts_with("tagwarden_release_info") && line.contains(&format!("release=\"{release}\""));
        metrics.lines().any(line).then_some(())
    })
    .await;
}

async fn reloads(server: &Server, successfully: bool) {
    until("the directory is judged", async || {
        let (_, metrics) = server.get("/metrics").await;
        let wanted =
            format!("tagwarden_release_last_reload_successful{{source=\"releases\"}} {}", u8::from(successfully));
        metrics.contains(&wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_release_of_the_namespace_decides_and_a_new_one_takes_over() {
    let server = server(&[("one.yaml", &release("one", 'a', 'b', ""))]);
    loaded(&server, "one").await;
    assert_eq!(refused(&server, "shop-a", &[&api('a'), &web('b')]).await, [""; 0]);
    assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, ["TW301"]);
    assert_eq!(refused(&server, "shop-a", &[&format!("facts.example.com/acme/x@{}", digest('a'))]).await, ["TW300"]);
    // Every other way to have no release is no way in.
    for namespace in ["elsewhere", "lost", "labelled"] {
        let codes = refused(&server, namespace, &[&api('a')]).await;
        let expected = if namespace == "labelled" { "TW900" } else { "TW302" };
        assert_eq!(codes, [expected], "{namespace}");
    }
    assert_eq!(refused(&server, "elsewhere", &[&format!("facts.example.com/free/x@{}", digest('a'))]).await, [""; 0]);

    fs::write(server.path("releases/two.yaml"), release("two", 'c', 'd', "previous: [one]\n")).unwrap();
    loaded(&server, "two").await;
    assert_eq!(refused(&server, "shop-a", &[&api('c'), &web('d')]).await, [""; 0], "forward");
    assert_eq!(refused(&server, "shop-a", &[&api('a'), &web('b')]).await, [""; 0], "and back");
    assert_eq!(refused(&server, "shop-a", &[&api('c'), &web('b')]).await, ["TW303"], "and never both");
    assert_eq!(refused(&server, "fixed", &[&api('c')]).await, ["TW301"], "which one is the configuration's to say");
}

#[tokio::test]
async fn a_broken_release_file_changes_nothing_and_is_told() {
    let good = release("one", 'a', 'b', "");
    let server = server(&[("one.yaml", &good)]);
    loaded(&server, "one").await;
    let image = api('a');
    let twice = format!("{good}  api: {{repo: facts.example.com/acme/api, tag: v1.0.0}}\n");
    let unlike = good.replace("web: {repo: facts.example.com/acme/web,", "web: {repo: facts.example.com/acme/api,");
    let no_version = good.replace(&format!("digest: \"{}\"", digest('b')), "commit: x");
    for bad in [
        "",
        "release: one\nimages: {}\n",
        "release: one\nimages:\n  api: {repo: facts.example",
        &twice,
        &unlike,
        &no_version,
    ] {
        fs::write(server.path("releases/one.yaml"), bad).unwrap();
        reloads(&server, false).await;
        assert_eq!(refused(&server, "shop-a", &[&image]).await, [""; 0], "{bad}");
        assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, ["TW301"], "never allow all: {bad}");
        let (_, verbose) = server.get("/readyz?verbose").await;
        assert!(verbose.contains("releases/one.yaml"), "{verbose}");
        fs::write(server.path("releases/one.yaml"), &good).unwrap();
        reloads(&server, true).await;
    }
    // Two of one name, two that follow nobody, and a directory that is gone.
    fs::write(server.path("releases/again.yaml"), &good).unwrap();
    reloads(&server, false).await;
    server.log.wait(|line| {
        line["problem"].as_str().is_some_and(|text| text.contains("was read before, in releases/again.yaml"))
    });
    fs::remove_dir_all(server.path("releases")).unwrap();
    reloads(&server, false).await;
    assert_eq!(refused(&server, "shop-a", &[&image]).await, [""; 0]);
    assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, ["TW301"]);
}

#[tokio::test]
async fn two_releases_that_follow_nobody_leave_no_doubt() {
    let server = server(&[("one.yaml", &release("one", 'a', 'b', "")), ("two.yaml", &release("two", 'c', 'd', ""))]);
    loaded(&server, "two").await;
    assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, ["TW302"]);
    assert_eq!(refused(&server, "fixed", &[&api('a')]).await, [""; 0]);
    reloads(&server, false).await;
}

#[tokio::test]
async fn a_file_that_was_edited_after_its_lock_governs_by_its_content_and_is_told() {
    let open = release("one", 'a', 'b', "");
    let id = tagwarden::release::Release::read("one.yaml", &open).unwrap().id().to_string();
    let locked = |text: &str| text.replacen('\n', &format!("\nid: {id}\n"), 1);
    let server = server(&[("one.yaml", &locked(&open))]);
    loaded(&server, "one").await;
    let (_, verbose) = server.get("/readyz?verbose").await;
    assert!(verbose.contains("[+]releases") && !verbose.contains("one.yaml"), "{verbose}");

    // The digest of the database, say, was changed by hand; and one release before it is not there.
    let edited = locked(&release("one", 'c', 'b', "previous: [zero]\ncanary: {canaryWeight: 5, stableWeight: 5}\n"));
    fs::write(server.path("releases/one.yaml"), &edited).unwrap();
    let content = tagwarden::release::Release::read("one.yaml", &edited).unwrap().id().to_string();
    assert_ne!(content, id);
    let stale = format!("the id {} is written, and that of the content is {}", &id[..19], &content[..19]);
    let line = server.log.wait(|line| line["problem"].as_str().is_some_and(|problem| problem.contains(&stale)));
    assert_eq!((&line["level"], &line["source"]), (&json!("WARN"), &json!("releases")));
    let verbose = until("it is told", async || {
        let (_, verbose) = server.get("/readyz?verbose").await;
        verbose.contains(&stale).then_some(verbose)
    })
    .await;
    for told in [
        "[+]releases",
        "releases: releases/one.yaml:2:5: warning: the id",
        "canaryWeight 5 and stableWeight 5 make 10, not 100",
        "releases: the release 'one' lists 'zero' in 'previous', which is not loaded, and not allowed",
    ] {
        assert!(verbose.contains(told), "{told}: {verbose}");
    }
    // It governs as it stands, and nobody is told that this is what was locked.
    assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, [""; 0]);
    assert_eq!(refused(&server, "shop-a", &[&api('a')]).await, ["TW301"]);
    let written = noted(&server, "shop-a", &[&api('c')], &json!({})).await;
    assert_eq!(written[0]["value"], json!(format!("one {content}")));

    fs::write(server.path("releases/one.yaml"), locked(&open)).unwrap();
    until("it is locked again", async || {
        let (_, verbose) = server.get("/readyz?verbose").await;
        (!verbose.contains("is written, and that of")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_read_a_release_lets_nothing_in_that_needs_one() {
    let server = server(&[("one.yaml", "images: 7\n")]);
    reloads(&server, false).await;
    assert_eq!(refused(&server, "shop-a", &[&api('a')]).await, ["TW302"]);
    assert_eq!(refused(&server, "shop-a", &[&format!("facts.example.com/free/x@{}", digest('a'))]).await, [""; 0]);
}

/// The operations of a patch on annotations; none without a patch.
async fn noted(server: &Server, namespace: &str, images: &[&str], annotations: &Value) -> Vec<Value> {
    use base64::Engine as _;
    let response = server.http1().await.review("/mutate", &create(namespace, images, annotations)).await;
    assert_eq!(response["allowed"], true);
    let Some(patch) = response["patch"].as_str() else { return Vec::new() };
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    serde_json::from_slice(&patch).unwrap()
}

#[tokio::test]
async fn the_pod_and_the_log_name_the_release() {
    let server = server(&[
        ("one.yaml", &release("one", 'a', 'b', "")),
        ("two.yaml", &release("two", 'c', 'd', "previous: [one]\n")),
    ]);
    loaded(&server, "two").await;
    const PATH: &str = "/metadata/annotations/tagwarden.dev~1release";
    let value = |operations: &[Value]| match operations {
        [one] if one["op"] == "add" && one["path"] == PATH => one["value"].as_str().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    let written = noted(&server, "shop-a", &[&api('a'), &web('b')], &json!({})).await;
    let name = value(&written);
    let (release, id) = name.split_once(' ').unwrap();
    assert!(release == "one" && id.starts_with("sha256:") && id.len() == 71, "{name}");
    let lines = server.log.wait(|line| line["message"] == "decision" && line["release"].is_string());
    assert_eq!(lines["release"], name);
    // It is there already; it is somebody's invention; it is of another release.
    assert_eq!(noted(&server, "shop-a", &[&api('a')], &json!({"tagwarden.dev/release": name})).await, [Value::Null; 0]);
    let invented = json!({"tagwarden.dev/release": "mine"});
    assert_eq!(value(&noted(&server, "shop-a", &[&api('a')], &invented).await), name);
    for (namespace, image) in [("shop-a", api('e')), ("elsewhere", api('a'))] {
        let removed = noted(&server, namespace, &[&image], &invented).await;
        assert_eq!(removed, [json!({"op": "remove", "path": PATH})], "{namespace}");
    }
    // An update that mixes two is refused, and noted as none.
    let before = pod(&[&api('c'), &web('d')], &json!({}));
    let mixed = review("UPDATE", "shop-a", &pod(&[&api('a'), &web('d')], &json!({})), &before);
    let response = server.http1().await.review("/validate", &mixed).await;
    assert!(response["status"]["message"].as_str().is_some_and(|text| text.contains("TW303")), "{response}");
    assert!(server.http1().await.review("/mutate", &mixed).await.get("patch").is_none());
    let alike = review(
        "UPDATE",
        "shop-a",
        &pod(&[&api('c'), &web('d')], &json!({})),
        &pod(&[&api('e'), &web('d')], &json!({})),
    );
    assert_eq!(server.http1().await.review("/validate", &alike).await["allowed"], true);
    // Annotations that are as many as can be get no further one.
    let full = json!({"a": "x".repeat((256 << 10) - 1)});
    assert_eq!(noted(&server, "shop-a", &[&api('a')], &full).await, [Value::Null; 0]);
    // A mix is of no release, and what is only audited writes nothing.
    assert_eq!(noted(&server, "shop-a", &[&api('a'), &web('d')], &json!({})).await, [Value::Null; 0]);
    let audited = format!("facts.example.com/audited/api@{}", digest('c'));
    assert_eq!(noted(&server, "shop-a", &[&audited], &json!({})).await, [Value::Null; 0]);
}

#[tokio::test]
async fn the_configuration_may_name_another_directory() {
    let server = server(&[("one.yaml", &release("one", 'a', 'b', ""))]);
    loaded(&server, "one").await;
    fs::create_dir(server.path("others")).unwrap();
    fs::write(server.path("others/o.yaml"), release("other", 'c', 'd', "")).unwrap();
    server.write("config.yaml", &CONFIG.replace("dir: releases}", "dir: others}"));
    loaded(&server, "other").await;
    assert_eq!(refused(&server, "shop-a", &[&api('c')]).await, [""; 0]);
    assert_eq!(refused(&server, "shop-a", &[&api('a')]).await, ["TW301"]);
    let allowed = server.http1().await.review("/validate", &pod_review("fixed", &api('a'))).await;
    assert_eq!(allowed["allowed"], true, "what another entry names is as it was");
}
