//! Alerts and dashboard: rules that promtool accepts, each shown firing and silent, over metrics that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tagwarden::metrics::{CacheResult, Metrics, ReleaseSource, Review};
use tagwarden::policy::{Check, Decision, Mode};

use super::render::{CHART, FULL, render, text_of, yaml};

/// Metrics of the API server, with the labels that it gives them (k8s.io/apiserver/pkg/admission/metrics).
const API_SERVER: &[(&str, &[&str])] = &[
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    ("apiserver_admission_webhook_rejection_count", &["name", "type", "operation", "error_type", "rejection_code"]),
];

/// What Prometheus adds to whatever it scrapes.
const SCRAPED: [&str; 4] = ["instance", "job", "namespace", "pod"];

fn promtool(arguments: &[&str], folder: &Path) -> (bool, String) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.expect("promtool is on the PATH; tests/chart/build.sh installs it");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A folder that holds these rules as `alerts.yaml`.
fn with_rules(rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("alerts.yaml"), rules).unwrap();
    folder
}

/// The rules of a PrometheusRule as the chart renders it with these values.
fn rendered_rules(values: &str) -> String {
    let render = render(values);
    render.object("PrometheusRule", "tagwarden")["spec"].to_string()
}

fn alerts() -> String {
    text_of(&format!("{CHART}/files/alerts.yaml"))
}

fn rules() -> Vec<Value> {
    yaml(&alerts())["groups"][0]["rules"].as_array().unwrap().clone()
}

#[test]
fn promtool_accepts_the_alerts_as_a_file_and_as_rendered() {
    for rules in [
        alerts(),
        rendered_rules("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}}"),
        rendered_rules(FULL),
    ] {
        let (fine, said) = promtool(&["check", "rules", "alerts.yaml"], with_rules(&rules).path());
        assert!(fine, "{said}");
    }
    let broken = alerts().replace("absent(", "absent((");
    assert!(!promtool(&["check", "rules", "alerts.yaml"], with_rules(&broken).path()).0);
}

/// What the operator gets is what the file says: nothing of the file is taken for a template of Helm's.
#[test]
fn the_default_render_is_the_file() {
    let rendered = yaml(&rendered_rules("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}}"));
    assert_eq!(rendered, yaml(&alerts()));
}

#[test]
fn every_alert_fires_when_it_should_and_is_silent_otherwise() {
    let cases = text_of("tests/chart/alerts.test.yaml");
    let folder = with_rules(&alerts());
    std::fs::write(folder.path().join("cases.yaml"), &cases).unwrap();
    let (fine, said) = promtool(&["test", "rules", "cases.yaml"], folder.path());
    assert!(fine, "{said}");
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in yaml(&cases)["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let name = case["alertname"].as_str().unwrap().to_owned();
            let fires = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            if fires {
                firing.insert(name)
            } else {
                silent.insert(name)
            };
        }
    }
    let names: BTreeSet<_> = rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(firing, names, "alerts with a case in which they fire");
    assert_eq!(silent, names, "alerts with a case in which they are silent");
}

/// An alert that could never fire, or always would, does not pass its cases.
#[test]
fn the_cases_notice_alerts_that_are_broken() {
    for (right, wrong) in [
        ("tagwarden_panics_total[10m]) > 0", "tagwarden_panics_total[10m]) > 1000"),
        ("absent(tagwarden_build_info)", "tagwarden_build_info == 1"),
        ("1209600", "864000"),
        ("129600", "604800"),
        ("0.5 * 5", "0.1 * 5"),
        ("> 0.1", "> 0.5"),
        ("> 0.1", "> 0.01"),
        ("requests|bytes-in-flight", "requests"),
        ("error_type!=\"no_error\"", "error_type=~\".*\""),
        ("state=\"failed\"", "state=\"loaded\""),
    ] {
        let broken = alerts().replace(right, wrong);
        assert_ne!(broken, alerts(), "{right} is in no rule");
        let folder = with_rules(&broken);
        std::fs::write(folder.path().join("cases.yaml"), text_of("tests/chart/alerts.test.yaml")).unwrap();
        assert!(!promtool(&["test", "rules", "cases.yaml"], folder.path()).0, "{wrong}");
    }
}

