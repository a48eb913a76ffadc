//! Certificates of our own on a real API server: one authority for all replicas, trusted, repaired and replaced without a
//! lost call.

use crate::harness::{
    Authority, Backend, Balancer, CallPath, Cluster, Kubectl, PATIENCE, Registration, Server, ServerOptions, User,
    Webhooks, until, until_true,
};
use crate::objects::{BAD, BASIC, GOOD, pod};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SECRET: &str = "secret/tagwarden-ca";

/// A namespace whose replicas make their certificates themselves.
struct Place {
    cluster: &'static Cluster,
    namespace: &'static str,
}

impl Place {
    fn new(namespace: &'static str) -> Self {
        let cluster = Cluster::shared();
        cluster.create_namespace(namespace, &json!({}));
        Place { cluster, namespace }
    }

    /// A replica with the shortest lifetimes; `which` tells it from the others.
    fn replica(&self, which: &str) -> Server {
        self.replica_called_by(which, self.namespace, self.namespace)
    }

    /// One that is called by configurations of these names.
    fn replica_called_by(&self, which: &str, validating: &str, mutating: &str) -> Server {
        let namespace = self.namespace;
        let config = format!(
            "tls: {{mode: self-managed, service: tagwarden, leafLifetime: 2m, caLifetime: 24h}}\n\
             webhooks: {{validating: {validating}, mutating: {mutating}}}\n\
             shutdownDelay: 0s\nmaxConnectionAge: 1s\n"
        );
        let name = format!("{namespace}-{which}");
        Server::self_managed(self.cluster, &name, namespace, &[("basic.yaml", BASIC)], &config)
    }

    fn replicas(&self) -> Vec<Server> {
        ["one", "two", "three"].iter().map(|which| self.replica(which)).collect()
    }

