//! Row 72: what each account may, by feature, is the table in the chart's README and nothing more.

use std::collections::BTreeSet;

use serde_json::Value;

use super::render::{CHART, Render, render, strings, text_of};

/// A row of the README's table.
struct Row {
    account: String,
    feature: String,
    grant: String,
}

/// The README's table: `| account | with | where | resources | names | verbs |`.
fn documented() -> Vec<Row> {
    let text = text_of(&format!("{CHART}/README.md"));
    let (_, section) = text.split_once("\n## Permissions\n").expect("the README has a section Permissions");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [account, feature, place, resources, names, verbs] = cells.try_into().expect("six columns");
        Row { account, feature, grant: format!("{place}: {resources} [{names}] {verbs}") }
    });
    rows.collect()
}

/// What an account may in a render, through every binding that names it, in the words of the table.
fn granted(render: &Render, account: &str) -> BTreeSet<String> {
    let mut grants = BTreeSet::new();
    for binding in render.kind("ClusterRoleBinding").chain(render.kind("RoleBinding")) {
        let subjects = binding["subjects"].as_array().unwrap();
        assert_eq!(subjects.len(), 1);
        if subjects[0]["name"] != account {
            continue;
        }
        assert_eq!((&subjects[0]["kind"], &subjects[0]["namespace"]), (&"ServiceAccount".into(), &"tagwarden".into()));
        let place = match binding["metadata"]["namespace"].as_str() {
            None => "cluster".to_owned(),
            Some("tagwarden") => "own namespace".to_owned(),
            Some(other) => format!("namespace {other}"),
        };
        let role = &binding["roleRef"];
        let role = render.object(role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
        for rule in role["rules"].as_array().unwrap() {
            grants.extend(sentences(rule).into_iter().map(|sentence| format!("{place}: {sentence}")));
        }
    }
    grants
}

fn sentences(rule: &Value) -> Vec<String> {
    let group = strings(&rule["apiGroups"]);
    let [group] = group[..] else { panic!("one group a rule: {rule}") };
    assert!(rule.get("nonResourceURLs").is_none());
    let names = rule.get("resourceNames").map(strings).unwrap_or_default().join(", ");
    let verbs = strings(&rule["verbs"]);
    assert!(!verbs.contains(&"*"), "{rule}");
    assert!(!verbs.contains(&"create") || ["leases", "events"].contains(&strings(&rule["resources"])[0]), "{rule}");
    let resources = strings(&rule["resources"]).into_iter();
    let full =
        resources.map(|resource| if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") });
    full.map(|resource| format!("{resource} [{names}] {}", verbs.join(", "))).collect()
}

/// Every feature set: values, and the words of the table's column "with" that hold for them.
const SETS: &[(&str, &[&str])] = &[
    ("{}", &["always", "self-managed certificates"]),
    ("{certManager: {enabled: true}}", &["always", "other certificates"]),
    ("{tls: {existingSecret: x, caBundle: \"-----BEGIN CERTIFICATE-----\"}}", &["always", "other certificates"]),
    ("{imagePolicies: {enabled: true}}", &["always", "self-managed certificates", "imagePolicies"]),
    ("{config: {history: {enabled: true}}}", &["always", "self-managed certificates", "config.history.enabled"]),
    ("{releases: [{configMap: system}]}", &["always", "self-managed certificates", "releases"]),
    (
        "{imageReleases: {enabled: true}, releases: [{objects: true}]}",
        &["always", "self-managed certificates", "releases", "imageReleases"],
    ),
    (
        "{pullSecrets: {enabled: true, namespaces: [shop]}}",
        &["always", "self-managed certificates", "pullSecrets.namespaces: [shop]"],
    ),
    (
        "{pullSecrets: {enabled: true, clusterWide: true}}",
        &["always", "self-managed certificates", "pullSecrets.clusterWide"],
    ),
];

#[test]
fn row_72_every_feature_set_has_the_permissions_of_the_table_and_no_others() {
    let table = documented();
    for account in ["tagwarden", "tagwarden-pre-delete", "tagwarden-test"] {
        for (values, features) in SETS {
            let rows = table.iter().filter(|row| row.account == account && features.contains(&row.feature.as_str()));
            let expected: BTreeSet<_> = rows.map(|row| row.grant.clone()).collect();
            assert!(!expected.is_empty(), "the table has no rows for {account}");
            assert_eq!(granted(&render(values), account), expected, "{account}, {values}");
        }
    }
}

#[test]
fn row_72_every_row_of_the_table_belongs_to_a_feature_set_that_is_tested() {
    for row in documented() {
        let tested = SETS.iter().any(|(_, features)| features.contains(&row.feature.as_str()));
        assert!(tested, "{} {}", row.account, row.feature);
    }
}

#[test]
fn no_other_account_is_bound_to_anything() {
    for (values, _) in SETS {
        let render = render(values);
        for binding in render.kind("ClusterRoleBinding").chain(render.kind("RoleBinding")) {
            let subject = binding["subjects"][0]["name"].as_str().unwrap();
            assert!(["tagwarden", "tagwarden-pre-delete", "tagwarden-test"].contains(&subject), "{subject}");
        }
    }
}

/// Argo CD leaves Leases out of what it syncs: without this no replica would ever be elected there. RBAC knows no name of
/// what is created.
#[test]
fn a_lease_that_nobody_shipped_can_be_created() {
    let render = render("{}");
    let rules = render.object("Role", "tagwarden")["rules"].as_array().unwrap();
    let creates = rules.iter().filter(|rule| strings(&rule["verbs"]).contains(&"create"));
    let creates: Vec<_> = creates.collect();
    assert_eq!(creates.len(), 1, "{creates:?}");
    assert_eq!(strings(&creates[0]["resources"]), ["leases"]);
    assert!(creates[0].get("resourceNames").is_none(), "a create by name is granted to nobody");
}

/// Without `create`, the objects that the server writes have to be there.
#[test]
fn every_object_that_is_written_by_name_is_shipped_empty() {
    for (values, _) in SETS {
        let render = render(values);
        let role = render.object("Role", "tagwarden");
        let mut count = 0;
        for rule in role["rules"].as_array().unwrap().iter().filter(|rule| rule.get("resourceNames").is_some()) {
            let kind = match strings(&rule["resources"])[..] {
                ["leases"] => "Lease",
                ["configmaps"] => "ConfigMap",
                ["secrets"] => "Secret",
                _ => panic!("{rule}"),
            };
            for name in strings(&rule["resourceNames"]) {
                let object = render.object(kind, name);
                assert!(object.get("data").is_none() && object.get("spec").is_none(), "{object}");
                count += 1;
            }
        }
        assert!(count >= 4, "{values}");
        let leases = render.kind("Lease").map(|lease| lease["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>();
        let written = role["rules"].as_array().unwrap().iter().find(|rule| rule["resources"][0] == "leases").unwrap();
        assert_eq!(leases, strings(&written["resourceNames"]), "{values}");
    }
}