/// Whether the alert on certificates fires after ten minutes, for one that ends at `end` seconds.
fn certificate_alert_fires(values: &str, end: u64) -> bool {
    let folder = with_rules(&rendered_rules(values));
    let case = format!(
        "{{rule_files: [alerts.yaml], evaluation_interval: 1m, tests: [{{interval: 1m, input_series: \
         [{{series: tagwarden_certificate_expiry_timestamp_seconds, values: '{end}x30'}}, \
         {{series: tagwarden_build_info, values: '1x30'}}], \
         alert_rule_test: [{{eval_time: 10m, alertname: TagwardenCertificateExpiring, exp_alerts: []}}]}}]}}"
    );
    std::fs::write(folder.path().join("case.yaml"), case).unwrap();
    let (silent, said) = promtool(&["test", "rules", "case.yaml"], folder.path());
    assert!(silent || said.contains("alertname: TagwardenCertificateExpiring"), "{said}");
    !silent
}

/// Seven days where it is yours; ours and cert-manager's live only seven days, and are renewed with a third of them left.
#[test]
fn a_certificate_is_told_of_after_its_renewal_is_due_and_before_it_ends() {
    const HOUR: u64 = 3600;
    for (values, hours) in [
        ("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}}", 36),
        ("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}, tls: {leafLifetime: 336h}}", 72),
        ("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}, tls: {leafLifetime: 27h59m60s}}", 6),
        ("{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}, certManager: {enabled: true}}", 36),
        (
            "{networkPolicy: {enabled: false}, prometheusRule: {enabled: true}, tls: {existingSecret: x, caBundle: \"-----BEGIN CERTIFICATE-----\"}}",
            168,
        ),
    ] {
        // At the tenth minute: just below for more than five minutes, and just not.
        assert!(certificate_alert_fires(values, hours * HOUR), "{values}: silent {hours} h before the end");
        assert!(!certificate_alert_fires(values, hours * HOUR + 600), "{values}: too early");
    }
    for life in [24_u64, 168, 8760] {
        for enabled in [false, true] {
            let values = format!(
                "{{networkPolicy: {{enabled: false}}, prometheusRule: {{enabled: true}}, certManager: {{enabled: {enabled}}}, tls: {{leafLifetime: {life}h}}}}"
            );
            assert!(!certificate_alert_fires(&values, life * HOUR / 3), "fires when it is to be renewed: {values}");
        }
    }
}

#[test]
fn slow_is_half_of_the_time_that_the_api_server_waits() {
    for (seconds, expression) in [(5, "> 0.5 * 5"), (12, "> 0.5 * 12")] {
        let values = format!(
            "{{networkPolicy: {{enabled: false}}, prometheusRule: {{enabled: true}}, webhook: {{timeoutSeconds: {seconds}}}}}"
        );
        let rules = yaml(&rendered_rules(&values));
        let all = rules["groups"][0]["rules"].as_array().unwrap();
        let slow = all.iter().find(|rule| rule["alert"] == "TagwardenSlow").unwrap();
        assert!(slow["expr"].as_str().unwrap().ends_with(expression), "{slow}");
    }
}

/// Every metric that the binary exports, each with its labels, as its text shows them.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new().unwrap();
    metrics.reviewed(&Review {
        endpoint: "validate",
        operation: "CREATE",
        kind: "Pod",
        decision: Decision::Allow,
        dry_run: false,
        duration: Duration::from_millis(1),
    });
    metrics.violation("p", Check::Tags, Mode::Warn);
    metrics.image(None, Decision::Allow);
    metrics.rejected("requests");
    metrics.passed("unchanged");
    metrics.uncovered();
    metrics.panicked();
    metrics.certificate_in_use(1);
    metrics.policies_judged(1, false);
    let source = ReleaseSource { name: "d", releases: None, since: Some(1), is_current: true, from_saved: false };
    metrics.release_sources(std::iter::once(source));
    metrics.registry_request("registry.example.com", "ok", Duration::from_millis(1));
    metrics.cache_request(CacheResult::Hit);
    let releases =
        ReleaseSource { name: "releases", releases: None, since: Some(1), is_current: true, from_saved: false };
    metrics.release_sources([releases].into_iter());
    let text = metrics.text().unwrap();
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        exported.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    // These have values only where there are policies or releases; metrics.rs has their labels.
    for (name, labels) in [
        ("tagwarden_exception_expiry_timestamp_seconds", &["id"][..]),
        ("tagwarden_policy_info", &["policy", "hash"]),
        ("tagwarden_release_info", &["source", "release", "id"]),
    ] {
        assert!(text_of("src/metrics.rs").contains(&format!("\"{name}\"")));
        exported.insert(name.to_owned(), labels.iter().map(|&label| label.to_owned()).collect());
    }
    for (name, labels) in API_SERVER {
        exported.insert((*name).to_owned(), labels.iter().map(|&label| label.to_owned()).collect());
    }
    exported
}

