//! `/mutate` over HTTPS: the shape of its answers, and that it denies nothing whatever becomes of a registry.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::https_support::{PROTOCOLS, Setup, pod, pod_review, review};

/// Pins what it lets in from a registry that is at `host`.
fn pinning(host: &str, mode: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {{name: pins}}
spec: {{mode: {mode}, rules: [{{name: acme, images: [\"{host}/acme/**\"], tags: [release], pin: pods}}]}}
"
    )
}

/// A host where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("localhost:{}", listener.local_addr().unwrap().port())
}

fn setup(host: &str, mode: &str) -> Setup {
    let config = format!("registries: [{{host: \"{host}\", private: true}}]\nmutation: {{owners: []}}\n");
    Setup { policies: vec![("p.yaml", pinning(host, mode))], ..Setup::config(&config) }
}

fn untouched(response: &Value) {
    assert_eq!(response["allowed"], true, "{response}");
    for absent in ["patch", "patchType", "status", "auditAnnotations"] {
        assert!(response.get(absent).is_none(), "{absent} in {response}");
    }
}

#[tokio::test]
async fn row_02_an_answer_without_a_patch_has_no_patch_type_either() {
    let host = nobody();
    let server = setup(&host, "enforce").start();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let deployment = {
        let mut review = pod_review("shop", "x");
        review["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        review["request"]["object"] = json!({"spec": {"template": pod(&format!("{host}/acme/api:v1.4.2"))}});
        review
    };
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        for review in [
            &pod_review("shop", &format!("{host}/acme/api:edge")),
            &pod_review("shop", &format!("{host}/acme/api:v1.4.2@{digest}")),
            &pod_review("shop", "elsewhere.example.com/acme/api:v1.4.2"),
            &pod_review("shop", "not an image"),
            &review("UPDATE", "shop", &pod("a:1"), &pod("a:1")),
            &deployment,
        ] {
            let response = connection.review("/mutate?timeout=5s", review).await;
            untouched(&response);
            assert!(response.get("warnings").is_none(), "{response}");
        }
    }
}

/// Row 65: pinning fails, and the verdict is right all the same.
#[tokio::test]
async fn row_65_a_registry_that_is_away_denies_nothing_here_and_is_told_of() {
    let host = nobody();
    let image = pod_review("shop", &format!("{host}/acme/api:v1.4.2"));
    for (mode, admitted, warned) in [("enforce", false, true), ("warn", true, true), ("audit", true, false)] {
        let server = setup(&host, mode).start();
        let mut connection = server.http1().await;
        let response = connection.review("/mutate?timeout=2s", &image).await;
        untouched(&response);
        let warnings = response["warnings"].to_string();
        assert_eq!(warnings.contains("left as written") && warnings.contains("TW90"), warned, "{mode} {warnings}");
        assert_eq!(connection.review("/validate?timeout=2s", &image).await["allowed"], admitted, "{mode}");
        let line = server.log.wait(|line| line["message"] == "decision" && line["endpoint"] == "mutate");
        assert_eq!(line["decision"], "allow");
    }
}

#[tokio::test]
async fn an_image_that_lost_its_digest_gets_it_back_while_the_registry_is_away() {
    let host = nobody();
    let server = setup(&host, "enforce").start();
    let written = format!("{host}/acme/api:v1.4.2");
    let pinned = format!("{written}@sha256:{}", "ab".repeat(32));
    let response =
        server.http1().await.review("/mutate", &review("UPDATE", "shop", &pod(&written), &pod(&pinned))).await;
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    use base64::Engine as _;
    let patch = base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let images = json!({"containers/api": written}).to_string();
    assert_eq!(
        patch,
        json!([
            {"op": "replace", "path": "/spec/containers/0/image", "value": pinned},
            {"op": "add", "path": "/metadata/annotations", "value": {"tagwarden.dev/images": images}},
        ])
    );
    assert!(response.get("warnings").is_none());
}
