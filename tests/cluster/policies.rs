//! Policies as objects, and the last good set: kubectl's view of them, one bad edit after the other, and lost replicas.
//!
//! Objects are of the whole cluster. Each policy selects its test's namespace only, and the tests that read objects take
//! turns, so that the replicas of one do not write into what another one judges.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::harness::{Authority, Bed, Cluster, Kubectl, PATIENCE, Server, ServerOptions, User, until, until_true};
use crate::objects::{BAD, BASIC, GOOD, pod};
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
            let wait = ["wait", "--for=condition=Established", "crd/imagepolicies.tagwarden.dev", "--timeout=60s"];
            admin.run(&wait).accepted();
        });
        Turn { admin, _guard: guard }
    }

    fn apply(&self, policy: &Value) {
        self.admin.apply(policy).accepted();
    }

    fn delete(&self, name: &str) {
        self.admin.run(&["delete", "imagepolicy", name]).accepted();
    }

    /// The object, when its status is about its present version and its condition Ready has this reason.
    fn judged(&self, name: &str, reason: &str) -> Value {
        until(&format!("ImagePolicy {name} to be {reason}"), PATIENCE, || {
            let object = self.admin.get(&format!("imagepolicy/{name}"))?;
            let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            (seen && condition(&object, "Ready")["reason"] == reason).then_some(object)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Also while a failed test unwinds, so nothing may be asserted here.
        let _ = self.admin.run(&["delete", "imagepolicies", "--all"]);
    }
}

/// What `tagwarden schema crd` prints.
fn definition() -> Value {
    let program = env!("CARGO_BIN_EXE_tagwarden");
    let output = std::process::Command::new(program).args(["schema", "crd"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn condition<'o>(object: &'o Value, kind: &str) -> &'o Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|c| c["type"] == kind)).unwrap_or(&Value::Null)
}

/// A policy for one namespace that lets tags of one class in.
fn policy(name: &str, namespace: &str, class: &str) -> Value {
    json!({
        "apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": name},
        "spec": {
            "mode": "enforce",
            "namespaces": {"include": [namespace]},
            "rules": [{"name": "any", "images": ["registry.example.com/acme/**"], "tags": [class]}],
        },
    })
}

/// The same with a typing error in a key.
fn misspelt(name: &str, namespace: &str) -> Value {
    let mut policy = policy(name, namespace, "release");
    let rule = policy["spec"]["rules"][0].as_object_mut().unwrap();
    let tags = rule.remove("tags").unwrap();
    rule.insert("tagz".to_owned(), tags);
    policy
}

const OBJECTS: &str = "policies: {objects: true}\nshutdownDelay: 0s\nlog: {level: debug}\n";

#[test]
fn the_definition_is_established_explained_and_takes_every_example() {
    let turn = Turn::take();
    let admin = &turn.admin;
    for (path, said) in [
        ("imagepolicy.spec.rules", "The first rule whose images match decides."),
        ("imgpol.spec.rules.images", "Globs over registry host and repository"),
        ("imagepolicy.spec.mode", "- warn: Allowed, with a warning"),
        ("imagepolicy.status.conditions", "Ready: this version is in force."),
    ] {
        let explained = until("the API server's documentation", PATIENCE, || {
            Some(admin.run(&["explain", path])).filter(|outcome| outcome.succeeded())
        });
        let words: Vec<&str> = explained.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains(said), "{path}: {}", explained.stdout);
    }
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut examples = 0;
    for entry in fs::read_dir(policies).unwrap() {
        let folder = entry.unwrap().path();
        for file in fs::read_dir(&folder).into_iter().flatten().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
                let strict = ["create", "--dry-run=server", "--validate=strict", "-f", file.to_str().unwrap()];
                admin.run(&strict).accepted();
                examples += 1;
            }
        }
    }
    assert!(examples > 5, "{examples}");
    let mut wrong = policy("wrong", "nowhere", "release");
    wrong["spec"]["mode"] = json!("enforced");
    admin.create(&wrong).refused().says("spec.mode").says("enforce");
    wrong["spec"]["mode"] = json!(["enforce"]);
    admin.create(&wrong).refused().says("spec.mode");
}

