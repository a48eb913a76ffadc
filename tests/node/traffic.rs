//! Whatever happens to the server, its certificates or its cluster, steady load loses no call.
//!
//! The release enforces, so its configuration says Fail on the boundary: a call that does not reach a replica is a refused
//! Pod. Every second Pod of the load has to be refused by our verdict, so a call that skips us is seen as well.

use crate::Bed;
use crate::harness::{Load, Mix, PATIENCE, Release, Row, until, until_true};
use serde_json::{Value, json};

/// Load with what the API server had counted when it began.
pub struct Traffic<'a> {
    bed: &'a Bed,
    scenario: &'static str,
    load: Load,
    failed_before: f64,
}

impl<'a> Traffic<'a> {
    pub fn start(bed: &'a Bed, scenario: &'static str) -> Self {
        let failed_before = bed.cluster.failed_calls();
        Traffic { bed, scenario, load: Load::start(&bed.cluster, Mix::Enforced), failed_before }
    }

    /// A second more of it, then the reckoning.
    pub fn finish(self) {
        self.load.reach(100);
        let counts = self.load.finish();
        self.bed.report.add(Row::new(&self.bed.cluster, self.scenario, counts, self.failed_before));
    }
}

pub fn row_57_58_rolling_restart(bed: &Bed) {
    let release = bed.release();
    // The chart's own shutdown delay.
    let values = crate::harness::merged(&release.enforcing(), &json!({"config": {"shutdownDelay": "15s"}}));
    let before = release.install(&values);
    let traffic = Traffic::start(bed, "rolling restart");
    release.admin().run(&["rollout", "restart", "deployment/tagwarden"]).accepted();
    release.rolled_out();
    // Those that were there drain now, and have to be gone before the load ends.
    let after = release.settled(2);
    assert!(before.iter().all(|pod| !after.contains(pod)), "both replicas are new");
    traffic.finish();
}

pub fn replicas_deleted(bed: &Bed) {
    let release = bed.enforce();
    let traffic = Traffic::start(bed, "kubectl delete pod, each replica");
    for pod in release.pods() {
        release.admin().run(&["delete", "pod", &pod]).accepted();
        let now = release.settled(2);
        assert!(!now.contains(&pod), "{pod} is gone");
    }
    traffic.finish();
}

pub fn row_58_replicas_evicted_under_the_budget(bed: &Bed) {
    let release = bed.enforce();
    let traffic = Traffic::start(bed, "eviction of each replica");
    let pods = release.pods();
    evict(&release, &pods[0]).accepted();
    // A drain asks for the second at once; the budget has it wait for the first one's successor.
    evict(&release, &pods[1]).refused().says("disruption budget");
    until_true("the budget to let the second go", PATIENCE, || evict(&release, &pods[1]).succeeded());
    let now = release.settled(2);
    assert!(pods.iter().all(|pod| !now.contains(pod)), "both are gone");
    traffic.finish();
}

pub fn row_52_leaf_rotation(bed: &Bed) {
    let release = bed.enforce();
    let traffic = Traffic::start(bed, "rotation of the certificates");
    let expiries = || -> Vec<f64> { release.pods().iter().map(|pod| expiry(bed, pod)).collect() };
    let before = expiries();
    assert!(before.iter().all(|at| *at > 0.0), "each replica says when its certificate ends: {before:?}");
    // Two minutes long, renewed at two thirds of that.
    until_true("each replica to have a new certificate", 2 * PATIENCE, || {
        expiries().iter().zip(&before).all(|(now, before)| now > before)
    });
    traffic.finish();
}

pub fn row_52_authority_rotation(bed: &Bed) {
    let release = bed.enforce();
    let traffic = Traffic::start(bed, "rotation of the authority");
    begin_rotation(bed, &release);
    traffic.finish();
}

pub fn row_52_the_old_authority_leaves(bed: &Bed) {
    let release = bed.enforce();
    // It stays published for seven minutes after the switch. In the order of the suite an earlier scenario has switched;
    // alone, this one takes its time.
    if authorities(&release).len() == 1 {
        begin_rotation(bed, &release);
    }
    let traffic = Traffic::start(bed, "the old authority leaves the bundle");
    until_true("the old authority out of the bundle", 10 * PATIENCE, || authorities(&release).len() == 1);
    traffic.load.reach(200); // the API server knows by now
    traffic.finish();
}

/// Has the authority replaced, and waits until each replica's certificate is of the new one.
fn begin_rotation(bed: &Bed, release: &Release<'_>) {
    let before = authorities(release);
    // Any new value is a wish; the object's version is one that was never used.
    let version = release.admin().get("secret/tagwarden-ca").unwrap()["metadata"]["resourceVersion"].clone();
    let annotation = format!("tagwarden.dev/rotate={}", version.as_str().unwrap());
    release.admin().run(&["annotate", "--overwrite", "secret/tagwarden-ca", &annotation]).accepted();
    // Old and new side by side, and a while later the new one signs.
    let new = until("the next authority in the bundle", PATIENCE, || {
        authorities(release).into_iter().find(|authority| !before.contains(authority))
    });
    if bed.cluster.own_node().is_some() {
        let bundle = crate::tls::base64(&new);
        until_true("every replica's certificate to be of the new authority", 2 * PATIENCE, || {
            let address = |pod: &Value| pod["status"]["podIP"].as_str().map(str::to_owned);
            let addresses: Vec<String> = release.pod_objects().iter().filter_map(address).collect();
            addresses.iter().all(|address| crate::tls::trusted(address, &bundle).is_ok())
        });
    }
}

