//! `tagwarden doctor` as far as it comes without a real cluster: nobody there, nothing installed, nothing that may be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api_double::{kubeconfig, nobody, serve};
use crate::cli_support::{Ran, Scene};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Runs doctor against an API server that answers by this function of the path.
async fn run(arguments: &[&str], answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kubeconfig(listener.local_addr().unwrap());
    let served = serve(listener, move |request| std::future::ready(answer(request.uri().path())));
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