/// What is wrong with a query: metrics that nobody exports, labels that its metrics do not have.
fn query_problems(query: &str, exported: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let metric = regex::Regex::new(r"\b(?:tagwarden|apiserver)_[a-z0-9_]+").unwrap();
    let matcher = regex::Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    let grouping = regex::Regex::new(r"\bby \(([^)]*)\)").unwrap();
    let mut problems = Vec::new();
    let mut labels: BTreeSet<&str> = SCRAPED.into();
    for name in metric.find_iter(query) {
        match exported.get(name.as_str()) {
            Some(own) => labels.extend(own.iter().map(String::as_str)),
            None => problems.push(format!("no metric {}", name.as_str())),
        }
    }
    let named = matcher.captures_iter(query).map(|found| found.get(1).unwrap().as_str());
    let grouped = grouping.captures_iter(query).flat_map(|found| found.get(1).unwrap().as_str().split(", "));
    let unknown = named.chain(grouped).filter(|label| !labels.contains(label));
    problems.extend(unknown.map(|label| format!("no label {label}")));
    problems
}

#[test]
fn queries_that_name_what_does_not_exist_are_found() {
    let exported = exported();
    let problems = |query| query_problems(query, &exported);
    assert_eq!(problems("sum by (decision) (rate(tagwarden_admission_requests_total{kind=\"Pod\"}[5m]))"), [""; 0]);
    assert_eq!(problems("tagwarden_reviews_total"), ["no metric tagwarden_reviews_total"]);
    assert_eq!(problems("tagwarden_policies{status=\"failed\"}"), ["no label status"]);
    assert_eq!(problems("sum by (image) (tagwarden_images_total)"), ["no label image"]);
}

#[test]
fn alerts_name_only_metrics_and_labels_that_exist() {
    let exported = exported();
    let shown = regex::Regex::new(r"\$labels\.([a-z_]+)").unwrap();
    let grouping = regex::Regex::new(r"\bby \(([^)]*)\)").unwrap();
    for rule in rules() {
        let query = rule["expr"].as_str().unwrap();
        assert_eq!(query_problems(query, &exported), [""; 0], "{query}");
        let grouped: Vec<_> =
            grouping.captures_iter(query).flat_map(|found| found.get(1).unwrap().as_str().split(", ")).collect();
        let text = rule["annotations"].to_string();
        for label in shown.captures_iter(&text).map(|found| found.get(1).unwrap().as_str()) {
            assert!(grouped.contains(&label), "{}: {label} is not in the alert", rule["alert"]);
        }
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string());
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()));
    }
}

#[test]
fn the_dashboard_names_only_metrics_and_labels_that_exist() {
    let text = text_of(&format!("{CHART}/files/dashboard.json"));
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let exported = exported();
    let shown = regex::Regex::new(r"\{\{([a-z_]+)\}\}").unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!((10..=14).contains(&panels.len()));
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        assert!(!panel["description"].as_str().unwrap().is_empty());
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert_eq!(query_problems(query, &exported), [""; 0], "{query}");
            for label in shown.captures_iter(target["legendFormat"].as_str().unwrap()) {
                let label = label.get(1).unwrap().as_str();
                let grouped = query.contains(&format!("{label},")) || query.contains(&format!("{label})"));
                assert!(grouped, "{label} is not in {query}");
            }
        }
    }
    let shipped = render("{grafana: {dashboards: {enabled: true}}}");
    let map = shipped.object("ConfigMap", "tagwarden-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["data"]["tagwarden.json"].as_str().unwrap(), text);
}

/// Every metric of ours is in an alert or on the dashboard, or is known to be for other eyes.
#[test]
fn every_metric_is_looked_at() {
    let queries = alerts() + &text_of(&format!("{CHART}/files/dashboard.json"));
    for name in exported().keys() {
        let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(queries.contains(family) || family == "tagwarden_policy_info", "{name} is nowhere");
    }
}

#[test]
fn prometheus_is_let_through_to_what_it_scrapes() {
    let render = render(FULL);
    let monitor = &render.object("ServiceMonitor", "tagwarden")["spec"];
    assert_eq!(monitor["endpoints"][0]["port"], "health");
    let service = render.object("Service", "tagwarden");
    let labels = &service["metadata"]["labels"];
    for (key, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[key], *value, "the Service has the labels that the ServiceMonitor looks for");
    }
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == "health" && port["targetPort"] == "health"));
    let ingress = &render.object("NetworkPolicy", "tagwarden")["spec"]["ingress"];
    assert_eq!(ingress[1]["ports"][0]["port"], 8080);
    for values in ["{}", "{networkPolicy: {monitoring: []}}"] {
        let closed = self::render(values);
        let ingress = closed.object("NetworkPolicy", "tagwarden")["spec"]["ingress"].as_array().unwrap();
        assert_eq!(ingress.len(), 1, "health and metrics are closed unless somebody is named");
    }
}
