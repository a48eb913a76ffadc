//! Releases as objects and as directories: kubectl's view of them, a bad edit, a roll forward and back, and lost replicas.
//!
//! Objects are of the whole cluster, so the tests that make some take turns, and each names its releases after its namespace.

use std::fs;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::harness::{Authority, Bed, Cluster, Kubectl, PATIENCE, Server, ServerOptions, User, until, until_true};
use crate::objects::pod;
use serde_json::{Value, json};

/// The right to read and write objects; they are gone when it ends.
struct Turn {
    admin: Kubectl,
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let admin = Cluster::shared().as_user(User::Admin);
        static DEFINED: OnceLock<()> = OnceLock::new();
        DEFINED.get_or_init(|| {
            admin.apply(&definition()).accepted();
            let wait = ["wait", "--for=condition=Established", "crd/imagereleases.tagwarden.dev", "--timeout=60s"];
            admin.run(&wait).accepted();
        });
        Turn { admin, _guard: guard }
    }

    fn apply(&self, release: &Value) {
        self.admin.apply(release).accepted();
    }

    fn delete(&self, name: &str) {
        self.admin.run(&["delete", "imagerelease", name]).accepted();
    }

    /// The object, when its status is about its present version and its condition Ready has this reason.
    fn judged(&self, name: &str, reason: &str) -> Value {
        until(&format!("ImageRelease {name} to be {reason}"), PATIENCE, || {
            let object = self.admin.get(&format!("imagerelease/{name}"))?;
            let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            (seen && condition(&object, "Ready")["reason"] == reason).then_some(object)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Also while a failed test unwinds, so nothing may be asserted here.
        let _ = self.admin.run(&["delete", "imagereleases", "--all"]);
    }
}

/// What `tagwarden schema release-crd` prints.
fn definition() -> Value {
    let program = env!("CARGO_BIN_EXE_tagwarden");
    let output = std::process::Command::new(program).args(["schema", "release-crd"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn condition<'o>(object: &'o Value, kind: &str) -> &'o Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|c| c["type"] == kind)).unwrap_or(&Value::Null)
}

const POLICY: &str = r##"
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: by-release}
spec:
  mode: enforce
  rules:
    - {name: first-party, images: ["registry.example.com/acme/**"], release: require}
"##;

/// The image of the repository `api` by its digest.
fn api(letter: char) -> String {
    format!("registry.example.com/acme/api@{}", digest(letter))
}

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// A release file.
fn release(name: &str, letter: char) -> Value {
    json!({
        "release": name,
        "images": {"api": {"repo": "registry.example.com/acme/api", "digest": digest(letter), "team": "shop"}},
        "experiment": {"istio": {"canaryWeight": 10, "stableWeight": 90}},
    })
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImageRelease", "metadata": {"name": name}, "spec": spec})
}

fn config(releases: &str) -> String {
    format!("releases: {releases}\nshutdownDelay: 0s\nlog: {{level: debug}}\n")
}

#[test]
fn the_definition_is_explained_and_keeps_every_key_of_a_release_file() {
    let turn = Turn::take();
    for (path, said) in [
        ("imagerelease.spec.images", "Its images by the names that the system gives them."),
        ("imgrel.spec.previous", "Names of releases that stay allowed beside it, for rollback."),
        ("imagerelease.status.conditions", "Ready: this version is in force."),
    ] {
        let explained = until("the API server's documentation", PATIENCE, || {
            Some(turn.admin.run(&["explain", path])).filter(|outcome| outcome.succeeded())
        });
        let words: Vec<&str> = explained.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains(said), "{path}: {}", explained.stdout);
    }
    let spec = release("kept-1", 'a');
    turn.apply(&object("kept", &spec));
    assert_eq!(turn.admin.get("imagerelease/kept").unwrap()["spec"], spec, "free sections, and an image's own keys");
    let mut wrong = object("wrong", &release("wrong-1", 'a'));
    wrong["spec"]["images"]["api"]["tag"] = json!(1.10);
    turn.admin.create(&wrong).refused().says("spec.images.api.tag");
}

