//! Files that change while the server runs and while it is asked: good ones take effect, bad ones change nothing.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hyper::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::https_support::{
    Connection, PROTOCOLS, RELEASES, Server, Setup, client_tls, pod_review, response_of, server_pair, tls_connect,
    until, write_pair,
};

/// Lets anything in.
fn anything() -> String {
    RELEASES.replace("tags: [release]", "tags: [floating, latest, release]").replace("name: releases", "name: anything")
}

/// Asks over both protocols, kept connections and new ones, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU32>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(server: &Server) -> Self {
        let mut load = Load { stop: Arc::default(), answers: Arc::default(), clients: JoinSet::new() };
        for protocol in [&b"h2"[..], b"http/1.1"] {
            for kept in [true, false] {
                let (address, config) = (server.webhook, client_tls(server.authority.pem(), None, &[protocol]));
                let (stop, answers) = (Arc::clone(&load.stop), Arc::clone(&load.answers));
                load.clients.spawn(async move {
                    let review = pod_review("shop", "nginx:latest");
                    let mut connection = Connection::open(address, config.clone()).await.unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        if !kept {
                            connection = Connection::open(address, config.clone()).await.unwrap();
                        }
                        let answer = connection.post("/validate", review.to_string()).await.unwrap();
                        assert_eq!(answer.status(), StatusCode::OK);
                        response_of(&answer, &review);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        load
    }

    /// Waits until some more were answered.
    async fn goes_on(&self) {
        let before = self.answers.load(Ordering::Relaxed);
        until("more answers", async || (self.answers.load(Ordering::Relaxed) >= before + 20).then_some(())).await;
    }

    /// Every call was answered.
    async fn lost_nothing(mut self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a call failed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_policy_takes_effect_under_load_and_no_call_fails() {
    let server = Setup::default().start();
    let load = Load::on(&server);
    load.goes_on().await;
    assert!(!server.allows("nginx:latest").await);
    server.write("policies/p.yaml", &anything());
    until("the new policy decides", async || server.allows("nginx:latest").await.then_some(())).await;
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("tagwarden_policy_info{hash=") && metrics.contains("policy=\"anything\""));
    assert!(!metrics.contains("policy=\"releases\",hash"), "the old one is gone");
    load.lost_nothing().await;
}

#[tokio::test]
async fn row_56_a_bad_new_policy_changes_nothing_and_is_told() {
    let server = Setup::default().start();
    assert_eq!(server.metric("tagwarden_policy_last_reload_successful").await, Some(1.0));
    for bad in ["spec: [", &RELEASES.replace("enforce", "enforced"), &RELEASES.replace("rules", "rulez"), ""] {
        server.write("policies/p.yaml", bad);
        until("the refusal is told", async || {
            (server.metric("tagwarden_policy_last_reload_successful").await? == 0.0).then_some(())
        })
        .await;
        assert!(!server.allows("nginx:latest").await && server.allows("nginx:v1.2.3").await, "the old one decides");
        let (status, verbose) = server.get("/readyz?verbose").await;
        assert_eq!(status, StatusCode::OK, "still ready");
        assert!(verbose.contains("error: "), "{verbose}");
        server.write("policies/p.yaml", RELEASES);
        until("the good one is in force", async || {
            (server.metric("tagwarden_policy_last_reload_successful").await? == 1.0).then_some(())
        })
        .await;
    }
    let line = server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("rulez")));
    assert!(line["problem"].as_str().unwrap().contains("did you mean 'rules'?"), "{line}");
    // Not even a directory that is gone is "no policies, allow all".
    std::fs::remove_dir_all(server.path("policies")).unwrap();
    until("the refusal is told", async || {
        (server.metric("tagwarden_policy_last_reload_successful").await? == 0.0).then_some(())
    })
    .await;
    assert!(!server.allows("nginx:latest").await);
}

#[tokio::test]
async fn policies_behind_swapped_symlinks_are_seen() {
    let config = "policies: {allowEmpty: true, noPolicy: deny}\n";
    let server = Setup { policies: Vec::new(), ..Setup::config(config) }.start();
    let root = server.path("policies");
    for (version, text) in [("..1", RELEASES.to_owned()), ("..2", anything())] {
        std::fs::create_dir(root.join(version)).unwrap();
        std::fs::write(root.join(version).join("p.yaml"), text).unwrap();
    }
    assert!(!server.allows("nginx:v1.2.3").await, "no policy, and noPolicy: deny");
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/p.yaml", root.join("p.yaml")).unwrap();
    until("the first version", async || server.allows("nginx:v1.2.3").await.then_some(())).await;
    assert!(!server.allows("nginx:latest").await);
    symlink("..2", root.join("..new")).unwrap();
    std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
    until("the second version", async || server.allows("nginx:latest").await.then_some(())).await;
}

#[tokio::test]
async fn the_configuration_reloads_but_for_what_needs_a_restart() {
    let server = Setup::config("policies: {maxMode: enforce}\n").start();
    assert!(!server.allows("nginx:latest").await);
    assert_eq!(server.metric("tagwarden_configuration_last_reload_successful").await, Some(1.0));
    server.write("config.yaml", "policies: {maxMode: audit}\nlimits: {bodyBytes: 10}\n");
    until("maxMode is audit", async || server.allows("nginx:latest").await.then_some(())).await;
    server.log.wait(|line| line["key"] == "limits");
    server.write("config.yaml", "policies: {maxMode: enforces}\n");
    server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("enforces")));
    let metric = "tagwarden_configuration_last_reload_successful";
    until("the refusal is told", async || (server.metric(metric).await? == 0.0).then_some(())).await;
    assert!(server.allows("nginx:latest").await, "the old one stays in force");
    server.write("config.yaml", "policies: {maxMode: enforce}\n");
    until("maxMode is enforce", async || (!server.allows("nginx:latest").await).then_some(())).await;
    until("that is told", async || (server.metric(metric).await? == 1.0).then_some(())).await;
}