    fn registration(&self, address: SocketAddr) -> Registration<'static> {
        Registration {
            namespace: self.namespace,
            address,
            mutating: None,
            call: CallPath::Service,
            authorities: "",
            failure_policy: Some("Fail"),
            timeout: None,
            configured_kinds: None,
        }
    }

    fn admin(&self) -> Kubectl {
        self.cluster.as_user(User::Admin).within(self.namespace)
    }

    fn holder(&self, lease: &str) -> Option<String> {
        let lease = self.admin().get(&format!("lease/{lease}"))?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// A key of the Secret, base64; empty where it is not there.
    fn stored(&self, key: &str) -> String {
        let secret = self.admin().get(SECRET);
        secret.and_then(|secret| secret["data"][key].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// What each webhook of both configurations trusts, base64.
    fn bundles(&self) -> Vec<String> {
        let mut bundles = Vec::new();
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            let found = self.admin().get(&format!("{kind}/{}", self.namespace)).unwrap();
            let webhooks = found["webhooks"].as_array().unwrap().clone();
            bundles.extend(
                webhooks
                    .iter()
                    .map(|webhook| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()),
            );
        }
        assert_eq!(bundles.len(), 3, "two validating webhooks and a mutating one");
        bundles
    }

    fn trusts_exactly(&self, bundle: &str) -> bool {
        self.bundles().iter().all(|found| found == bundle)
    }

    /// The number of certificates that each webhook trusts, where all trust the same.
    fn trusted(&self) -> usize {
        let bundles = self.bundles();
        let same = bundles.iter().all(|bundle| *bundle == bundles[0]);
        let text = String::from_utf8(BASE64_STANDARD.decode(&bundles[0]).unwrap()).unwrap();
        if same { text.matches("BEGIN CERTIFICATE").count() } else { 0 }
    }

    fn annotate(&self, wish: &str) {
        let wish = format!("tagwarden.dev/rotate={wish}");
        self.admin().run(&["annotate", SECRET, &wish, "--overwrite"]).accepted();
    }

    /// Calls webhooks again and again while `meanwhile` runs, and gives the number of calls, none of which failed.
    fn under_load(&self, meanwhile: impl FnOnce(&AtomicU32)) -> u32 {
        let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            let callers = [0, 1].map(|caller| {
                let (admin, stop, calls) = (self.admin(), &stop, &calls);
                scope.spawn(move || {
                    let good = pod(&format!("load-{caller}"), GOOD).to_string();
                    while !stop.load(Ordering::SeqCst) {
                        admin.run_with(&["create", "--dry-run=server", "-f", "-"], &good).accepted();
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                })
            });
            // A failed wait must not leave the callers running.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&calls)));
            stop.store(true, Ordering::SeqCst);
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            outcome.unwrap();
        });
        calls.load(Ordering::SeqCst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Also while a failed test unwinds, so nothing may be asserted here.
        let _ = self.admin().run(&["delete", "namespace", self.namespace, "--wait=false"]);
    }
}

fn all_ready(servers: &[Server]) {
    until_true("all replicas to be ready", PATIENCE, || servers.iter().all(Server::is_ready));
}

fn balancer(servers: &[Server]) -> Balancer {
    let backend = |server: &Server| Backend { webhook: server.webhook(), health: server.health() };
    Balancer::start(servers.iter().map(backend).collect())
}

/// Three replicas behind a balancer, ready, and called by the API server. The configurations are to go first, the replicas last.
fn called(place: &Place) -> (Vec<Server>, Balancer, Webhooks) {
    let servers = place.replicas();
    let balancer = balancer(&servers);
    let webhooks = Webhooks::install(place.cluster, &place.registration(balancer.address()));
    all_ready(&servers);
    webhooks.wait_until_called(&servers.iter().collect::<Vec<_>>());
    (servers, balancer, webhooks)
}

/// Into the suite's log, past the capture of what tests print.
fn figure(what: &str, calls: u32) {
    let _ = writeln!(std::io::stderr(), "{what}: {calls} calls, 0 failed");
}

fn one_authority(place: &Place) {
    let servers = place.replicas();
    let balancer = balancer(&servers);
    let webhooks = Webhooks::install(place.cluster, &place.registration(balancer.address()));
    all_ready(&servers);
    let made = || servers.iter().filter(|server| server.log().contains("an authority is made")).count();
    until_true("the line on it", PATIENCE, || made() > 0);
    assert_eq!(made(), 1, "one replica made it");
    assert!(place.trusts_exactly(&place.stored("ca.crt")), "and all are trusted by it");
    webhooks.wait_until_called(&servers.iter().collect::<Vec<_>>());
    place.admin().create(&pod("bad", BAD)).denied();
    place.admin().create(&pod("good", GOOD)).accepted();
}

#[test]
fn row_51_three_replicas_that_start_together_end_with_one_authority() {
    one_authority(&Place::new("row-51-none"));
}

#[test]
fn row_51_and_so_they_do_where_the_chart_made_an_empty_secret() {
    let place = Place::new("row-51-empty");
    let empty =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tagwarden-ca", "labels": {"a": "b"}}});
    place.admin().create(&empty).accepted();
    one_authority(&place);
    assert_eq!(place.admin().get(SECRET).unwrap()["metadata"]["labels"]["a"], "b", "what the chart wrote stays");
}

#[test]
fn row_50_a_replica_is_ready_when_the_api_server_trusts_it_and_an_edit_is_repaired() {
    let place = Place::new("row-50");
    let server = place.replica("one");
    until_true("the reason in /readyz?verbose", PATIENCE, || {
        server.readiness().contains("ValidatingWebhookConfiguration 'row-50' is not there")
    });
    assert!(server.readiness().contains("[+]certificate ok") && !server.is_ready());
    let webhooks = Webhooks::install(place.cluster, &place.registration(server.webhook()));
    until_true("readiness", PATIENCE, || server.is_ready());
    webhooks.wait_until_called(&[&server]);

    let good = place.stored("ca.crt");
    let wrong = BASE64_STANDARD.encode(Authority::new("somebody").pem);
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let edit = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": wrong}]);
        place.admin().run(&["patch", kind, "row-50", "--type=json", "-p", &edit.to_string()]).accepted();
    }
    until_true("the repair", PATIENCE, || {
        assert!(server.is_ready(), "an edit takes no replica out:\n{}", server.readiness());
        place.trusts_exactly(&good)
    });
    place.admin().create(&pod("bad", BAD)).denied();
}

#[test]
fn a_replica_that_starts_while_a_configuration_is_taken_out_is_ready_after_a_while() {
    let place = Place::new("break-glass");
    let elected = place.replica("elected");
    until_true("it to be elected", PATIENCE, || place.holder("tagwarden-ca").is_some());
    let servers = [
        elected,
        place.replica_called_by("validating-gone", "break-glass-gone", "break-glass"),
        place.replica_called_by("mutating-gone", "break-glass", "break-glass-gone"),
        place.replica_called_by("both-gone", "break-glass-gone", "break-glass-gone"),
    ];
    let from = Instant::now();
    for server in &servers {
        until_true("the wait", PATIENCE, || server.readiness().contains("is not there"));
        assert!(!server.is_ready(), "somebody may be about to apply it");
    }
    let _webhooks = Webhooks::install(place.cluster, &place.registration(servers[0].webhook()));
    until_true("readiness of all", PATIENCE, || servers.iter().all(Server::is_ready));
    assert!(from.elapsed() > Duration::from_secs(20));
    for (server, gone) in servers.iter().zip([false, true, true, true]) {
        let (without, trusted) = ("ready without it, since nobody calls by it", "trust our certificate");
        let (said, unsaid) = if gone { (without, trusted) } else { (trusted, without) };
        server.logs(said);
        assert!(!server.log().contains(unsaid), "{}", server.log());
    }
}

