//! Those who apply the render again and again, and our server, which patches one field of it, leave each other alone.

use crate::Bed;
use crate::harness::{Load, Mix, Row, stamped};
use serde_json::Value;

pub fn row_49_nobody_fights_over_the_bundle(bed: &Bed) {
    let release = bed.enforce();
    let values = stamped(&release.enforcing(), &release.enforcing());
    let render = release.render(&values);
    assert_eq!(render, release.render(&values), "two renders are equal");
    assert!(!render.contains("caBundle"), "no render says anything about caBundle");

    let before = release.bundles();
    assert!(before.iter().all(|bundle| !bundle.is_empty()), "our server has filled them in");
    let failed_before = bed.cluster.failed_calls();
    let load = Load::start(&bed.cluster, Mix::Enforced);
    // A controller that applies what git says, twice, and a person with Helm in between; all three say the same.
    for _ in 0..2 {
        apply(bed, &render);
        assert_eq!(release.bundles(), before, "the apply leaves caBundle alone");
        release.upgrade(&values, &["--wait", "--timeout=120s"]).accepted();
        assert_eq!(release.bundles(), before, "the upgrade leaves caBundle alone");
    }
    load.reach(200);
    assert_eq!(release.bundles(), before, "nobody has had to repair them");
    bed.report.add(Row::new(&bed.cluster, "applied and upgraded by turns", load.finish(), failed_before));

    // One owner of the field, and only of it.
    for kind in ["validatingwebhookconfiguration/tagwarden", "mutatingwebhookconfiguration/tagwarden"] {
        let arguments = ["get", kind, "--show-managed-fields", "-o", "json"];
        let object = bed.cluster.admin().run(&arguments).accepted().stdout;
        let object: Value = serde_json::from_str(&object).unwrap();
        let managers = object["metadata"]["managedFields"].as_array().unwrap();
        let owners: Vec<&Value> = managers.iter().filter(|m| m.to_string().contains("f:caBundle")).collect();
        assert_eq!(owners.len(), 1, "one manager owns caBundle: {owners:?}");
        let fields = owners[0].to_string();
        assert!(!fields.contains("f:rules") && !fields.contains("f:failurePolicy"), "and nothing else: {fields}");
        assert_eq!(owners[0]["operation"], "Apply", "{fields}");
    }
}

/// As a GitOps controller does. Objects that Helm treats as hooks are none to it.
fn apply(bed: &Bed, render: &str) {
    let documents = render.split("\n---").filter(|document| !document.contains("helm.sh/hook:"));
    let documents = documents.collect::<Vec<_>>().join("\n---");
    let arguments = ["apply", "--server-side", "--field-manager=gitops", "--force-conflicts", "-f", "-"];
    let applied = bed.cluster.admin().within(crate::harness::NAMESPACE).run_with(&arguments, &documents);
    applied.accepted();
}
