//! Each check over what was read: healthy first, then with one thing wrong at a time.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Level, Outcome, all};
use crate::certs;
use crate::cli::doctor::observe::{Authority, Infrastructure, Observed, Release, Replica, Reviewed, Right, RightKind};
use crate::cluster::{Page, Unread};
use crate::config::{Config, Overrides};
use crate::document::{Source, parse};

const NOW: i64 = 1_800_000_000;
const CONFIG: &str = "tls: {mode: self-managed, service: tagwarden}\nwebhooks: {validating: tagwarden, mutating: tagwarden}\n\
    policies: {maxMode: enforce, objects: true}\ninfrastructureNamespaces: [cni]\n";

/// What the cluster suite applies, which a test of the chart holds to the chart.
fn shipped(text: &str, bundle: &str) -> Value {
    let (documents, problems) = parse(&Source::new("f", text));
    assert_eq!(problems, []);
    let mut configuration = documents[0].root.to_json();
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"]["caBundle"] = STANDARD.encode(bundle).into();
        webhook["namespaceSelector"]["matchExpressions"][0]["values"].as_array_mut().unwrap().push("cni".into());
    }
    configuration
}

fn replica(name: &str, served: &str) -> Replica {
    let mut metrics = String::new();
    for line in [
        "tagwarden_policy_info{policy=\"acme\",hash=\"0123\"} 1",
        "tagwarden_policy_last_reload_successful 1",
        "tagwarden_policy_set_from_last_good 0",
        "tagwarden_build_info{version=\"0.1.0\"} 1",
        "tagwarden_registry_requests_total{registry=\"r.example.com\",result=\"ok\"} 100",
        "tagwarden_registry_requests_total{registry=\"r.example.com\",result=\"timeout\"} 1",
    ] {
        writeln!(metrics, "{line}").unwrap();
    }
    Replica {
        name: name.to_owned(),
        port: 8080,
        is_ready: true,
        waiting: String::new(),
        readyz: Ok(Page { status: 200, date: None, text: "[+]policies ok\nok\n".to_owned() }),
        metrics: Ok(metrics),
        certificate: Ok(Some(served.to_owned())),
        skew: Some(1),
    }
}

