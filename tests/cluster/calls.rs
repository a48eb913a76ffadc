//! The calls themselves: answers, annotations, overload, time-outs, certificates, restarts.

use crate::harness::{
    Authority, Backend, Balancer, Bed, CallPath, Cluster, PATIENCE, Registration, Server, ServerOptions, User,
    Webhooks, http, identity, until, until_true,
};
use crate::objects::{BAD, BASIC, GOOD, pod, with};
use serde_json::json;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn row_02_the_api_server_takes_an_answer_without_a_patch() {
    // Under Fail, an answer that the API server does not take refuses the Pod.
    let bed = Bed::named("row-02").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    bed.dana().create(&pod("p", GOOD)).accepted();
    let event = bed.audited_creation("p");
    let annotations = event["annotations"].as_object().unwrap();
    let mutations: Vec<&str> = annotations
        .iter()
        .filter(|(key, _)| key.starts_with("mutation.webhook.admission.k8s.io/"))
        .filter_map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(mutations.len(), 1, "asked once, not reinvoked: {event}");
    assert!(mutations[0].contains(r#""mutated":false"#), "{event}");
    assert!(!annotations.keys().any(|key| key.starts_with("patch.webhook")), "{event}");
}

#[test]
fn row_11_verdicts_are_in_the_audit_log() {
    let bed = Bed::named("row-11").policy("basic.yaml", BASIC).start();
    bed.dana().create(&pod("good", GOOD)).accepted();
    bed.dana().create(&pod("bad", BAD)).denied();
    for (name, decision) in [("good", "allow"), ("bad", "deny")] {
        let event = bed.audited_creation(name);
        let annotations = event["annotations"].as_object().unwrap();
        let key = "validate.tagwarden.dev/decision";
        assert_eq!(annotations[key], decision, "{event}");
        let hash = annotations["validate.tagwarden.dev/policy-hash"].as_str().unwrap();
        assert!(!hash.is_empty(), "{event}");
    }
}

#[test]
fn row_12_a_dry_run_gets_the_same_verdict_and_leaves_nothing_behind() {
    let bed = Bed::named("row-12").policy("basic.yaml", BASIC).start();
    let dry_run = |image: &str| bed.dana().run(&["run", "p", "--dry-run=server", &format!("--image={image}")]);
    dry_run(BAD).denied().says("1. TW120 tags: container \"p\"");
    dry_run(GOOD).accepted();
    assert!(bed.admin().get("pod/p").is_none(), "nothing was made");
    let real = bed.dana().run(&["run", "p", &format!("--image={BAD}")]).denied();
    let heading = |text: &str| text.lines().next().map(str::to_owned);
    assert_eq!(heading(&dry_run(BAD).stderr), heading(&real.stderr));
}

#[test]
fn row_20_an_overloaded_server_is_asked_again_within_the_deadline() {
    let size = 65_536;
    let bed = Bed::named("row-20")
        .policy("basic.yaml", BASIC)
        .config(&format!("limits: {{bodyBytes: {size}, inFlightBytes: {size}}}\n"))
        .failure_policy("Fail")
        .timeout(20)
        .start();
    // A caller that announces a body as large as all that may be in flight, and keeps it back.
    let mut hog = http::connect(bed.server.webhook(), &bed.authority.pem).unwrap();
    write!(
        hog,
        "POST /validate?timeout=30s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{{"
    )
    .unwrap();
    hog.flush().unwrap();
    until_true("the announced body to fill the budget", PATIENCE, || refused_for_overload(&bed));

    let dana = bed.dana();
    thread::scope(|scope| {
        let created = scope.spawn(|| dana.create(&pod("p", GOOD)));
        let before = turned_away(&bed);
        until_true("the API server to be told to come back", PATIENCE, || turned_away(&bed) > before);
        drop(hog);
        created.join().unwrap().accepted();
    });
}

/// Whether a small review is answered 429 with a whole number of seconds to wait.
fn refused_for_overload(bed: &Bed) -> bool {
    let mut connection = http::connect(bed.server.webhook(), &bed.authority.pem).unwrap();
    write!(
        connection,
        "POST /validate?timeout=5s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    .unwrap();
    let mut answer = String::new();
    // The server may close without TLS's farewell; what counts is what came before.
    let _ = connection.read_to_string(&mut answer);
    if !answer.starts_with("HTTP/1.1 429 ") {
        return false;
    }
    let wait =
        answer.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("retry-after: ").map(str::to_owned));
    assert!(wait.is_some_and(|wait| wait.parse::<u32>().is_ok()), "{answer}");
    true
}

fn turned_away(bed: &Bed) -> f64 {
    bed.server.metric("tagwarden_rejected_requests_total", "")
}

#[test]
fn a_server_that_does_not_answer_in_time_refuses_under_fail() {
    let bed = Bed::named("stopped-fail").policy("basic.yaml", BASIC).failure_policy("Fail").timeout(1).start();
    bed.server.signal("STOP");
    bed.dana().create(&pod("p", GOOD)).refused().says("failed calling webhook").says("context deadline exceeded");
    bed.server.signal("CONT");
    bed.dana().create(&pod("bad", BAD)).denied();
    bed.dana().create(&pod("p", GOOD)).accepted();
}

#[test]
fn a_server_that_does_not_answer_in_time_is_passed_over_under_ignore() {
    let bed = Bed::named("stopped-ignore").policy("basic.yaml", BASIC).failure_policy("Ignore").timeout(1).start();
    bed.server.signal("STOP");
    bed.dana().create(&pod("passed", BAD)).accepted();
    bed.server.signal("CONT");
    bed.dana().create(&pod("bad", BAD)).denied();
}

/// Registers the webhooks again, and waits until the API server goes by it.
///
/// It shows by calling for a kind that only this registration asks for, and that no table of ours knows.
fn register_again(bed: &Bed, authorities: &str, (resource, create): (&str, &[&str])) {
    bed.webhooks.apply(&Registration {
        namespace: &bed.namespace,
        address: bed.server.webhook(),
        mutating: None,
        call: CallPath::Url,
        authorities,
        failure_policy: Some("Fail"),
        timeout: None,
        configured_kinds: Some(json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource],
        }])),
    });
    until_true("the changed registration to take effect", PATIENCE, || {
        let arguments = [&["create"], create, &["--dry-run=server"]].concat();
        bed.admin().run(&arguments).stderr.contains("TW199")
    });
}

