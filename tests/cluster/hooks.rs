//! What the chart's hooks run: webhook configurations deleted before an uninstall, and the test of an installation.

use crate::harness::{
    Authority, Bed, CallPath, Cluster, PATIENCE, Registration, Server, ServerOptions, User, Webhooks, program,
    until_true,
};
use crate::objects::{BAD, BASIC, TIGHTENED, pod};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// How a hook ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What a hook's Pod has mounted: the server's configuration, and the policies that it names.
struct Mounts {
    folder: PathBuf,
}

impl Mounts {
    /// The configuration names the webhook configurations of this namespace's bed, and ends with `more`.
    fn new(cluster: &Cluster, namespace: &str, policy: &str, more: &str) -> Self {
        let folder = cluster.folder(&format!("{namespace}-hook"));
        let policies = folder.join("policies");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("basic.yaml"), policy).unwrap();
        let config = format!(
            "policies: {{dirs: [\"{}\"]}}\nwebhooks: {{validating: {namespace}, mutating: {namespace}}}\n{more}",
            policies.display()
        );
        fs::write(folder.join("config.yaml"), config).unwrap();
        Mounts { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.yaml")
    }
}

fn hook(cluster: &Cluster, user: User, name: &str, config: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(program())
        .args(["hook", name, "--config"])
        .arg(config)
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig(user))
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `hook test` against the server at this address: no cluster IP can be reached here.
fn test_at(cluster: &Cluster, address: SocketAddr, mounts: &Mounts, timeout: &str) -> Ran {
    let arguments = ["--timeout", timeout, "--address", &address.to_string()];
    hook(cluster, User::Admin, "test", &mounts.config(), &arguments)
}

impl Ran {
    #[track_caller]
    fn passed(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stdout.contains("failed"), "{self:?}");
        self
    }

    /// Failed with this line, or a line that begins so.
    #[track_caller]
    fn failed(self, line: &str) -> Self {
        assert_eq!(self.code, Some(2), "{self:?}");
        let begins = format!("failed  {line}");
        assert!(self.stdout.lines().any(|said| said.starts_with(&begins)), "does not say {line:?}: {self:?}");
        self
    }
}

fn configurations(cluster: &Cluster, name: &str) -> usize {
    let admin = cluster.as_user(User::Admin);
    let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
    kinds.iter().filter(|kind| admin.get(&format!("{kind}/{name}")).is_some()).count()
}

#[test]
fn pre_delete_frees_the_cluster_of_a_server_that_goes_away() {
    let mut bed = Bed::named("pre-delete").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let mounts = Mounts::new(bed.cluster, "pre-delete", BASIC, "");
    bed.server.kill();
    bed.dana().create(&pod("p", BAD)).refused().says("failed calling webhook");

    let ran = hook(bed.cluster, User::Admin, "pre-delete", &mounts.config(), &[]).passed();
    assert_eq!(
        ran.stdout,
        "ok      ValidatingWebhookConfiguration 'pre-delete' is deleted\n\
         ok      MutatingWebhookConfiguration 'pre-delete' is deleted\n"
    );
    assert_eq!(configurations(bed.cluster, "pre-delete"), 0);
    // The API server learns of it by its own watch.
    until_true("Pods to be created without us", PATIENCE, || bed.dana().create(&pod("p", BAD)).succeeded());

    let again = hook(bed.cluster, User::Admin, "pre-delete", &mounts.config(), &[]).passed();
    assert_eq!(
        again.stdout,
        "ok      ValidatingWebhookConfiguration 'pre-delete' was not there\n\
         ok      MutatingWebhookConfiguration 'pre-delete' was not there\n"
    );
}