fn healthy() -> Observed {
    let authority = certs::Authority::new("ours", NOW, 365 * 86_400).unwrap();
    let served = authority.server(&["tagwarden.tagwarden.svc".to_owned()], NOW, 7 * 86_400).unwrap().cert;
    let labels = json!({"app.kubernetes.io/name": "tagwarden"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"serviceAccountName": "tagwarden"}});
    let right = Right::for_tests(RightKind::Needed, "get", "namespaces");
    let too_much = Right::for_tests(RightKind::Surprising, "list", "secrets");
    Observed {
        release: Release { name: "tagwarden".to_owned(), namespace: "tagwarden".to_owned() },
        now: NOW,
        version: Ok(("v1.36.3".to_owned(), Some(0))),
        validating: Ok(vec![shipped(
            include_str!("../../../../tests/cluster/webhooks/validating.yaml"),
            authority.pem(),
        )]),
        mutating: Ok(vec![shipped(include_str!("../../../../tests/cluster/webhooks/mutating.yaml"), authority.pem())]),
        config: Ok(Some(
            Config::from_text("config.yaml", CONFIG, &Overrides::default()).map_err(|error| error.to_string()),
        )),
        deployment: Ok(Some(json!({"spec": {"replicas": 2, "template": template}}))),
        service: Ok(Some(json!({"spec": {"selector": labels, "ports": [{"port": 443}]}}))),
        slices: Ok(vec![json!({"endpoints": [
            {"targetRef": {"name": "a"}, "conditions": {"ready": true}}, {"targetRef": {"name": "b"}, "conditions": {"ready": true}}]})]),
        budgets: Ok(vec![json!({"spec": {"selector": {"matchLabels": labels}}})]),
        replicas: Ok(vec![replica("a", &served), replica("b", &served)]),
        authority: Some(Ok(Ok(Authority { bundle: authority.pem().to_owned(), validity: authority.validity() }))),
        objects: Some(Ok(vec![
            json!({"metadata": {"name": "o"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        ])),
        rights: Ok(vec![(right, true), (too_much, false)]),
        infrastructure: Ok(vec![Infrastructure { namespace: "cni".to_owned(), sign: "DaemonSet cni".to_owned() }]),
        reviewed: Reviewed::Heard { namespace: "default".to_owned(), verdict: "let in" },
    }
}

/// `check: code: message` of everything that is found.
fn found(observed: &Observed) -> Vec<String> {
    let of = |outcome: Outcome| {
        outcome.findings.into_iter().map(move |f| format!("{}: {}: {}", outcome.check, f.cause.code, f.message))
    };
    all(observed).into_iter().flat_map(of).collect()
}

/// A healthy installation with one thing changed, and everything that is found then.
fn with(change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut observed = healthy();
    change(&mut observed);
    found(&observed)
}

/// The first finding only; there are no others.
#[track_caller]
fn one(change: impl FnOnce(&mut Observed), expected: &str) {
    let found = with(change);
    assert!(found.len() == 1 && found[0].starts_with(expected), "expected {expected:?}: {found:#?}");
}

/// The first finding; others follow from the same cause.
#[track_caller]
fn begins(change: impl FnOnce(&mut Observed), expected: &str) {
    let found = with(change);
    assert!(found.first().is_some_and(|first| first.starts_with(expected)), "expected {expected:?}: {found:#?}");
}

fn webhook(observed: &mut Observed, index: usize) -> &mut Value {
    &mut observed.validating.as_mut().unwrap()[0]["webhooks"][index]
}

fn pin(observed: &mut Observed) -> &mut Value {
    &mut observed.mutating.as_mut().unwrap()[0]["webhooks"][0]
}

fn first(observed: &mut Observed) -> &mut Replica {
    &mut observed.replicas.as_mut().unwrap()[0]
}

fn metric(observed: &mut Observed, from: &str, to: &str) {
    let metrics = first(observed).metrics.as_mut().unwrap();
    assert!(metrics.contains(from));
    *metrics = metrics.replace(from, to);
}

fn config(observed: &mut Observed, text: &str) {
    observed.config = Ok(Some(Config::from_text("c", text, &Overrides::default()).map_err(|error| error.to_string())));
}

#[test]
fn nothing_is_found_where_all_is_well_and_every_check_says_what_it_saw() {
    assert_eq!(found(&healthy()), [] as [&str; 0]);
    for outcome in all(&healthy()) {
        assert!(!outcome.seen.is_empty() && outcome.level() == Level::Ok, "{outcome:?}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let gone = with(|o| o.validating = Ok(Vec::new()));
    assert!(gone[0].starts_with("configurations: validating-missing: "), "{gone:#?}");
    one(|o| o.deployment = Ok(None), "replicas: deployment-missing: there is no Deployment tagwarden/tagwarden");
    one(|o| o.service = Ok(None), "service: service-missing: ");
    let unconfigured = with(|o| o.config = Ok(None));
    assert!(
        unconfigured.iter().any(|line| line.starts_with("configuration: configuration-broken: ")),
        "{unconfigured:#?}"
    );
    one(|o| o.budgets = Ok(Vec::new()), "replicas: budget-missing: ");
    let pin = with(|o| o.mutating = Ok(Vec::new()));
    assert!(pin.len() == 1 && pin[0].starts_with("configurations: mutating-missing: "), "{pin:#?}");
    let workloads = with(|o| drop(o.validating.as_mut().unwrap()[0]["webhooks"].as_array_mut().unwrap().remove(1)));
    assert!(workloads[0].starts_with("configurations: webhook-missing: "), "{workloads:#?}");
}

#[test]
fn webhooks_are_as_the_chart_has_them() {
    one(
        |o| webhook(o, 0)["rules"][0]["operations"] = json!(["CREATE"]),
        "webhooks: webhook-rules: the rules of validate.tagwarden.dev leave out UPDATE of pods",
    );
    let jobs = with(|o| webhook(o, 1)["rules"][2]["resources"] = json!(["jobs"]));
    assert!(jobs.len() == 2 && jobs[0].ends_with("workloads.tagwarden.dev leave out CREATE of cronjobs"), "{jobs:#?}");
}

#[test]
fn rules_may_say_more_than_they_have_to() {
    let all =
        json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "*"}]);
    assert_eq!(with(|o| webhook(o, 0)["rules"] = all), [] as [&str; 0]);
    let plain = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"]}]);
    one(
        |o| webhook(o, 0)["rules"] = plain,
        "webhooks: webhook-rules: the rules of validate.tagwarden.dev leave out UPDATE of pods/ephemeralcontainers",
    );
}

#[test]
fn settings_that_weaken_a_webhook_are_told() {
    one(
        |o| webhook(o, 0)["matchPolicy"] = "Exact".into(),
        "webhooks: webhook-settings: validate.tagwarden.dev has matchPolicy Exact",
    );
    one(
        |o| webhook(o, 0)["timeoutSeconds"] = 30.into(),
        "webhooks: webhook-settings: validate.tagwarden.dev has timeoutSeconds 30",
    );
    one(|o| webhook(o, 0)["matchConditions"][0]["expression"] = "true".into(), "webhooks: webhook-conditions: ");
    begins(|o| webhook(o, 0)["clientConfig"]["service"]["name"] = "other".into(), "webhooks: webhook-target: ");
    one(
        |o| pin(o)["reinvocationPolicy"] = "Never".into(),
        "webhooks: webhook-settings: pin.tagwarden.dev has reinvocationPolicy Never",
    );
    one(|o| webhook(o, 1)["objectSelector"] = json!({"matchLabels": {"a": "b"}}), "namespaces: webhook-selector: ");
    one(
        |o| webhook(o, 0)["namespaceSelector"]["matchLabels"] = json!({"team": "x"}),
        "namespaces: webhook-selector: validate.tagwarden.dev is called only in namespaces with certain labels: team",
    );
}

#[test]
fn namespaces_that_must_be_left_out_are() {
    let values = "/namespaceSelector/matchExpressions/0/values";
    for namespace in ["tagwarden", "kube-system", "cni"] {
        let change = |o: &mut Observed| {
            let names = webhook(o, 0).pointer_mut(values).unwrap().as_array_mut().unwrap();
            names.retain(|name| name != namespace);
        };
        one(
            change,
            &format!(
                "namespaces: namespace-not-excluded: validate.tagwarden.dev does not leave out the namespace {namespace}"
            ),
        );
    }
}

#[test]
fn failing_closed_goes_with_enforcement() {
    one(|o| webhook(o, 0)["failurePolicy"] = "Ignore".into(), "failure-policy: failure-policy-open: ");
    one(
        |o| webhook(o, 1)["failurePolicy"] = "Fail".into(),
        "failure-policy: failure-policy-elsewhere: workloads.tagwarden.dev",
    );
    one(|o| config(o, &CONFIG.replace("enforce", "audit")), "failure-policy: failure-policy-closed: ");
    let both = with(|o| {
        config(o, &CONFIG.replace("enforce", "audit"));
        webhook(o, 0)["failurePolicy"] = "Ignore".into();
    });
    assert_eq!(both, [] as [&str; 0]);
}

#[test]
fn a_ca_bundle_vouches_for_what_every_replica_serves() {
    let set = |o: &mut Observed, text: &str| webhook(o, 0)["clientConfig"]["caBundle"] = STANDARD.encode(text).into();
    one(
        |o| drop(webhook(o, 0)["clientConfig"].as_object_mut().unwrap().remove("caBundle")),
        "ca-bundle: ca-bundle-empty: the webhook validate.tagwarden.dev",
    );
    one(|o| set(o, "hello"), "ca-bundle: ca-bundle-unreadable: ");
    let other = certs::Authority::new("other", NOW, 86_400).unwrap();
    let strange = with(|o| set(o, other.pem()));
    assert_eq!(
        strange.iter().filter(|line| line.starts_with("ca-bundle: ca-bundle-distrusts: ")).count(),
        2,
        "{strange:#?}"
    );
    assert!(strange.last().unwrap().starts_with("ca-bundle: ca-bundle-edited: "), "{strange:#?}");
    let served = other.server(&["tagwarden.tagwarden.svc".to_owned()], NOW, 7 * 86_400).unwrap().cert;
    let replica = with(|o| first(o).certificate = Ok(Some(served)));
    assert_eq!(replica.len(), 3, "each webhook distrusts that one: {replica:#?}");
    begins(
        |o| first(o).certificate = Err(Unread::Forbidden("no".to_owned())),
        "ca-bundle: unread: could not be checked: the certificate of a",
    );
}

#[test]
fn what_ended_or_is_about_to_is_told() {
    let late = with(|o| o.now = NOW + 8 * 86_400);
    assert_eq!(
        late.iter().filter(|line| line.starts_with("certificates: certificate-expired: ")).count(),
        2,
        "{late:#?}"
    );
    let soon = with(|o| o.now = NOW + 6 * 86_400);
    assert_eq!(
        soon.iter().filter(|line| line.starts_with("certificates: certificate-expiring: ")).count(),
        2,
        "{soon:#?}"
    );
    let year = with(|o| o.now = NOW + 340 * 86_400);
    assert!(year.iter().any(|line| line.starts_with("certificates: authority-expiring: ")), "{year:#?}");
    let ended = with(|o| o.now = NOW + 366 * 86_400);
    assert!(ended.iter().any(|line| line.starts_with("ca-bundle: ca-bundle-expired: ")), "{ended:#?}");
    one(|o| o.authority = Some(Ok(Err("it is empty".to_owned()))), "certificates: authority-missing: ");
    one(|o| o.authority = Some(Err(Unread::Failed("no".to_owned()))), "certificates: unread: ");
}

#[test]
fn a_service_leads_to_replicas() {
    one(
        |o| o.slices = Ok(vec![json!({"endpoints": [{"conditions": {"ready": false}}]})]),
        "service: service-no-endpoints: ",
    );
    one(
        |o| o.service.as_mut().unwrap().as_mut().unwrap()["spec"]["ports"][0]["port"] = 8443.into(),
        "service: service-port: ",
    );
    one(
        |o| o.service.as_mut().unwrap().as_mut().unwrap()["spec"]["selector"] = json!({"app": "x"}),
        "service: service-selects-none: ",
    );
}

#[test]
fn replicas_are_there_ready_and_alike() {
    let deployment =
        |o: &mut Observed, status: Value| o.deployment.as_mut().unwrap().as_mut().unwrap()["status"] = status;
    one(
        |o| o.deployment.as_mut().unwrap().as_mut().unwrap()["spec"]["replicas"] = 1.into(),
        "replicas: replicas-few: ",
    );
    one(|o| drop(o.replicas.as_mut().unwrap().pop()), "replicas: replicas-missing: 1 of 2 Pods");
    let quota = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "insufficient quota"}]});
    one(|o| deployment(o, quota), "replicas: replicas-missing: Pods cannot be created: insufficient quota");
    one(|o| metric(o, "0.1.0", "0.2.0"), "replicas: version-skew: the replicas are of several versions: 0.1.0, 0.2.0");
    let page = "[+]certificate ok\n    9 seconds left\n[-]policies not ready\n    p.yaml:1:1: error\n[-]caBundle not ready\nnot ready\n";
    one(
        |o| first(o).readyz = Ok(Page { status: 503, date: None, text: page.to_owned() }),
        "replicas: replica-not-ready: a is not ready: policies: p.yaml:1:1: error; caBundle",
    );
    one(
        |o| first(o).readyz = Err(Unread::Forbidden("pods/proxy".to_owned())),
        "replicas: unread: could not be checked: a counts as ready",
    );
    let waits = with(|o| {
        let replica = first(o);
        replica.readyz = Err(Unread::Failed("no".to_owned()));
        (replica.is_ready, replica.waiting) = (false, "ImagePullBackOff".to_owned());
    });
    assert!(waits[0].contains("a does not run: ImagePullBackOff"), "{waits:#?}");
}