#[test]
fn objects_govern_and_a_bad_edit_a_roll_forward_and_back_are_what_they_say() {
    let turn = Turn::take();
    let namespace = "release-objects";
    turn.apply(&object("one", &release("system-1", 'a')));
    let bed = Bed::named(namespace).policy("p.yaml", POLICY).config(
        "releases: [{objects: true, namespaces: {include: [release-objects]}}]\nshutdownDelay: 0s\nlog: {level: debug}\n",
    );
    let bed = bed.start();
    let dana = bed.dana();

    let held = turn.judged("one", "InForce");
    assert_eq!(condition(&held, "Invalid")["status"], "False");
    let id = held["status"]["id"].as_str().unwrap().to_owned();
    assert_eq!(bed.server.metric("tagwarden_release_info", &format!("id=\"{id}\",release=\"system-1\"")), 1.0);
    let printed = turn.admin.run(&["get", "imgrel", "one"]).accepted().stdout;
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "RELEASE", "ID", "READY", "AGE"]);
    assert_eq!(rows[1][..4], ["one", "system-1", &id, "True"]);

    dana.create(&pod("in", &api('a'))).accepted();
    dana.create(&pod("differs", &api('b'))).denied().says("TW301").says("system-1");
    dana.create(&pod("absent", "registry.example.com/acme/other:v1.0.0")).denied().says("TW300").says("system-1");

    // A bad edit: what was good of this object stays.
    let mut bad = object("one", &release("system-1", 'a'));
    bad["spec"]["images"]["api"]["tag"] = json!("latest");
    turn.apply(&bad);
    let told = turn.judged("one", "EarlierVersionInForce");
    let diagnostic = &told["status"]["diagnostics"][0];
    assert_eq!(diagnostic["path"], "spec.images.api.tag");
    assert_eq!(diagnostic["message"], "the tag 'latest' moves, and a release names versions");
    assert_eq!(told["status"]["id"], id.as_str(), "of what is in force");
    assert_eq!(condition(&told, "Invalid")["status"], "True");
    assert!(bed.server.is_ready());
    assert!(bed.server.readiness().contains("ImageRelease one: spec.images.api.tag: the tag 'latest' moves"));
    let reload = "tagwarden_release_last_reload_successful";
    assert_eq!(bed.server.metric(reload, "source=\"ImageRelease objects\""), 0.0);
    dana.create(&pod("still-in", &api('a'))).accepted();
    dana.create(&pod("still-differs", &api('b'))).denied();
    turn.apply(&object("one", &release("system-1", 'a')));
    turn.judged("one", "InForce");

    // One whose release has the name of an older one's.
    turn.apply(&object("a-younger", &release("system-1", 'c')));
    let doubled = turn.judged("a-younger", "Invalid");
    assert_eq!(doubled["status"]["diagnostics"][0]["path"], "spec.release");
    dana.create(&pod("not-the-younger", &api('c'))).denied().says("TW301");
    turn.delete("a-younger");

    // Forward: the new one governs, the old one stays allowed.
    let mut next = release("system-2", 'b');
    next["previous"] = json!(["system-1"]);
    turn.apply(&object("two", &next));
    turn.judged("two", "InForce");
    dana.create(&pod("new", &api('b'))).accepted();
    dana.create(&pod("old", &api('a'))).accepted();
    dana.create(&pod("neither", &api('c'))).denied().says("TW301").says("system-2");

    // Back: without the new one, the old one governs.
    turn.delete("two");
    until_true("system-2 to be gone", PATIENCE, || {
        bed.server.metric("tagwarden_release_info", "release=\"system-2\"") == 0.0
    });
    dana.create(&pod("back", &api('a'))).accepted();
    dana.create(&pod("not-new", &api('b'))).denied().says("TW301").says("system-1");
    turn.delete("one");
    until_true("system-1 to be gone", PATIENCE, || {
        bed.server.metric("tagwarden_release_info", "release=\"system-1\"") == 0.0
    });
    dana.create(&pod("none", &api('a'))).denied().says("TW302").says("there is no ImageRelease object");
}

/// A replica in a folder of its own; replicas of one namespace share its Lease and ConfigMaps.
fn replica(namespace: &str, which: &str, releases: &str, authority: &Authority) -> Server {
    let name = format!("{namespace}-{which}");
    let config = config(releases);
    let policies = [("p.yaml", POLICY)];
    let options = ServerOptions { name: &name, namespace, policies: &policies, config: Some(&config), authority };
    Server::start(Cluster::shared(), &options)
}

fn ready(server: &Server) {
    until_true("readiness", PATIENCE, || server.is_ready());
}

fn saved(turn: &Turn, namespace: &str) -> Option<Value> {
    turn.admin.within(namespace).get("configmap/tagwarden-last-good-releases")
}

fn loaded(server: &Server, release: &str) -> f64 {
    server.metric("tagwarden_release_info", &format!("release=\"{release}\""))
}