#[test]
fn row_49_whoever_applies_the_configurations_again_leaves_ca_bundle_alone() {
    let place = Place::new("row-49");
    let server = place.replica("one");
    let registration = place.registration(server.webhook());
    let _webhooks = Webhooks::install(place.cluster, &registration);
    until_true("readiness", PATIENCE, || server.is_ready());
    let good = place.stored("ca.crt");
    // The first take over from whoever made the object; from then on nobody owns what another one sets.
    for (arguments, times) in [
        (&["apply", "-f", "-"][..], 2),
        (&["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"], 1),
        (&["apply", "--server-side", "--field-manager=helm", "-f", "-"], 2),
    ] {
        for configuration in Webhooks::documents(&registration) {
            for _ in 0..times {
                place.admin().run_with(arguments, &configuration.to_string()).accepted();
                assert!(place.trusts_exactly(&good), "after {arguments:?}");
            }
        }
    }
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let arguments = ["get", kind, "row-49", "-o", "json", "--show-managed-fields"];
        let found: Value = serde_json::from_str(&place.admin().run(&arguments).accepted().stdout).unwrap();
        let managers = found["metadata"]["managedFields"].as_array().unwrap();
        let ours: Vec<_> = managers.iter().filter(|manager| manager["manager"] == "tagwarden-ca-bundle").collect();
        assert_eq!((ours.len(), &ours[0]["operation"]), (1, &json!("Apply")));
        let others = managers.iter().filter(|manager| manager["manager"] != "tagwarden-ca-bundle");
        assert!(others.into_iter().all(|manager| !manager.to_string().contains("f:caBundle")), "{found}");
    }
}

#[test]
fn row_52_leaves_and_the_authority_are_replaced_without_a_failed_call() {
    let place = Place::new("row-52");
    let (servers, _balancer, _webhooks) = called(&place);
    let old = place.stored("ca.crt");
    let ends = || -> Vec<f64> {
        servers.iter().map(|server| server.metric("tagwarden_certificate_expiry_timestamp_seconds", "")).collect()
    };
    let calls = place.under_load(|calls| {
        let first = ends();
        until_true("a new leaf of each replica", PATIENCE, || ends().iter().zip(&first).all(|(now, then)| now > then));
        assert_eq!(place.stored("ca.crt"), old, "of the same authority");
        place.annotate("by-hand");
        until_true("two authorities in caBundle", PATIENCE, || place.trusted() == 2);
        until_true("another authority to sign", PATIENCE, || place.stored("ca.crt") != old);
        assert_eq!(place.stored("previous.crt"), old, "the one before is still published");
        let before = ends();
        until_true("leaves of it", PATIENCE, || ends().iter().zip(&before).all(|(now, then)| now > then));
        let so_far = calls.load(Ordering::SeqCst);
        until_true("further calls", PATIENCE, || so_far + 20 < calls.load(Ordering::SeqCst));
        assert_eq!(place.trusted(), 2);
        // The same value is acted on once.
        place.annotate("by-hand");
        assert!(!place.admin().get(SECRET).unwrap()["data"].as_object().unwrap().contains_key("next.crt"));
    });
    figure("row 52", calls);
    assert!(calls > 50, "{calls}");
    all_ready(&servers);
}