#[test]
fn pre_delete_names_what_it_may_not_do() {
    let bed = Bed::named("pre-delete-forbidden").policy("basic.yaml", BASIC).start();
    let mounts = Mounts::new(bed.cluster, "pre-delete-forbidden", BASIC, "");
    let ran = hook(bed.cluster, User::Dana, "pre-delete", &mounts.config(), &["--timeout", "1s"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for kind in ["Validating", "Mutating"] {
        let line = format!("failed  may not delete the {kind}WebhookConfiguration 'pre-delete-forbidden': ");
        assert!(ran.stdout.contains(&line), "{ran:?}");
    }
    assert_eq!(configurations(bed.cluster, "pre-delete-forbidden"), 2);
}

#[test]
fn the_test_passes_where_the_server_judges_by_the_mounted_policies() {
    let bed = Bed::named("hook-test").policy("basic.yaml", BASIC).call(CallPath::Service).start();
    let mounts = Mounts::new(bed.cluster, "hook-test", BASIC, "");
    let address = bed.server.webhook();
    let ran = test_at(bed.cluster, address, &mounts, "10s").passed();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let [configuration, policies, webhooks, bundle, service, review] = lines[..] else { panic!("{ran:?}") };
    assert!(configuration.starts_with("ok      configuration: ") && configuration.ends_with("config.yaml compiles"));
    assert!(policies.starts_with("ok      policies: 1 compile, hash "), "{policies}");
    assert_eq!(webhooks, "ok      webhook configuration: 'hook-test' is there, its webhooks: 2");
    assert_eq!(bundle, "ok      caBundle: its authorities: 1");
    let name = "tagwarden.hook-test.svc";
    assert_eq!(service, format!("ok      Service hook-test/tagwarden: TLS with {address} as {name}"));
    // The policy knows nothing of the image that is asked about.
    assert_eq!(review, "ok      review: answered 'deny', judged by these policies");
    assert_eq!(ran.stderr, "");
    // It was a review like any other, and a dry run.
    bed.server.logs("tagwarden:hook:test");
    let log = bed.server.log();
    let judged = log.lines().find(|line| line.contains("tagwarden:hook:test")).unwrap();
    assert!(judged.contains("\"dry_run\":true") && judged.contains("tagwarden/helm-test:v1.0.0"), "{judged}");

    // This bed's Service is another name for a host.
    hook(bed.cluster, User::Admin, "test", &mounts.config(), &["--timeout", "1s"])
        .failed("the Service hook-test/tagwarden has no cluster IP; ");
    // Dana may read Services of her namespaces, and no webhook configurations.
    hook(bed.cluster, User::Dana, "test", &mounts.config(), &["--timeout", "1s"])
        .failed("may not read the ValidatingWebhookConfiguration 'hook-test': ");
}

#[test]
fn the_test_fails_on_a_registration_that_cannot_work() {
    let bed = Bed::named("hook-test-bundle").policy("basic.yaml", BASIC).call(CallPath::Service).start();
    let mounts = Mounts::new(bed.cluster, "hook-test-bundle", BASIC, "");
    let address = bed.server.webhook();
    test_at(bed.cluster, address, &mounts, "10s").passed();

    let other = Authority::new("other-ca");
    bed.webhooks.apply(&Registration {
        namespace: "hook-test-bundle",
        address,
        mutating: None,
        call: CallPath::Service,
        authorities: &other.pem,
        failure_policy: None,
        timeout: None,
        configured_kinds: None,
    });
    test_at(bed.cluster, address, &mounts, "1s")
        .failed(&format!("the certificate of {address} is of no authority in caBundle; "));

    let admin = bed.admin();
    let emptied = json!([{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]).to_string();
    let patch = ["patch", "validatingwebhookconfiguration", "hook-test-bundle", "--type=json", "--patch", &emptied];
    admin.run(&patch).accepted();
    test_at(bed.cluster, address, &mounts, "1s")
        .failed("webhook 'workloads.tagwarden.dev' of 'hook-test-bundle' has no caBundle; ");

    admin.run(&["delete", "validatingwebhookconfiguration", "hook-test-bundle"]).accepted();
    test_at(bed.cluster, address, &mounts, "1s")
        .failed("there is no ValidatingWebhookConfiguration 'hook-test-bundle'; ");
}

#[test]
fn the_test_waits_for_replicas_to_judge_by_the_mounted_policies() {
    let bed = Bed::named("hook-test-stale").policy("basic.yaml", BASIC).call(CallPath::Service).start();
    let mounts = Mounts::new(bed.cluster, "hook-test-stale", TIGHTENED, "");
    let address = bed.server.webhook();
    test_at(bed.cluster, address, &mounts, "1s").failed("the replicas judge by other policies: theirs have the hash ");

    thread::scope(|scope| {
        let tested = scope.spawn(|| test_at(bed.cluster, address, &mounts, "60s"));
        bed.server.change_policy("basic.yaml", TIGHTENED);
        tested.join().unwrap().passed();
    });
}

#[test]
fn where_only_the_api_server_may_ask_the_test_ends_with_tls() {
    let (cluster, namespace) = (Cluster::shared(), "hook-test-clients");
    cluster.create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    let clients = cluster.folder("hook-test-clients-ca").join("ca.crt");
    fs::write(&clients, Authority::new("client-ca").pem).unwrap();
    let client_ca = format!("tls: {{clientCA: \"{}\"}}\n", clients.display());
    let server = Server::ready(
        cluster,
        &ServerOptions {
            name: namespace,
            namespace,
            policies: &[("basic.yaml", BASIC)],
            config: Some(&client_ca),
            authority: &authority,
        },
    );
    let _webhooks = Webhooks::install(
        cluster,
        &Registration {
            namespace,
            address: server.webhook(),
            mutating: None,
            call: CallPath::Service,
            authorities: &authority.pem,
            failure_policy: None,
            timeout: None,
            configured_kinds: None,
        },
    );
    let mounts = Mounts::new(cluster, namespace, BASIC, &client_ca);
    let ran = test_at(cluster, server.webhook(), &mounts, "10s").passed();
    assert!(ran.stdout.contains("ok      Service hook-test-clients/tagwarden: TLS with "), "{ran:?}");
    assert!(ran.stdout.ends_with("ok      review: not sent, because 'tls.clientCA' lets only the API server ask\n"));

    // The server does refuse us.
    let config = fs::read_to_string(mounts.config()).unwrap();
    fs::write(mounts.config(), config.replace(&client_ca, "")).unwrap();
    test_at(cluster, server.webhook(), &mounts, "1s").failed("the review was not answered: ");
}
