//! `tagwarden doctor` as far as it comes without a real cluster: nobody there, nothing installed, nothing that may be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tagwarden::certs::Authority;
use tagwarden::document::{Source, parse};
use tokio::net::TcpListener;

use crate::api_double::{kubeconfig, nobody, serve};
use crate::cli_support::{Ran, Scene};
use crate::https_support::now;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Runs doctor against an API server that answers by this function of the path.
async fn run(arguments: &[&str], answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> Ran {
    run_with_bodies(arguments, move |path, _| answer(path)).await
}

/// The same with the body of each request, null where it has none.
async fn run_with_bodies<A>(arguments: &[&str], answer: A) -> Ran
where
    A: Fn(&str, &Value) -> (u16, Value) + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kubeconfig(listener.local_addr().unwrap());
    let served = serve(listener, move |request| {
        let answer = answer.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            answer(&path, &serde_json::from_slice(&body).unwrap_or_default())
        }
    });
    let scene = Scene::new(&[("kubeconfig", &config)]);
    let mut command = scene.command(&[&["doctor"], arguments].concat());
    command.env("KUBECONFIG", scene.path().join("kubeconfig")).env_remove("KUBERNETES_SERVICE_HOST");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    served.abort();
    Ran::from(output)
}

fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn absent() -> (u16, Value) {
    (404, json!({"kind": "Status", "code": 404, "message": "no such thing"}))
}

fn forbidden() -> (u16, Value) {
    (403, json!({"kind": "Status", "code": 403, "message": "eve may not"}))
}

fn version() -> (u16, Value) {
    (200, json!({"gitVersion": "v1.36.3"}))
}

/// A configuration of a release, with the webhook on Pods.
fn configuration(name: &str, namespace: &str) -> Value {
    let service = json!({"namespace": namespace, "name": name, "path": "/validate", "port": 443});
    json!({"metadata": {"name": name}, "webhooks": [{"name": "validate.tagwarden.dev", "clientConfig": {"service": service}}]})
}

#[tokio::test]
async fn where_nothing_is_installed_there_is_nothing_to_judge() {
    let empty = |path: &str| match path {
        "/version" => version(),
        _ => list(&[]),
    };
    let ran = run(&[], empty).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.starts_with("error: tagwarden is not installed in this cluster"), "{}", ran.stderr);
}

#[tokio::test]
async fn of_several_releases_one_is_chosen() {
    let several = |path: &str| match path {
        "/version" => version(),
        _ if path == format!("{ADMISSION}/validatingwebhookconfigurations") => {
            list(&[configuration("tagwarden", "one"), configuration("other", "two")])
        }
        _ if path.ends_with("s") => list(&[]),
        _ => absent(),
    };
    let ran = run(&[], several).await;
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("choose one by --name and --namespace: other in two, tagwarden in one"),
        "{}",
        ran.stderr
    );
    let ran = run(&["--name", "none"], several).await;
    assert!(ran.code == 2 && ran.stderr.contains("there is no such release; there are: other in two"), "{ran:?}");
    let ran = run(&["--namespace", "two", "--format", "json"], several).await;
    assert_eq!(ran.json()["release"], json!({"name": "other", "namespace": "two"}), "{ran:?}");
    assert_eq!(ran.code, 1, "the rest of it is gone");
}

