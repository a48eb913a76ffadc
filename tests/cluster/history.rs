//! The history of releases on a real API server: written by one replica at a time, from Pods, and nothing lost between two.
//!
//! No kubelet runs here, so the tests write what one would report of Pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Authority, Cluster, Kubectl, PATIENCE, Server, ServerOptions, User, program, until, until_true};
use crate::objects::BASIC;

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

/// A replica whose own namespace is `home`.
fn replica(home: &str, which: &str, config: &str, authority: &Authority) -> Server {
    let options = ServerOptions {
        name: &format!("{home}-{which}"),
        namespace: home,
        policies: &[("basic.yaml", BASIC)],
        config: Some(&format!("shutdownDelay: 0s\n{config}")),
        authority,
    };
    Server::ready(Cluster::shared(), &options)
}

fn writes(server: &Server) -> bool {
    server.metric("tagwarden_history_watching", "") == 1.0
}

/// Creates a Pod of a release, and reports of it what a kubelet would once it runs.
fn run(admin: &Kubectl, name: &str, release: Option<&str>, digit: &str) {
    let annotations = release.map(|name| json!({"tagwarden.dev/release": format!("{name} {}", digest("0"))}));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/acme/api:v1"}]}});
    admin.create(&pod).accepted();
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "main", "image": "registry.example.com/acme/api:v1", "restartCount": 0, "ready": true,
        "imageID": format!("registry.example.com/acme/api@{}", digest(digit)),
        "state": {"running": {"startedAt": "2026-03-01T10:00:00Z"}}}]}});
    admin
        .run(&["patch", "pod", name, "--subresource", "status", "--type", "merge", "-p", &status.to_string()])
        .accepted();
}

fn end(admin: &Kubectl, name: &str) {
    admin.run(&["delete", "pod", name, "--force", "--grace-period=0", "--wait=true"]).accepted();
}

/// Lines of the history in a file that may hold others.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["kind"] == "tagwardenHistory").collect()
}

/// `event release digit` of those about a namespace.
fn about(file: &Path, namespace: &str) -> Vec<String> {
    let line = |line: &Value| {
        let release = line["release"]["name"].as_str().unwrap_or("-");
        format!("{} {release} {}", line["event"].as_str().unwrap(), &line["digest"].as_str().unwrap()[7..8])
    };
    lines(file).iter().filter(|line| line["namespace"] == namespace).map(line).collect()
}

#[track_caller]
fn told(file: &Path, namespace: &str, expected: &[&str]) {
    until(&format!("{expected:?}"), PATIENCE, || {
        let told = about(file, namespace);
        // More than that would be one too many.
        assert!(told.len() <= expected.len() && told == expected[..told.len()], "{told:?}");
        (told.len() == expected.len()).then_some(())
    });
}

/// `release history`: code and standard output.
fn ask(file: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program()).args(["release", "history"]).arg(file).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn shops(names: [&str; 2]) -> Kubectl {
    let cluster = Cluster::shared();
    names.iter().for_each(|name| cluster.create_namespace(name, &json!({})));
    cluster.as_user(User::Admin).within(names[1])
}

