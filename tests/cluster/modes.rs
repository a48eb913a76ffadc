//! The three modes, which differ in nothing but the verdict, and what a broken policy does.

use crate::harness::{Authority, Bed, Cluster, PATIENCE, Server, ServerOptions, until_true};
use crate::objects::{BAD, BASIC, GOOD, pod};
use serde_json::json;

#[test]
fn row_73_the_modes_find_the_same_and_differ_in_the_verdict() {
    let mode = |name: &str| BASIC.replace("mode: enforce", &format!("mode: {name}"));
    let bed = Bed::named("row-73").policy("basic.yaml", &mode("audit")).start();
    let dana = bed.dana();
    let decision = |pod: &str| bed.audited_creation(pod)["annotations"]["validate.tagwarden.dev/decision"].clone();

    dana.create(&pod("audited", BAD)).accepted().does_not_say("Warning");
    assert_eq!(decision("audited"), "audit");

    bed.server.change_policy("basic.yaml", &mode("warn"));
    dana.create(&pod("warned", BAD)).accepted().says("Warning: ").says("TW120").says(BAD);
    dana.create(&pod("clean", GOOD)).accepted().does_not_say("Warning");
    assert_eq!(decision("warned"), "warn");

    bed.server.change_policy("basic.yaml", &mode("enforce"));
    dana.create(&pod("denied", BAD)).denied().says("TW120").says(BAD);
    assert_eq!(decision("denied"), "deny");

    // One violation each, whatever became of it.
    for mode in ["audit", "warn", "enforce"] {
        let found = bed.server.metric("tagwarden_violations_total", &format!("mode=\"{mode}\""));
        assert!(found >= 1.0, "tagwarden_violations_total of mode {mode}: {found}");
    }
}

#[test]
fn a_first_policy_with_errors_leaves_the_server_up_and_not_ready() {
    let authority = Authority::new("webhook-ca");
    let broken = BASIC.replace("mode: enforce", "mood: enforce");
    let cluster = Cluster::shared();
    // Of its own: what a namespace's replicas saved would serve in the place of a bad policy.
    cluster.create_namespace("broken-policy", &json!({}));
    let mut server = Server::start(
        cluster,
        &ServerOptions {
            name: "broken-policy",
            namespace: "broken-policy",
            policies: &[("basic.yaml", &broken)],
            config: None,
            authority: &authority,
        },
    );
    until_true("the diagnostics in /readyz?verbose", PATIENCE, || server.readiness().contains("basic.yaml"));
    assert!(!server.is_ready());
    assert!(server.readiness().contains("mood"), "{}", server.readiness());
    assert!(server.ended().is_none(), "it stays up");
    server.change_policy_text("basic.yaml", BASIC);
    until_true("readiness with a good policy", PATIENCE, || server.is_ready());
}

#[test]
fn row_45_a_policy_that_trusts_a_tenants_label_is_refused() {
    let authority = Authority::new("webhook-ca");
    let trusting = BASIC.replace("  rules:", "  namespaces: {selector: {matchLabels: {tier: app}}}\n  rules:");
    let cluster = Cluster::shared();
    cluster.create_namespace("untrusted-label", &json!({}));
    let server = Server::start(
        cluster,
        &ServerOptions {
            name: "untrusted-label",
            namespace: "untrusted-label",
            policies: &[("basic.yaml", &trusting)],
            config: None,
            authority: &authority,
        },
    );
    until_true("the diagnostics in /readyz?verbose", PATIENCE, || {
        let readiness = server.readiness();
        readiness.contains("tier") && readiness.contains("trustedNamespaceLabels")
    });
    assert!(!server.is_ready());
}
