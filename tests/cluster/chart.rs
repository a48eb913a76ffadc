//! The chart's render, as a real API server takes it.

use serde_json::Value;

use crate::harness::{Cluster, Kubectl, Outcome, PATIENCE, User, until_true};
use crate::render::{CHART, FULL, Render, helm, template};

/// Renders the chart into a namespace of the suite, under its name.
fn rendered(namespace: &str, values: &str) -> Render {
    Render::of(template(&[namespace, CHART, "--namespace", namespace], values))
}

/// Groups whose kinds this API server does not have: other projects' operators bring them.
fn foreign(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap();
    version.starts_with("monitoring.coreos.com/") || version.starts_with("cert-manager.io/")
}

/// Every object, strictly: no unknown field, nothing that validation refuses, and nothing that Pod Security warns of.
#[test]
fn the_api_server_accepts_every_object_of_the_chart() {
    let cluster = Cluster::shared();
    let restricted = ["enforce", "warn"].map(|what| (format!("pod-security.kubernetes.io/{what}"), "restricted"));
    cluster.create_namespace("chart-render", &restricted.into_iter().collect());
    for further in ["shop", "bank"] {
        cluster.create_namespace(further, &serde_json::json!({}));
    }
    let admin = cluster.as_user(User::Admin);
    for values in ["{}", FULL] {
        let render = rendered("chart-render", values);
        for object in render.objects.iter().filter(|object| !foreign(object)) {
            // A Pod is refused while its account is not there, so accounts are made.
            let dry_run = if object["kind"] == "ServiceAccount" { "none" } else { "server" };
            let dry_run = format!("--dry-run={dry_run}");
            let strictly = ["apply", "--server-side", &dry_run, "--validate=strict", "-f", "-"];
            admin.run_with(&strictly, &object.to_string()).accepted().does_not_say("Warning");
        }
    }
    let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let typo = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}"#;
    admin.within("chart-render").run_with(&strictly, typo).refused();
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}"#;
    admin.within("chart-render").run_with(&strictly, pod).refused().says("PodSecurity");
}

/// What an overlay of the kustomize base is built to.
fn kustomized(namespace: &str) -> Render {
    let folder = tempfile::tempdir().unwrap();
    let (base, overlay) = (folder.path().join("base"), folder.path().join("overlay"));
    for path in [&base, &overlay] {
        std::fs::create_dir(path).unwrap();
    }
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize");
    for entry in std::fs::read_dir(shipped).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
    }
    let text = format!("namespace: {namespace}\nresources: [../base]\n");
    std::fs::write(overlay.join("kustomization.yaml"), text).unwrap();
    let built = Cluster::shared().as_user(User::Admin).run(&["kustomize", overlay.to_str().unwrap()]).accepted();
    Render::from_text(built.stdout)
}

/// Otherwise the webhooks would judge the Pods of their own server, and under Fail none could come back.
#[test]
fn an_overlays_namespace_is_the_one_that_the_webhooks_leave_out() {
    for namespace in ["tagwarden", "guard"] {
        let built = kustomized(namespace);
        let mut count = 0;
        for webhook in built.objects.iter().filter_map(|object| object["webhooks"].as_array()).flatten() {
            let names = &webhook["namespaceSelector"]["matchExpressions"][0]["values"];
            assert_eq!(*names, serde_json::json!(["kube-system", "kube-node-lease", namespace]), "{webhook}");
            assert_eq!(webhook["clientConfig"]["service"]["namespace"], namespace);
            count += 1;
        }
        assert_eq!(count, 3);
        for object in &built.objects {
            let own = &object["metadata"]["namespace"];
            assert!(own.is_null() || own == namespace, "{object}");
            for subject in object["subjects"].as_array().into_iter().flatten() {
                assert_eq!(subject["namespace"], namespace);
            }
        }
        assert_eq!(
            built
                .objects
                .iter()
                .filter(|object| object["metadata"]["name"] == namespace && object["kind"] == "Namespace")
                .count(),
            1
        );
        assert!(!built.text.contains("$("), "{}", built.text);
    }
}