#[test]
fn replicas_judge_by_the_same_policies_that_people_wrote() {
    one(|o| metric(o, "hash=\"0123\"", "hash=\"4567\""), "policies: policies-differ: ");
    one(|o| metric(o, "reload_successful 1", "reload_successful 0"), "policies: policies-refused: ");
    one(|o| metric(o, "last_good 0", "last_good 1"), "policies: policies-saved: ");
    let none = with(|o| metric(o, "tagwarden_policy_info{policy=\"acme\",hash=\"0123\"} 1\n", ""));
    assert!(none[0].starts_with("policies: policies-none: a has no"), "{none:#?}");
    let refused = json!({"metadata": {"name": "o"}, "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Invalid"}],
        "diagnostics": [{"message": "'x' is no key"}]}});
    one(
        |o| o.objects = Some(Ok(vec![refused])),
        "policies: policy-object-refused: the ImagePolicy o is refused (Invalid): 'x' is no key",
    );
    let broken = with(|o| config(o, "policis: {}"));
    assert!(broken.iter().any(|line| line.starts_with("configuration: configuration-broken: ")), "{broken:#?}");
}

#[test]
fn the_cluster_around_is_looked_at() {
    one(|o| o.version = Ok(("v1.32.1".to_owned(), Some(0))), "api-server: api-server-version: ");
    one(|o| first(o).skew = Some(-30), "clocks: clock-of-replica: the clock of a is behind the API server's by 30 s");
    let here = with(|o| {
        o.version = Ok(("v1.36.3".to_owned(), Some(600)));
        o.replicas.as_mut().unwrap().iter_mut().for_each(|replica| replica.skew = Some(600));
    });
    assert_eq!(here, ["clocks: clock-here: this machine's clock is behind the API server's by 600 s"]);
    one(
        |o| o.rights.as_mut().unwrap()[0].1 = false,
        "permissions: permission-missing: the server's account may not get namespaces",
    );
    one(|o| o.rights.as_mut().unwrap()[1].1 = true, "permissions: permission-too-much: ");
    one(
        |o| metric(o, "result=\"timeout\"} 1", "result=\"timeout\"} 50"),
        "registries: registry-failing: r.example.com: ",
    );
    let csi = Infrastructure { namespace: "csi".to_owned(), sign: "DaemonSet csi, on the host's network".to_owned() };
    one(
        |o| o.infrastructure.as_mut().unwrap().push(csi),
        "infrastructure: infrastructure-unlisted: the namespace csi is judged, and has DaemonSet csi",
    );
    one(
        |o| o.reviewed = Reviewed::Failed("x509".to_owned()),
        "review: review-failed: the API server cannot call: x509",
    );
    one(|o| o.reviewed = Reviewed::Unheard { namespace: "default".to_owned() }, "review: review-unheard: ");
}