#[test]
fn a_certificate_is_swapped_while_the_server_runs() {
    let bed = Bed::named("certificate").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let dry_run = |image: &str| bed.dana().run(&["run", "p", "--dry-run=server", &format!("--image={image}")]);
    let verdicts_hold = || {
        dry_run(GOOD).accepted();
        dry_run(BAD).denied();
    };
    // As a rotation goes: publish both authorities, switch the leaf, drop the old authority.
    let next = Authority::new("next-webhook-ca");
    let both = format!("{}{}", bed.authority.pem, next.pem);
    register_again(&bed, &both, ("configmaps", &["configmap", "probe"]));
    verdicts_hold();
    bed.server.change_certificate(&identity(&ServerOptions {
        name: "",
        namespace: &bed.namespace,
        policies: &[],
        config: None,
        authority: &next,
    }));
    until_true("the new certificate to be served", PATIENCE, || {
        verdicts_hold();
        http::connect(bed.server.webhook(), &next.pem).is_some()
    });
    let old = http::connect(bed.server.webhook(), &bed.authority.pem);
    assert!(old.is_none(), "the old authority vouches for the server no longer");
    // Other authorities mean other connections, so the new certificate is what the API server sees.
    register_again(&bed, &next.pem, ("secrets", &["secret", "generic", "probe"]));
    verdicts_hold();
}

/// Fifty creations in one run of kubectl, none of which leaves anything behind.
fn steady_creations() -> String {
    let generated = with(pod("x", GOOD), "/metadata", json!({"generateName": "load-"}));
    json!({"apiVersion": "v1", "kind": "List", "items": vec![generated; 50]}).to_string()
}

#[test]
fn row_57_a_server_that_is_told_to_end_under_load_fails_no_call_over_http_2() {
    assert_that_ending_under_load_fails_no_call("row-57-url", CallPath::Url);
}

#[test]
fn row_57_a_server_that_is_told_to_end_under_load_fails_no_call_over_http_1() {
    assert_that_ending_under_load_fails_no_call("row-57-service", CallPath::Service);
}

fn assert_that_ending_under_load_fails_no_call(namespace: &str, call: CallPath) {
    let cluster = Cluster::shared();
    cluster.create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    let start = |which: &str| {
        Server::ready(
            cluster,
            &ServerOptions {
                name: &format!("{namespace}-{which}"),
                namespace,
                policies: &[("basic.yaml", BASIC)],
                config: Some("shutdownDelay: 3s\n"),
                authority: &authority,
            },
        )
    };
    let (mut first, second) = (start("first"), start("second"));
    let backend = |server: &Server| Backend { webhook: server.webhook(), health: server.health() };
    let balancer = Balancer::start(vec![backend(&first), backend(&second)]);
    let webhooks = Webhooks::install(
        cluster,
        &Registration {
            namespace,
            address: balancer.address(),
            mutating: None,
            call,
            authorities: &authority.pem,
            failure_policy: Some("Fail"),
            timeout: None,
            configured_kinds: None,
        },
    );
    webhooks.wait_until_called(&[&first, &second]);
    let judged = |server: &Server| server.metric("tagwarden_admission_requests_total", "endpoint=\"validate\"");

    let (stop, created) = (AtomicBool::new(false), AtomicUsize::new(0));
    let admin = cluster.as_user(User::Admin).within(namespace);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let outcome =
                        admin.run_with(&["create", "--dry-run=server", "-f", "-"], &steady_creations()).accepted();
                    created.fetch_add(outcome.stdout.lines().count(), Ordering::SeqCst);
                }
            });
        }
        // Ends the load also where an assertion below fails, or the scope would wait for ever.
        let _stop = StopOnDrop(&stop);
        let taken = judged(&first);
        until_true("load on the first server", PATIENCE, || judged(&first) > taken + 20.0);
        first.signal("TERM");
        let status = until("the first server to end", PATIENCE, || first.ended());
        assert!(status.success(), "{status:?}");
        let taken = judged(&second);
        until_true("load on the second server", PATIENCE, || judged(&second) > taken + 20.0);
    });
    assert!(created.load(Ordering::SeqCst) > 40, "{created:?}");
    admin.run(&["delete", "namespace", namespace, "--wait=false"]).accepted();
}

/// Sets the flag when it goes out of scope.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