/// Whoever may read nothing is told so of every check that needs it, and gets no `ok`.
#[tokio::test]
async fn what_may_not_be_read_is_never_well() {
    let only_configurations = |path: &str| match path {
        "/version" => version(),
        _ if path.starts_with(ADMISSION) => list(&[configuration("tagwarden", "tagwarden")]),
        _ => forbidden(),
    };
    let ran = run(&["--format", "json"], only_configurations).await;
    assert_eq!(ran.code, 1, "webhooks are missing, and that weighs more than what could not be checked: {ran:?}");
    let report = ran.json();
    let lines = report["checks"].as_array().unwrap();
    let level = |check: &str| {
        let of = lines.iter().filter(|line| line["check"] == check);
        of.map(|line| line["level"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for check in
        ["service", "replicas", "configuration", "policies", "permissions", "registries", "infrastructure", "review"]
    {
        assert_eq!(level(check), ["unknown"], "{check}: {report}");
    }
    assert_eq!(level("api-server"), ["ok"]);
    let unknown: Vec<&Value> = lines.iter().filter(|line| line["code"] == "unread").collect();
    assert!(
        unknown.iter().all(|line| line["message"].as_str().unwrap().starts_with("could not be checked: ")),
        "{report}"
    );
    assert!(unknown.iter().all(|line| line["remedy"].as_str().unwrap().contains("cluster admin")), "{report}");

    let nothing = |path: &str| if path == "/version" { version() } else { forbidden() };
    let ran = run(&[], nothing).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("cannot look for an installation of tagwarden: eve may not"), "{}", ran.stderr);
}

/// Exit code 3 alone: all that is found is that something may not be read.
#[tokio::test]
async fn a_check_that_could_not_be_done_is_exit_code_3() {
    let named = |path: &str| {
        let deployment = json!({"metadata": {"name": "tagwarden", "namespace": "tagwarden"}});
        match path {
            "/version" => version(),
            "/apis/apps/v1/deployments" => list(&[deployment]),
            _ => forbidden(),
        }
    };
    let ran = run(&[], named).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("unknown  configurations: could not be checked: cannot read "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n         do: run doctor as somebody who may read it"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("that could not be done\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("problem  "), "{}", ran.stdout);
}

/// A configuration as the chart has it, with the bundle of an authority.
fn shipped(text: &str, bundle: &str) -> Value {
    let (documents, problems) = parse(&Source::new("f", text));
    assert_eq!(problems, []);
    let mut configuration = documents[0].root.to_json();
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"]["caBundle"] = STANDARD.encode(bundle).into();
    }
    configuration
}

/// A cluster in which nothing is wrong, with these paths answered otherwise.
fn healthy(otherwise: &[(&str, (u16, Value))]) -> impl Fn(&str, &Value) -> (u16, Value) + Clone + Send + 'static {
    let authority = Authority::new("ours", now(), 365 * 86_400).unwrap();
    let served = authority.server(&["tagwarden.tagwarden.svc".to_owned()], now(), 90 * 86_400).unwrap().cert;
    let labels = json!({"app.kubernetes.io/name": "tagwarden"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"serviceAccountName": "tagwarden"}});
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let pod = |name: &str| json!({"metadata": {"name": name, "labels": labels}, "status": ready});
    let endpoint = |name: &str| json!({"targetRef": {"name": name}, "conditions": {"ready": true}});
    let validating = shipped(include_str!("../cluster/webhooks/validating.yaml"), authority.pem());
    let mutating = shipped(include_str!("../cluster/webhooks/mutating.yaml"), authority.pem());
    let inside = |path: &str| path.replace("{}", "namespaces/tagwarden");
    let mut answers: BTreeMap<String, (u16, Value)> = [
        ("/version", version()),
        (&format!("{ADMISSION}/validatingwebhookconfigurations"), list(&[validating])),
        (&format!("{ADMISSION}/mutatingwebhookconfigurations"), list(&[mutating])),
        ("/api/v1/namespaces", list(&[json!({"metadata": {"name": "default"}})])),
        (
            "/api/v1/{}/configmaps/tagwarden-config",
            (200, json!({"data": {"config.yaml": "policies: {maxMode: enforce}\n"}})),
        ),
        (
            "/apis/apps/v1/{}/deployments/tagwarden",
            (
                200,
                json!({"metadata": {"name": "tagwarden", "namespace": "tagwarden"},
                    "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}}),
            ),
        ),
        ("/api/v1/{}/services/tagwarden", (200, json!({"spec": {"selector": labels, "ports": [{"port": 443}]}}))),
        ("/apis/discovery.k8s.io/v1/{}/endpointslices", list(&[json!({"endpoints": [endpoint("a"), endpoint("b")]})])),
        ("/apis/policy/v1/{}/poddisruptionbudgets", list(&[json!({"spec": {"selector": {"matchLabels": labels}}})])),
        ("/api/v1/{}/pods", list(&[pod("a"), pod("b")])),
        ("/api/v1/namespaces/default/pods", (201, json!({"kind": "Pod"}))),
    ]
    .map(|(path, answer)| (inside(path), answer))
    .into();
    answers.extend(otherwise.iter().map(|(path, answer)| (inside(path), answer.clone())));
    let dry_runs = Arc::new(AtomicUsize::new(0));
    move |path, body| {
        if path == "/api/v1/namespaces/default/pods" {
            dry_runs.fetch_add(1, Ordering::Relaxed);
        }
        match (answers.get(path), path.rsplit_once("/proxy/").map(|(_, page)| page)) {
            (Some(answer), _) => answer.clone(),
            (None, Some("readyz")) => (200, json!("[+]policies ok\nok\n")),
            (None, Some("certificate")) => (200, json!(served)),
            (None, Some("metrics")) => {
                let heard = dry_runs.load(Ordering::Relaxed);
                let metrics = format!(
                    "tagwarden_policy_info{{policy=\"acme\",hash=\"0123\"}} 1\n\
                     tagwarden_build_info{{version=\"0.1.0\"}} 1\n\
                     tagwarden_admission_requests_total{{endpoint=\"validate\",dry_run=\"true\"}} {heard}\n"
                );
                (200, json!(metrics))
            }
            (None, None) if path.ends_with("/subjectaccessreviews") => {
                let asked = &body["spec"]["resourceAttributes"];
                let right = |key: &str| asked[key].as_str().unwrap().to_owned();
                let surprising = ["list secrets", "create pods", "create clusterrolebindings"].contains(&&*format!(
                    "{} {}",
                    right("verb"),
                    right("resource")
                ));
                (201, json!({"status": {"allowed": !surprising && right("verb") != "delete"}}))
            }
            _ if path.starts_with("/apis/apps/v1/") => list(&[]),
            _ => absent(),
        }
    }
}

/// Exit code 0: everything was looked at. A problem is 1, also where something else could not be checked.
#[tokio::test]
async fn a_healthy_installation_is_exit_code_0_and_a_problem_weighs_more_than_what_is_unknown() {
    let budgets = ("/apis/policy/v1/{}/poddisruptionbudgets", forbidden());
    let service = ("/api/v1/{}/services/tagwarden", absent());
    for (otherwise, code, levels) in [
        (&[][..], 0, &[][..]),
        (std::slice::from_ref(&budgets), 3, &["unknown"]),
        (std::slice::from_ref(&service), 1, &["problem"]),
        (&[budgets.clone(), service.clone()], 1, &["problem", "unknown"]),
    ] {
        let ran = run_with_bodies(&["--format", "json"], healthy(otherwise)).await;
        let report = ran.json();
        let mut seen: Vec<&str> =
            report["checks"].as_array().unwrap().iter().map(|line| line["level"].as_str().unwrap()).collect();
        seen.retain(|level| *level != "ok");
        seen.sort_unstable();
        assert_eq!((ran.code, seen.as_slice()), (code, levels), "{report:#}");
    }
}

/// A replica that is not ready answers with a status that clients of Kubernetes like to ask about again.
#[tokio::test]
async fn a_replica_that_is_not_ready_is_asked_once() {
    let labels = json!({"app.kubernetes.io/name": "tagwarden"});
    let template = json!({"metadata": {"labels": labels}, "spec": {}});
    let deployment = json!({"metadata": {"name": "tagwarden", "namespace": "tagwarden"},
        "spec": {"selector": {"matchLabels": labels}, "template": template}});
    let pod = json!({"metadata": {"name": "p", "labels": labels}});
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move |path: &str| match path {
        "/version" => version(),
        "/apis/apps/v1/deployments" => list(std::slice::from_ref(&deployment)),
        "/apis/apps/v1/namespaces/tagwarden/deployments/tagwarden" => (200, deployment.clone()),
        "/api/v1/namespaces/tagwarden/pods" => list(std::slice::from_ref(&pod)),
        "/api/v1/namespaces/tagwarden/pods/p:8080/proxy/readyz" => {
            count.fetch_add(1, Ordering::Relaxed);
            (503, json!("[-]policies not ready"))
        }
        _ => absent(),
    };
    let ran = run(&[], answer).await;
    assert_eq!((ran.code, asked.load(Ordering::Relaxed)), (1, 1), "{ran:?}");
    assert!(ran.stdout.contains("p is not ready: "), "{}", ran.stdout);
}

#[tokio::test]
async fn an_api_server_that_is_away_is_told_at_once() {
    let scene = Scene::new(&[("kubeconfig", &kubeconfig(nobody().await))]);
    let mut command = scene.command(&["doctor"]);
    command.env("KUBECONFIG", scene.path().join("kubeconfig")).env_remove("KUBERNETES_SERVICE_HOST");
    let ran = Ran::from(command.output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("the API server cannot be asked") && ran.stderr.contains("--context"),
        "{}",
        ran.stderr
    );
    let help = scene.run(&["doctor", "--help"]).stdout;
    assert!(help.contains("3 something could not be checked"), "{help}");
}

/// docs/doctor.md and the table of causes say the same.
#[test]
fn every_cause_is_documented_with_its_remedy() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).unwrap();
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').splitn(4, " | ").map(str::trim).collect())
        .collect();
    let causes = tagwarden::cli::causes();
    for cause in causes {
        let code = format!("`{}`", cause.code);
        let row = rows.iter().find(|row| row[0] == code).unwrap_or_else(|| panic!("docs/doctor.md: no row for {code}"));
        let remedy = cause.remedy.replace("{namespace}", "tagwarden").replace("{name}", "tagwarden");
        assert_eq!((row[1], row[3]), (cause.level.name(), remedy.as_str()), "{code}");
        assert!(row[2].len() > 10, "{code}: say what was seen");
    }
    assert_eq!(rows.len(), causes.len(), "docs/doctor.md has a row for what is no cause");
    let tests = include_str!("../../src/cli/doctor/checks/tests.rs");
    let untested: Vec<_> = causes.iter().filter(|cause| !tests.contains(&format!(": {}: ", cause.code))).collect();
    assert!(untested.is_empty(), "no test of the checks finds: {untested:?}");
}