#[test]
fn one_replica_writes_what_ran_and_the_next_one_goes_on_without_a_loss_or_a_double() {
    let [home, shop] = ["history", "history-shop"];
    let admin = shops([home, shop]);
    let file: PathBuf = Cluster::shared().folder("history-file").join("history.jsonl");
    let config = format!("history: {{enabled: true, file: {}}}\n", file.display());
    let authority = Authority::new("webhook-ca");
    run(&admin, "before", Some("one"), "1");
    let mut first = replica(home, "a", &config, &authority);
    until_true("the first replica to write", PATIENCE, || writes(&first));
    let mut second = replica(home, "b", &config, &authority);
    told(&file, shop, &["observed one 1"]);
    run(&admin, "again", Some("one"), "1");
    run(&admin, "new", Some("two"), "2");
    told(&file, shop, &["observed one 1", "began two 2"]);
    end(&admin, "before");
    end(&admin, "again");
    told(&file, shop, &["observed one 1", "began two 2", "ended one 1"]);
    assert!(!writes(&second), "only the elected replica writes");
    let began =
        lines(&file).iter().find(|line| line["event"] == "began" && line["namespace"] == shop).cloned().unwrap();

    // The node of the replica that writes is lost; until the other one is elected nobody watches.
    first.kill();
    end(&admin, "new");
    run(&admin, "meanwhile", Some("three"), "3");
    until_true("the second replica to write", PATIENCE, || writes(&second));
    let so_far = ["observed one 1", "began two 2", "ended one 1", "observed three 3", "ended two 2"];
    told(&file, shop, &so_far);
    let ended =
        lines(&file).into_iter().rev().find(|line| line["event"] == "ended" && line["namespace"] == shop).unwrap();
    assert!(ended["seen"].as_str().unwrap() < ended["time"].as_str().unwrap(), "{ended}");

    // What is known of each moment. The gap begins with the last line of the first replica, about whatever namespace.
    let at = |time: &Value| ask(&file, &["-n", shop, "--at", time.as_str().unwrap()]);
    let (code, told_then) = at(&began["time"]);
    assert!(code == 0 && told_then.contains("one (sha256:0") && told_then.contains("two (sha256:0"), "{told_then}");
    assert!(told_then.contains("registry.example.com/acme/api:v1") && !told_then.contains("three"), "{told_then}");
    let (code, told_now) = at(&ended["time"]);
    assert!(code == 0 && told_now.contains("three (sha256:0") && !told_now.contains("two"), "{told_now}");
    let (code, told_long_ago) = at(&json!("2026-01-01"));
    assert!(code == 3 && told_long_ago.contains("the history begins at"), "{told_long_ago}");
    let (code, all) = ask(&file, &["-n", shop]);
    assert!(code == 0 && all.contains("nobody watched from") && all.contains("unwatched, after"), "{all}");

    // Each change of releases is an Event, once. Replicas of other tests see these Pods as well, and tell for themselves.
    let short = "(sha256:000000000000)";
    let expected = [format!("release one {short} to two {short}"), format!("release two {short} to three {short}")];
    let events = until("the Events", PATIENCE, || {
        let all = admin.get("events.events.k8s.io").unwrap();
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let ours = all["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "ReleaseChanged");
        let told: Vec<_> = ours.map(|event| (text(event, "reportingInstance"), text(event, "note"))).collect();
        expected.iter().all(|note| told.iter().any(|(_, told)| told == note)).then_some(told)
    });
    let mut once = events.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), events.len(), "{events:?}");

    // Told to end, it says until when it watched; a third one finds nothing to tell.
    second.signal("TERM");
    until_true("its end", PATIENCE, || second.ended().is_some());
    let last = lines(&file).pop().unwrap();
    assert_eq!(last["event"], "watching");
    assert!(last["since"].as_str().unwrap() < last["time"].as_str().unwrap(), "{last}");
    let third = replica(home, "c", &config, &authority);
    until_true("the third replica to write", PATIENCE, || writes(&third));
    told(&file, shop, &so_far);
    assert_eq!(lines(&file).last().unwrap()["resumes"], true);
    let _ = admin.run(&["delete", "namespace", home, shop, "--wait=false"]);
}

#[test]
fn without_a_file_the_lines_are_on_standard_output_and_a_log_can_be_asked() {
    let [home, shop] = ["history-stdout", "history-stdout-shop"];
    let admin = shops([home, shop]);
    run(&admin, "api", Some("one"), "1");
    let server = replica(home, "a", "history: {enabled: true}\n", &Authority::new("webhook-ca"));
    until_true("the replica to write", PATIENCE, || writes(&server));
    run(&admin, "job", None, "2");
    // What a container's log is, too: both streams.
    let log = Cluster::shared().folder("history-stdout-log").join("server.log");
    until("both in its log", PATIENCE, || {
        fs::write(&log, server.log()).unwrap();
        (about(&log, shop) == ["observed one 1", "began - 2"]).then_some(())
    });
    let (code, told) = ask(&log, &["-n", shop]);
    assert!(code == 0 && told.contains("one (sha256:0") && told.contains("none  "), "{told}");
    assert_eq!(lines(&log)[0]["resumes"], false);
    let _ = admin.run(&["delete", "namespace", home, shop, "--wait=false"]);
}

#[test]
fn what_cannot_be_written_is_counted_and_written_later_and_reviews_go_on() {
    let [home, shop] = ["history-full", "history-full-shop"];
    let admin = shops([home, shop]);
    let folder = Cluster::shared().folder("history-full-volume").join("missing");
    let file = folder.join("history.jsonl");
    let config = format!("history: {{enabled: true, file: {}}}\n", file.display());
    let server = replica(home, "a", &config, &Authority::new("webhook-ca"));
    until_true("the replica to watch", PATIENCE, || writes(&server));
    run(&admin, "api", Some("one"), "1");
    end(&admin, "api");
    run(&admin, "job", None, "2");
    until_true("failures", PATIENCE, || server.metric("tagwarden_history_write_failures_total", "") >= 3.0);
    server.logs("the history is not written; trying again");
    assert!(server.is_ready(), "admission does not depend on it");
    fs::create_dir(&folder).unwrap();
    told(&file, shop, &["began one 1", "ended one 1", "began - 2"]);
    let _ = admin.run(&["delete", "namespace", home, shop, "--wait=false"]);
}

#[test]
fn without_the_setting_nothing_is_watched_and_nothing_written() {
    let home = "history-off";
    Cluster::shared().create_namespace(home, &json!({}));
    let server = replica(home, "a", "", &Authority::new("webhook-ca"));
    server.logs("\"held\":true");
    assert!(!writes(&server) && !server.log().contains("tagwardenHistory"), "{}", server.log());
}