pub fn row_59_scaled_up_and_down(bed: &Bed) {
    let release = bed.release();
    // A connection of the API server lives this long, so that new replicas soon get some of its calls.
    let age = json!({"config": {"maxConnectionAge": "10s"}});
    release.install(&crate::harness::merged(&release.enforcing(), &age));
    let scale = |replicas: usize| {
        let replicas_flag = format!("--replicas={replicas}");
        release.admin().run(&["scale", "deployment/tagwarden", &replicas_flag]).accepted();
        release.settled(replicas)
    };
    let traffic = Traffic::start(bed, "scale to 1, to 3 and back to 1");
    let one = scale(1);
    for pod in scale(3).iter().filter(|pod| !one.contains(pod)) {
        until_true("a new replica to get load", PATIENCE, || reviews(bed, pod) >= 100.0);
    }
    scale(1);
    traffic.finish();
    scale(2);
}

pub fn row_60_api_server_restarted(bed: &Bed) {
    let release = bed.enforce();
    let before = release.pods();
    let traffic = Traffic::start(bed, "restart of the API server");
    traffic.load.while_away(|| bed.cluster.restart_api_server(bed.node()));
    assert_untouched(&release, &before);
    traffic.finish();
}

pub fn etcd_paused(bed: &Bed) {
    let release = bed.enforce();
    let before = release.pods();
    let traffic = Traffic::start(bed, "etcd paused");
    traffic.load.while_away(|| {
        bed.node().pause_etcd();
        traffic.load.reach(500);
        bed.node().resume_etcd();
    });
    assert_untouched(&release, &before);
    traffic.finish();
}

pub fn row_55_61_registry_away(bed: &Bed) {
    let release = bed.enforce();
    let before = release.pods();
    let traffic = Traffic::start(bed, "registry away");
    let asked = || -> f64 { before.iter().map(|pod| lookups(bed, pod)).sum() };
    assert!(asked() > 0.0, "the load's Pods make replicas ask the registry");
    bed.node().stop_registry();
    traffic.load.reach(1500);
    assert_untouched(&release, &before);
    for pod in &before {
        bed.cluster.pod_page(crate::harness::NAMESPACE, pod, "livez").accepted();
        bed.cluster.pod_page(crate::harness::NAMESPACE, pod, "readyz").accepted();
    }
    bed.node().start_registry();
    traffic.finish();
}

pub fn row_75_soak(bed: &Bed) {
    let release = bed.enforce();
    let traffic = Traffic::start(bed, "nothing happens");
    let seconds =
        std::env::var("TAGWARDEN_E2E_SOAK").map_or(30, |text| text.parse().expect("TAGWARDEN_E2E_SOAK: seconds"));
    traffic.load.reach(seconds * 100);
    for pod in release.pods() {
        let judged = reviews(bed, &pod);
        bed.report.figure(format!("{pod}: {judged} reviews judged in its life"));
    }
    if let Some(node) = bed.cluster.own_node() {
        for (pod, status) in node.servers() {
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("").trim();
            bed.report.figure(format!("{pod}: resident memory after {seconds} s of load: {resident}"));
        }
    }
    traffic.finish();
}

fn evict(release: &Release<'_>, pod: &str) -> crate::harness::Outcome {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", crate::harness::NAMESPACE);
    release.admin().run_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string())
}

/// The same replicas as before, ready, none restarted.
pub fn assert_untouched(release: &Release<'_>, before: &[String]) {
    let now = release.settled(before.len());
    assert_eq!(now, before, "the replicas are the same");
    let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    assert!(release.pod_objects().iter().all(|pod| restarts(pod) == Some(0)), "no container was restarted");
}

/// When a replica's certificate ends, in seconds of Unix time.
pub fn expiry(bed: &Bed, pod: &str) -> f64 {
    bed.cluster.pod_metric(crate::harness::NAMESPACE, pod, "tagwarden_certificate_expiry_timestamp_seconds", "")
}

fn reviews(bed: &Bed, pod: &str) -> f64 {
    bed.cluster.pod_metric(crate::harness::NAMESPACE, pod, "tagwarden_admission_requests_total", "")
}

fn lookups(bed: &Bed, pod: &str) -> f64 {
    bed.cluster.pod_metric(crate::harness::NAMESPACE, pod, "tagwarden_registry_requests_total", "")
}

/// The certificates of the one caBundle that all webhooks of ours have, PEM.
pub fn authorities(release: &Release<'_>) -> Vec<String> {
    let bundles = release.bundles();
    // The two configurations are patched one after the other.
    let last = bundles.last().cloned().unwrap_or_default();
    crate::tls::certificates(&last)
}
