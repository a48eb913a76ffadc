//! Two tenants with different pull secrets for one registry never see each other's results.

use crate::harness::{Bed, Kubectl, PATIENCE, until_true};
use crate::objects::{pod, with};
use crate::pins::{identity, policy};
use crate::registries::real::{Access, Flavour, PASSWORD, Registry, image};
use serde_json::{Value, json};
use std::thread;
use tempfile::TempDir;

fn secret(dana: &Kubectl, name: &str, config: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config},
    });
    dana.create(&secret).accepted();
}

fn pulling(name: &str, image: &str, secret: &str) -> Value {
    with(pod(name, image), "/spec/imagePullSecrets", json!([{"name": secret}]))
}

#[test]
fn a_result_had_with_one_tenants_secret_answers_no_other() {
    let folder = TempDir::new().unwrap();
    let mut registry = Registry::start(Flavour::Debian, &Access::Open, &identity(), folder.path());
    let digest = registry.push("acme/api", "v1.0.0", &image(&[("build", "1")]));
    registry.restrict(&Access::Basic);
    let host = registry.host();
    let config = format!(
        "registries: [{{host: \"{host}\", private: true, ca: {}}}]\npullSecrets: {{enabled: true}}\n",
        registry.authority().display()
    );
    let bed = Bed::named("tenants").policy("pins.yaml", &policy(&host, "pin: pods")).config(&config).start();
    let dana = bed.dana();
    secret(&dana, "right", &registry.docker_config("alice", PASSWORD));
    secret(&dana, "wrong", &registry.docker_config("alice", "guessed"));
    secret(&dana, "unreadable", "{\"auths\": 5}");
    let image = format!("{host}/acme/api:v1.0.0");

    dana.create(&pulling("first", &image, "right")).accepted();
    let stored = dana.get("pod/first").unwrap();
    assert_eq!(stored["spec"]["containers"][0]["image"], format!("{image}@{digest}"));
    // What the first has learned is remembered, and is nobody else's.
    thread::scope(|scope| {
        for round in 0..4 {
            let (dana, image) = (&dana, &image);
            scope.spawn(move || {
                dana.create(&pulling(&format!("other-{round}"), image, "wrong"))
                    .refused()
                    .says("TW901")
                    .says("pull secret tenants/wrong");
                dana.create(&pod(&format!("nobody-{round}"), image)).refused().says("TW901");
                dana.create(&pulling(&format!("same-{round}"), image, "right")).accepted();
            });
        }
    });
    dana.create(&pulling("broken", &image, "unreadable"))
        .refused()
        .says("TW901")
        .says("pull secret tenants/unreadable (key .dockerconfigjson)")
        .does_not_say("auths\": 5");
    // What was logged before is out when this is.
    bed.server.logs("pull secret tenants/unreadable (key .dockerconfigjson)");
    assert!(!bed.server.log().contains(PASSWORD) && !bed.server.log().contains("guessed"));
}

#[test]
fn a_service_accounts_secret_serves_pods_that_name_none() {
    let folder = TempDir::new().unwrap();
    let mut registry = Registry::start(Flavour::Three, &Access::Open, &identity(), folder.path());
    registry.push("acme/api", "v1.0.0", &image(&[("build", "1")]));
    registry.restrict(&Access::Basic);
    let host = registry.host();
    let config = format!(
        "registries: [{{host: \"{host}\", private: true, ca: {}}}]\npullSecrets: {{enabled: true}}\n",
        registry.authority().display()
    );
    let bed = Bed::named("accounts").policy("pins.yaml", &policy(&host, "pin: pods")).config(&config).start();
    let dana = bed.dana();
    secret(&dana, "right", &registry.docker_config("alice", PASSWORD));
    let admin = bed.admin();
    until_true("the namespace's service account", PATIENCE, || admin.get("serviceaccount/default").is_some());
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"},
        "imagePullSecrets": [{"name": "right"}],
    });
    admin.create(&account).accepted();
    let image = format!("{host}/acme/api:v1.0.0");
    dana.create(&pod("nobody", &image)).refused().says("TW901");
    let with_account = with(pod("puller", &image), "/spec/serviceAccountName", json!("puller"));
    dana.create(&with_account).accepted();
}