#[tokio::test]
async fn a_configuration_that_the_policies_refuse_is_taken_when_they_no_longer_do() {
    let selects = RELEASES.replace("spec: {", "spec: {namespaces: {selector: {matchLabels: {environment: prod}}}, ");
    let setup = Setup::config("trustedNamespaceLabels: [environment]\n");
    let server = Setup { policies: vec![("p.yaml", selects)], ..setup }.start();
    assert!(!server.allows("nginx:latest").await);
    server.write("config.yaml", "policies: {maxMode: audit}\n");
    until("the refusal is told", async || {
        (server.metric("tagwarden_policy_last_reload_successful").await? == 0.0).then_some(())
    })
    .await;
    assert!(!server.allows("nginx:latest").await, "not taken: a policy uses a label that it does not trust");
    server.write("policies/p.yaml", RELEASES);
    until("the configuration is taken", async || server.allows("nginx:latest").await.then_some(())).await;
}

/// The certificate that a new connection sees.
async fn served(server: &Server) -> Vec<u8> {
    let stream = tls_connect(server.webhook, server.tls(&[b"http/1.1"])).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_swapped_under_load_and_no_call_fails() {
    let server = Setup::default().start();
    let load = Load::on(&server);
    let mut before = served(&server).await;
    for _ in 0..3 {
        load.goes_on().await;
        write_pair(server.directory.path(), &server_pair(&server.authority, 86_400));
        before = until("the new certificate", async || {
            let now = served(&server).await;
            (now != before).then_some(now)
        })
        .await;
    }
    load.lost_nothing().await;
}

#[tokio::test]
async fn a_bad_new_certificate_keeps_the_old_one() {
    let server = Setup::default().start();
    let before = served(&server).await;
    let other = server_pair(&server.authority, 86_400);
    for (name, text) in [("tls.key", other.key.as_str()), ("tls.crt", "no certificate"), ("tls.crt", "")] {
        server.write(name, text);
        until("the refusal is told", async || {
            (server.metric("tagwarden_certificate_last_reload_successful").await? == 0.0).then_some(())
        })
        .await;
        assert_eq!(served(&server).await, before);
    }
    server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("does not fit")));
    write_pair(server.directory.path(), &other);
    until("the good one is in use", async || (served(&server).await != before).then_some(())).await;
    assert_eq!(server.metric("tagwarden_certificate_last_reload_successful").await, Some(1.0));
}

/// `doctor` compares it with the live caBundle.
#[tokio::test]
async fn the_health_port_tells_the_certificate_that_new_connections_see() {
    let server = Setup::default().start();
    let told = async || {
        let (status, pem) = server.get("/certificate").await;
        assert_eq!(status, StatusCode::OK, "{pem}");
        tagwarden::certs::chain(pem.as_bytes())[0].to_vec()
    };
    let before = served(&server).await;
    assert_eq!(told().await, before);
    write_pair(server.directory.path(), &server_pair(&server.authority, 86_400));
    until("the new certificate", async || (served(&server).await != before).then_some(())).await;
    assert_eq!(told().await, served(&server).await);
}

/// The Secret that cert-manager writes, as kubelet mounts it: files behind a link that is swapped in one step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_54_a_mounted_secret_that_changes_is_taken_under_load_and_no_call_fails() {
    let server = Setup::default().start();
    let root = server.directory.path();
    let mount = |version: &str| {
        std::fs::create_dir(root.join(version)).unwrap();
        write_pair(&root.join(version), &server_pair(&server.authority, 86_400));
        symlink(version, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let load = Load::on(&server);
    mount("..1");
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), root.join(".link")).unwrap();
        std::fs::rename(root.join(".link"), root.join(name)).unwrap();
    }
    let mounted = |version: &str| {
        let pem = std::fs::read(root.join(version).join("tls.crt")).unwrap();
        CertificateDer::from_pem_slice(&pem).unwrap().to_vec()
    };
    for version in ["..1", "..2", "..3"] {
        if version != "..1" {
            mount(version);
        }
        let wanted = mounted(version);
        until("the mounted certificate", async || (served(&server).await == wanted).then_some(())).await;
        load.goes_on().await;
    }
    load.lost_nothing().await;
}

#[tokio::test]
async fn row_53_a_certificate_about_to_end_makes_it_not_ready_and_a_new_one_ready() {
    let setup = Setup { certificate_lifetime: tagwarden::server::EXPIRY_MARGIN, ..Setup::default() };
    let server = setup.start();
    let (status, said) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]certificate"), "{said}");
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    for protocol in PROTOCOLS {
        let response: Value =
            server.connection(protocol).await.review("/validate", &pod_review("shop", "nginx:v1.2.3")).await;
        assert_eq!(response["allowed"], true, "it still serves");
    }
    let end = server.metric("tagwarden_certificate_expiry_timestamp_seconds").await.unwrap();
    write_pair(server.directory.path(), &server_pair(&server.authority, 86_400));
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
    assert!(server.metric("tagwarden_certificate_expiry_timestamp_seconds").await.unwrap() > end);
}