#[test]
fn an_object_decides_and_a_bad_edit_leaves_its_earlier_version_in_force() {
    let turn = Turn::take();
    let namespace = "policy-objects";
    turn.apply(&policy("one", namespace, "release"));
    let file =
        BASIC.replace("name: basic", "name: filed").replace("tags: [release, commit]", "tags: [release, latest]");
    let bed = Bed::named(namespace).policy("filed.yaml", &file).config(OBJECTS).start();
    let dana = bed.dana();

    let object = turn.judged("one", "InForce");
    assert_eq!(condition(&object, "Ready")["status"], "True");
    assert_eq!(condition(&object, "Invalid")["status"], "False");
    assert_eq!(object["status"]["diagnostics"], json!([]));
    let hash = object["status"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(bed.server.metric("tagwarden_policy_info", &format!("hash=\"{hash}\",policy=\"one\"")), 1.0);
    let printed = turn.admin.run(&["get", "imgpol", "one"]).accepted().stdout;
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MODE", "READY", "REASON", "AGE"]);
    assert_eq!(rows[1][..4], ["one", "enforce", "True", "InForce"]);

    dana.create(&pod("good", GOOD)).accepted();
    // The file lets it in, the object does not.
    dana.create(&pod("bad", BAD)).denied().says("TW120").says("one");

    turn.apply(&misspelt("one", namespace));
    let object = turn.judged("one", "EarlierVersionInForce");
    assert!(object["spec"]["rules"][0]["tagz"].is_array(), "what was typed is kept: {object}");
    let told = &object["status"]["diagnostics"][0];
    assert_eq!(told["path"], "spec.rules[0].tagz");
    assert_eq!((&told["message"], &told["help"]), (&json!("unknown key 'tagz'"), &json!("did you mean 'tags'?")));
    assert_eq!(condition(&object, "Ready")["status"], "False");
    assert_eq!(condition(&object, "Invalid")["status"], "True");
    assert_eq!(object["status"]["hash"], hash.as_str(), "of what is in force");
    assert!(bed.server.is_ready());
    assert!(bed.server.readiness().contains("ImagePolicy one: spec.rules[0].tagz: unknown key 'tagz'"));
    assert_eq!(bed.server.metric("tagwarden_policy_last_reload_successful", ""), 0.0);
    assert_eq!(bed.server.metric("tagwarden_policies", "state=\"failed\""), 1.0);
    dana.create(&pod("still-bad", BAD)).denied();
    dana.create(&pod("still-good", GOOD)).accepted();

    // A further one that was never good, and one whose name a file has, stop nobody.
    turn.apply(&misspelt("two", namespace));
    turn.apply(&policy("filed", namespace, "commit"));
    let never = turn.judged("two", "Invalid");
    assert_eq!(never["status"]["hash"], Value::Null);
    let doubled = turn.judged("filed", "Invalid");
    assert_eq!(doubled["status"]["diagnostics"][0]["path"], "metadata.name");
    assert_eq!(bed.server.metric("tagwarden_policies", "state=\"failed\""), 3.0);
    dana.create(&pod("good-again", GOOD)).accepted();

    turn.apply(&policy("one", namespace, "latest"));
    turn.delete("two");
    turn.delete("filed");
    let fixed = turn.judged("one", "InForce");
    assert_ne!(fixed["status"]["hash"], hash.as_str());
    until_true("nothing is refused", PATIENCE, || {
        bed.server.metric("tagwarden_policy_last_reload_successful", "") == 1.0
    });
    dana.create(&pod("latest", BAD)).accepted();
    dana.create(&pod("release", GOOD)).denied();

    // A status that somebody edits is put right; a deleted object does not decide any more.
    let edit = r#"{"status":{"hash":"0000"}}"#;
    turn.admin.run(&["patch", "imagepolicy", "one", "--subresource=status", "--type=merge", "-p", edit]).accepted();
    until_true("the status to be put right", PATIENCE, || {
        turn.judged("one", "InForce")["status"]["hash"] == fixed["status"]["hash"]
    });
    turn.delete("one");
    until_true("the file alone to decide", PATIENCE, || {
        bed.server.metric("tagwarden_policy_info", "policy=\"one\"") == 0.0
    });
    dana.create(&pod("file-alone", GOOD)).accepted();
}

/// A replica in a folder of its own; replicas of one namespace share its Lease and ConfigMaps.
fn replica(namespace: &str, which: &str, file: &str, authority: &Authority) -> Server {
    let name = format!("{namespace}-{which}");
    let policies = [("file.yaml", file)];
    let policies = if file.is_empty() { &[][..] } else { &policies };
    let options = ServerOptions { name: &name, namespace, policies, config: Some(OBJECTS), authority };
    Server::start(Cluster::shared(), &options)
}

fn ready(server: &Server) {
    until_true("readiness", PATIENCE, || server.is_ready());
}

/// How many statuses a replica has written.
fn written(server: &Server) -> usize {
    server.log().matches("the status of an ImagePolicy is written").count()
}

fn saved(turn: &Turn, namespace: &str) -> Option<Value> {
    turn.admin.within(namespace).get("configmap/tagwarden-last-good")
}

#[test]
fn one_replica_writes_the_status_and_the_next_takes_over() {
    let turn = Turn::take();
    let namespace = "policy-replicas";
    Cluster::shared().create_namespace(namespace, &json!({}));
    turn.apply(&policy("led", namespace, "release"));
    let authority = Authority::new("webhook-ca");
    let replicas = ["a", "b"].map(|which| replica(namespace, which, "", &authority));
    replicas.iter().for_each(ready);
    turn.judged("led", "InForce");
    turn.apply(&misspelt("led", namespace));
    turn.judged("led", "EarlierVersionInForce");
    let [a, b] = &replicas;
    until_true("the line on it", PATIENCE, || written(a) + written(b) > 0);
    assert!((written(a) == 0) != (written(b) == 0), "one of them writes: {} and {}", written(a), written(b));
    let (first, second) = if written(a) > 0 { (a, b) } else { (b, a) };
    first.signal("TERM");
    turn.apply(&policy("led", namespace, "commit"));
    turn.judged("led", "InForce");
    until_true("the other one has written it", PATIENCE, || written(second) > 0);
}

#[test]
fn bad_edits_and_the_loss_of_all_replicas_come_back_with_what_was_saved() {
    let turn = Turn::take();
    let namespace = "last-good";
    Cluster::shared().create_namespace(namespace, &json!({}));
    let file = BASIC
        .replace("name: basic", "name: filed")
        .replace("  rules:", "  namespaces: {include: [last-good]}\n  rules:");
    let bad_file = file.replace("mode: enforce", "mood: enforce");
    // As the chart ships it: empty, with labels that stay.
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "tagwarden-last-good", "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    turn.apply(&empty);
    for name in ["kept", "gone"] {
        turn.apply(&policy(name, namespace, "release"));
    }
    let authority = Authority::new("webhook-ca");
    let mut before = ["a", "b"].map(|which| replica(namespace, which, &file, &authority));
    before.iter().for_each(ready);
    until_true("the set to be saved", PATIENCE, || {
        saved(&turn, namespace).is_some_and(|map| map["binaryData"]["document"].is_string())
    });
    assert_eq!(saved(&turn, namespace).unwrap()["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    // What `helm upgrade --force` does; nothing else changes.
    turn.admin.replace(&empty).accepted();
    until_true("the set to be saved again", PATIENCE, || {
        saved(&turn, namespace).is_some_and(|map| map["binaryData"]["document"].is_string())
    });
    let hash = |server: &Server, policy: &str| server.metric("tagwarden_policy_info", &format!("policy=\"{policy}\""));

    turn.apply(&misspelt("kept", namespace));
    turn.judged("kept", "EarlierVersionInForce");
    before.iter().for_each(|server| server.change_policy_text("file.yaml", &bad_file));
    before.iter_mut().for_each(Server::kill);
    turn.apply(&misspelt("gone", namespace));
    turn.delete("gone");

    let after = ["c", "d"].map(|which| replica(namespace, which, &bad_file, &authority));
    after.iter().for_each(ready);
    for server in &after {
        assert_eq!((hash(server, "filed"), hash(server, "kept"), hash(server, "gone")), (1.0, 1.0, 0.0));
        assert_eq!(server.metric("tagwarden_policy_set_from_last_good", ""), 1.0);
        assert_eq!(server.metric("tagwarden_policy_last_reload_successful", ""), 0.0);
        let told = server.readiness();
        for said in ["what was saved", "file.yaml:", "mood", "ImagePolicy kept: spec.rules[0].tagz"] {
            assert!(told.contains(said), "{told}");
        }
        server.logs("what was saved when they had none is in force");
    }
    turn.judged("kept", "EarlierVersionInForce");

    after.iter().for_each(|server| server.change_policy_text("file.yaml", &file));
    turn.apply(&policy("kept", namespace, "commit"));
    turn.judged("kept", "InForce");
    for server in &after {
        until_true("nothing saved to be in force", PATIENCE, || {
            server.metric("tagwarden_policy_set_from_last_good", "") == 0.0
                && server.metric("tagwarden_policy_last_reload_successful", "") == 1.0
        });
    }
}

#[test]
fn a_set_too_large_to_be_saved_is_told() {
    let namespace = "large-set";
    Cluster::shared().create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    let large = format!("{BASIC}# {}\n", "x".repeat(901 << 10));
    let options = ServerOptions {
        name: namespace,
        namespace,
        policies: &[("file.yaml", &large)],
        config: None,
        authority: &authority,
    };
    let server = Server::ready(Cluster::shared(), &options);
    until_true("the failure to be counted", PATIENCE, || {
        server.metric("tagwarden_policy_last_good_save_failures_total", "") >= 1.0
    });
    server.logs("more than the 900 KiB that are saved");
    server.change_policy("file.yaml", &BASIC.replace("[release, commit]", "[release]"));
    let admin = Cluster::shared().as_user(User::Admin).within(namespace);
    until_true("the smaller set to be saved", PATIENCE, || admin.get("configmap/tagwarden-last-good").is_some());
}

#[test]
fn without_anything_good_or_saved_it_is_not_ready_and_says_why() {
    let turn = Turn::take();
    let namespace = "first-bad";
    Cluster::shared().create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    turn.apply(&misspelt("first", namespace));
    let by_object = replica(namespace, "object", "", &authority);
    let object = turn.judged("first", "Invalid");
    assert_eq!(object["status"]["diagnostics"][0]["path"], "spec.rules[0].tagz");
    assert!(!by_object.is_ready() && by_object.readiness().contains("there is no policy at all"));
    let by_file = replica(namespace, "file", &BASIC.replace("mode: enforce", "mood: enforce"), &authority);
    until_true("the file's problem", PATIENCE, || by_file.readiness().contains("mood"));
    turn.apply(&policy("first", namespace, "release"));
    ready(&by_object);
    assert!(!by_file.is_ready(), "its files have never been good: {}", by_file.readiness());
}

/// The API server keeps it, in a key that the definition does not name.
#[test]
fn an_object_nested_deeper_than_anybody_reads_does_not_hide_the_others() {
    let turn = Turn::take();
    let namespace = "deep-object";
    Cluster::shared().create_namespace(namespace, &json!({}));
    let deep = format!("{}1{}", "{\"a\":".repeat(400), "}".repeat(400));
    let mut holder = policy("deep", namespace, "release");
    holder["spec"]["deep"] = json!("PLACE");
    let text = holder.to_string().replace("\"PLACE\"", &deep);
    turn.admin.run_with(&["create", "--raw", "/apis/tagwarden.dev/v1/imagepolicies", "-f", "-"], &text).accepted();
    turn.apply(&policy("first", namespace, "release"));
    let server = replica(namespace, "a", "", &Authority::new("webhook-ca"));
    ready(&server);
    let told = server.readiness();
    assert!(told.contains("ImagePolicy deep: ") && told.contains("nested more than"), "{told}");
    let reason = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    until_true("the status of what no test can read as a whole", PATIENCE, || {
        turn.admin.run(&["get", "imagepolicy/deep", "-o", reason]).accepted().stdout == "Invalid"
    });
    let before = turn.judged("first", "InForce");
    turn.apply(&policy("first", namespace, "commit"));
    let after = turn.judged("first", "InForce");
    assert_ne!(before["status"]["hash"], after["status"]["hash"], "a change is seen beside it");
}