#[test]
fn bad_edits_and_the_loss_of_all_replicas_come_back_with_the_releases_that_were_saved() {
    let turn = Turn::take();
    let namespace = "saved-releases";
    let cluster = Cluster::shared();
    cluster.create_namespace(namespace, &json!({}));
    let folder = cluster.folder("saved-releases-files");
    let file = folder.join("filed.json");
    let good = release("filed-1", 'a').to_string();
    fs::write(&file, &good).unwrap();
    let releases =
        format!("[{{objects: true, namespaces: {{include: [x]}}, current: kept-1}}, {{dir: {}}}]", folder.display());
    // As the chart ships it: empty, with labels that stay.
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "tagwarden-last-good-releases", "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    turn.apply(&empty);
    for name in ["kept", "gone"] {
        turn.apply(&object(name, &release(&format!("{name}-1"), 'b')));
    }
    let authority = Authority::new("webhook-ca");
    let mut before = ["a", "b"].map(|which| replica(namespace, which, &releases, &authority));
    before.iter().for_each(ready);
    for name in ["kept", "gone"] {
        turn.judged(name, "InForce");
    }
    let saved_text =
        || saved(&turn, namespace).map(|map| map["binaryData"]["document"].to_string()).unwrap_or_default();
    until_true("the releases to be saved", PATIENCE, || saved_text().len() > 100);
    assert_eq!(saved(&turn, namespace).unwrap()["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");

    let bad = |name: &str| {
        let mut bad = object(name, &release(&format!("{name}-1"), 'b'));
        bad["spec"]["images"]["api"]["tag"] = json!("latest");
        bad
    };
    turn.apply(&bad("kept"));
    turn.judged("kept", "EarlierVersionInForce");
    fs::write(&file, good.replace("\"digest\"", "\"digset\"")).unwrap();
    until_true("the bad file to be told", PATIENCE, || {
        before.iter().all(|server| server.readiness().contains("digset"))
    });
    before.iter_mut().for_each(Server::kill);
    turn.delete("gone");

    let after = ["c", "d"].map(|which| replica(namespace, which, &releases, &authority));
    after.iter().for_each(ready);
    for server in &after {
        let states = ["filed-1", "kept-1", "gone-1"].map(|release| loaded(server, release));
        assert_eq!(states, [1.0, 1.0, 0.0], "{}", server.readiness());
        assert_eq!(server.metric("tagwarden_releases_from_last_good", ""), 2.0, "{}", server.readiness());
        let told = server.readiness();
        for said in
            ["what was saved when they had no errors", "filed.json:1:", "digset", "ImageRelease kept: spec.images"]
        {
            assert!(told.contains(said), "{told}");
        }
    }
    let kept = turn.judged("kept", "EarlierVersionInForce");
    assert!(kept["status"]["id"].is_string());
    // What is served from the document is not written into it again.
    let document = saved_text();
    assert!(!document.is_empty());

    // One of the two is corrected: the document still has what was good of the other.
    turn.apply(&object("kept", &release("kept-1", 'c')));
    turn.judged("kept", "InForce");
    until_true("the correction to be saved", PATIENCE, || saved_text() != document && saved_text().len() > 100);
    let last = replica(namespace, "e", &releases, &authority);
    ready(&last);
    assert_eq!((loaded(&last, "filed-1"), loaded(&last, "kept-1")), (1.0, 1.0), "{}", last.readiness());
    assert_eq!(last.metric("tagwarden_releases_from_last_good", ""), 1.0);
    fs::write(&file, &good).unwrap();
    for server in after.iter().chain([&last]) {
        until_true("nothing saved to be in force", PATIENCE, || {
            server.metric("tagwarden_releases_from_last_good", "") == 0.0
                && server.metric("tagwarden_release_last_reload_successful", "") == 2.0
        });
    }
}

#[test]
fn releases_too_large_to_be_saved_are_told_and_nothing_half_is_saved() {
    let namespace = "large-releases";
    let cluster = Cluster::shared();
    cluster.create_namespace(namespace, &json!({}));
    let folder = cluster.folder("large-releases-files");
    fs::write(folder.join("small.json"), release("small-1", 'a').to_string()).unwrap();
    let mut large = release("large-1", 'b');
    large["notes"] = json!("x".repeat(901 << 10));
    large["previous"] = json!(["small-1"]);
    fs::write(folder.join("large.json"), large.to_string()).unwrap();
    let authority = Authority::new("webhook-ca");
    let server = replica(namespace, "a", &format!("[{{dir: {}}}]", folder.display()), &authority);
    ready(&server);
    until_true("the failure to be counted", PATIENCE, || {
        server.metric("tagwarden_release_last_good_save_failures_total", "") > 0.0
    });
    server.logs("more than the 900 KiB that are saved");
    assert_eq!((loaded(&server, "small-1"), loaded(&server, "large-1")), (1.0, 1.0), "they serve all the same");
    let admin = cluster.as_user(User::Admin).within(namespace);
    assert!(admin.get("configmap/tagwarden-last-good-releases").is_none());
}