#[test]
fn who_changes_images_after_us_is_looked_for() {
    let other = |name: &str, resources: &str| {
        json!({"metadata": {"name": name}, "webhooks": [{"name": "w", "rules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resources]}]}]})
    };
    let not_again = |o: &mut Observed, other: Value| {
        pin(o)["reinvocationPolicy"] = "Never".into();
        o.mutating.as_mut().unwrap().push(other);
    };
    assert_eq!(with(|o| o.mutating.as_mut().unwrap().push(other("vault", "pods"))), [] as [&str; 0]);
    let count =
        |found: Vec<String>| found.iter().filter(|line| line.starts_with("other-webhooks: changed-after-us: ")).count();
    assert_eq!(count(with(|o| not_again(o, other("vault", "pods")))), 1);
    assert_eq!(count(with(|o| not_again(o, other("istio", "pods")))), 0, "it comes before us");
    assert_eq!(count(with(|o| not_again(o, other("vault", "services")))), 0);
}

/// Whatever the caller may not read is said, and never called well.
#[test]
fn what_cannot_be_read_is_unknown() {
    let no = || Unread::Forbidden("may not".to_owned());
    let changes: [fn(&mut Observed, Unread); 12] = [
        |o, no| o.version = Err(no),
        |o, no| o.validating = Err(no),
        |o, no| o.mutating = Err(no),
        |o, no| o.config = Err(no),
        |o, no| o.deployment = Err(no),
        |o, no| o.service = Err(no),
        |o, no| o.slices = Err(no),
        |o, no| o.budgets = Err(no),
        |o, no| o.replicas = Err(no),
        |o, no| o.rights = Err(no),
        |o, no| o.infrastructure = Err(no),
        |o, no| o.reviewed = Reviewed::Untried(no),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut observed = healthy();
        change(&mut observed, no());
        let found = found(&observed);
        assert!(
            !found.is_empty() && found.iter().all(|line| line.contains(": unread: could not be checked: ")),
            "{index}: {found:#?}"
        );
    }
}