/// What helm prints after an install with these values.
fn notes(values: &str) -> String {
    let cluster = Cluster::shared();
    let kubeconfig = cluster.kubeconfig(User::Admin);
    let kubeconfig = kubeconfig.to_str().unwrap();
    let arguments = ["install", "notes", CHART, "--namespace", "notes", "--values", "-", "--dry-run=server"];
    let output = helm(&[&arguments[..], &["--kubeconfig", kubeconfig]].concat(), values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_once("NOTES:\n").expect("helm prints notes").1.to_owned()
}

#[test]
fn the_notes_say_what_is_blocked_and_name_the_next_steps() {
    let first = notes("{}");
    for part in [
        "maxMode is audit: it blocks nothing and changes nothing",
        "helm test notes --namespace notes",
        "tagwarden check --policies",
        "maxMode: enforce",
        "infrastructureNamespaces: [",
    ] {
        assert!(first.contains(part), "{part}\n{first}");
    }
    assert!(!first.contains("kubectl delete"), "nothing to break out of: {first}");
    let enforcing = notes("{maxMode: enforce, infrastructureNamespaces: [cni], imagePolicies: {enabled: true}}");
    for part in [
        "maxMode is enforce: what policies refuse is refused",
        "kube-system, kube-node-lease, notes, cni",
        "kubectl delete validatingwebhookconfiguration notes-tagwarden",
        "kubectl delete customresourcedefinition imagepolicies.tagwarden.dev",
    ] {
        assert!(enforcing.contains(part), "{part}\n{enforcing}");
    }
    assert!(!enforcing.contains("blocks nothing") && !enforcing.contains("fails open"));
    let open = notes("{maxMode: enforce, webhook: {failurePolicy: Ignore}, infrastructureNamespacesReviewed: true}");
    assert!(open.contains("failurePolicy Ignore: it fails open") && !open.contains("kubectl delete"), "{open}");
}

/// Somebody who may change this namespace, in one further group.
fn as_sam(admin: &Kubectl, group: &str, arguments: &[&str]) -> Outcome {
    let group = format!("--as-group={group}");
    admin.run(&[&["--as=sam", &group], arguments].concat())
}

#[test]
fn guarded_labels_are_set_by_the_named_groups_alone() {
    let cluster = Cluster::shared();
    cluster.create_namespace("label-guard", &serde_json::json!({"free.example.com/a": "1"}));
    let admin = cluster.as_user(User::Admin);
    let rights = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "label-guard-sam"},
         "rules": [{"apiGroups": [""], "resources": ["namespaces", "namespaces/status"],
                    "verbs": ["get", "patch", "update", "create"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "label-guard-sam"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "label-guard-sam"},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "sam"}]},
    ]});
    admin.apply(&rights).accepted();
    let values = "{fullnameOverride: label-guard, trustedNamespaceLabels: [guarded.example.com/team, guarded.example.com/env], \
                  namespaceLabelGuard: {enabled: true, groups: [platform]}}";
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let render = rendered("label-guard", values);
        admin.apply(render.object(kind, "label-guard-namespace-labels")).accepted();
    }
    let label = |pair: &'static str| ["label", "namespace", "label-guard", "--overwrite", pair];
    until_true("the guard to be in force", PATIENCE, || {
        let probe = [&label("guarded.example.com/team=probe")[..], &["--dry-run=server"]].concat();
        !as_sam(&admin, "developers", &probe).succeeded()
    });
    let refused = |outcome: Outcome| {
        outcome.refused().says("decides which image policies apply to a namespace").says("system:masters, platform")
    };
    // Setting, changing, removing, and by the subresource; by the named group it works.
    as_sam(&admin, "platform", &label("guarded.example.com/team=bank")).accepted();
    refused(as_sam(&admin, "developers", &label("guarded.example.com/team=shop"))).says("guarded.example.com/team");
    refused(as_sam(&admin, "developers", &label("guarded.example.com/team-")));
    refused(as_sam(&admin, "developers", &label("guarded.example.com/env=prod"))).says("guarded.example.com/env");
    let patch = r#"{"metadata": {"labels": {"guarded.example.com/team": "shop"}}}"#;
    let by_status = ["patch", "namespace", "label-guard", "--subresource=status", "--type=merge", "-p", patch];
    refused(as_sam(&admin, "developers", &by_status));
    // A namespace that brings the label, and one without labels.
    let new = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "label-guard-new",
                  "labels": {"guarded.example.com/team": "shop"}}}"#;
    let create = ["--as=sam", "--as-group=developers", "create", "-f", "-"];
    refused(admin.run_with(&create, new));
    let plain = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "label-guard-plain"}}"#;
    admin.run_with(&create, plain).accepted();
    // Everything else is as before, also while a guarded label is there.
    as_sam(&admin, "developers", &label("free.example.com/a=2")).accepted();
    as_sam(&admin, "developers", &["annotate", "namespace", "label-guard", "a=b"]).accepted();
    admin.run(&label("guarded.example.com/team=shop")).accepted();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        admin.run(&["delete", kind, "label-guard-namespace-labels"]).accepted();
    }
    admin.run(&["delete", "namespace", "label-guard", "label-guard-plain", "--wait=false"]).accepted();
}