#[test]
fn a_secret_that_vanishes_or_is_emptied_is_written_back_and_one_that_is_replaced_costs_no_call() {
    let place = Place::new("lost-secret");
    let (servers, _balancer, _webhooks) = called(&place);
    let authority = place.stored("ca.crt");
    let calls = place.under_load(|_| {
        place.admin().run(&["delete", SECRET]).accepted();
        until_true("the authority to be written back", PATIENCE, || place.stored("ca.crt") == authority);
        place.admin().run(&["patch", SECRET, "-p", r#"{"data": null}"#]).accepted();
        until_true("the authority to be written back again", PATIENCE, || place.stored("ca.crt") == authority);
        place.admin().run(&["patch", SECRET, "-p", r#"{"data": {"ca.key": "aHVudGVyMg=="}}"#]).accepted();
        for server in &servers {
            server.logs("'ca': its key is no PEM private key");
            assert!(server.is_ready() && !server.log().contains("hunter2") && !server.log().contains("PRIVATE KEY"));
        }
        assert!(place.trusts_exactly(&authority));
        place.admin().run(&["delete", SECRET]).accepted();
        until_true("the authority once more", PATIENCE, || place.stored("ca.crt") == authority);

        // Somebody restores another one: it signs when it is trusted, and the one before stays published.
        let other = other_state();
        let patch = json!({"data": other}).to_string();
        place.admin().run(&["patch", SECRET, "-p", &patch]).accepted();
        until_true("both in caBundle", PATIENCE, || place.trusted() == 2);
        for server in &servers {
            let used = |log: String| log.matches("a certificate is in use").count();
            let before = used(server.log());
            until("a leaf of it", PATIENCE, || (used(server.log()) > before).then_some(()));
        }
        assert_eq!(place.stored("previous.crt"), authority);
    });
    figure("lost Secret", calls);
    all_ready(&servers);
}

/// The data of a Secret of another installation.
fn other_state() -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let times = tagwarden::certs::RotationTimes { leaf: 120, ca: 86_400 };
    let state = tagwarden::certs::State::new(i64::try_from(now.as_secs()).unwrap(), times, "").unwrap();
    state.to_data().iter().map(|(key, value)| (key.clone(), json!(BASE64_STANDARD.encode(value)))).collect()
}

#[test]
fn garbage_at_the_first_start_is_not_ready_and_not_the_end() {
    let place = Place::new("garbage-secret");
    let garbage = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tagwarden-ca"},
        "data": {"ca.crt": "aHVudGVyMg==", "ca.key": "aHVudGVyMg=="}});
    place.admin().create(&garbage).accepted();
    let mut server = place.replica("one");
    server.logs("the Secret tagwarden-ca cannot be used: 'ca': there is no PEM certificate in it");
    assert!(server.readiness().contains("[-]certificate not ready"), "{}", server.readiness());
    assert!(!server.is_ready() && server.ended().is_none());
    let _webhooks = Webhooks::install(place.cluster, &place.registration(server.webhook()));
    place.admin().run(&["delete", SECRET]).accepted();
    until_true("readiness with an authority of its own", PATIENCE, || server.is_ready());
    assert!(place.trusts_exactly(&place.stored("ca.crt")));
}

#[test]
fn a_new_replica_leaves_an_empty_secret_to_those_that_were_there_before() {
    let place = Place::new("late-replica");
    let first = place.replica("one");
    let _webhooks = Webhooks::install(place.cluster, &place.registration(first.webhook()));
    until_true("readiness", PATIENCE, || first.is_ready());
    let authority = place.stored("ca.crt");
    first.signal("STOP");
    place.admin().run(&["delete", SECRET]).accepted();
    let late = place.replica("two");
    late.logs("another replica may write it back");
    first.signal("CONT");
    until_true("readiness of the late one", PATIENCE, || late.is_ready());
    assert_eq!(place.stored("ca.crt"), authority);
    assert!(place.trusts_exactly(&authority) && !late.log().contains("an authority is made"));
}

#[test]
fn the_elected_replica_that_ends_hands_the_work_over_and_does_no_more_of_it() {
    let place = Place::new("handed-over");
    let [first, second] = ["one", "two"].map(|which| place.replica(which));
    let _webhooks = Webhooks::install(place.cluster, &place.registration(first.webhook()));
    until_true("readiness", PATIENCE, || first.is_ready() && second.is_ready());
    let is_set = |server: &Server| server.log().contains("caBundle is set");
    until_true("the line on it", PATIENCE, || is_set(&first) || is_set(&second));
    let (mut elected, other) = if is_set(&first) { (first, second) } else { (second, first) };
    let from = Instant::now();
    elected.signal("TERM");
    until_true("its end", PATIENCE, || elected.ended().is_some());
    let good = place.stored("ca.crt");
    let edit = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]).to_string();
    place.admin().run(&["patch", "mutatingwebhookconfiguration", "handed-over", "--type=json", "-p", &edit]).accepted();
    until_true("the other one's repair", PATIENCE, || place.trusts_exactly(&good));
    other.logs("caBundle is set");
    let _ = writeln!(
        std::io::stderr(),
        "handed over at SIGTERM: {:.1} s to the first repair",
        from.elapsed().as_secs_f64()
    );
    assert!(from.elapsed() < Duration::from_secs(14), "before the Lease would have run out: {:?}", from.elapsed());
}

#[test]
fn a_replica_with_a_certificate_from_files_does_not_keep_new_ones_from_being_trusted() {
    let place = Place::new("mode-change");
    let authority = Authority::new("somebody");
    let options = ServerOptions {
        name: "mode-change-old",
        namespace: place.namespace,
        policies: &[("basic.yaml", BASIC)],
        config: None,
        authority: &authority,
    };
    let old = Server::ready(place.cluster, &options);
    until_true("it to be elected", PATIENCE, || place.holder("tagwarden").is_some());
    assert_eq!(place.holder("tagwarden-ca"), None, "it seeks no other");
    let new = place.replica("new");
    let _webhooks = Webhooks::install(place.cluster, &place.registration(new.webhook()));
    until_true("the new one's readiness", PATIENCE, || new.is_ready());
    assert!(place.trusts_exactly(&place.stored("ca.crt")) && old.is_ready());
}
