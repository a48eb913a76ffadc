//! `tagwarden check --cluster` against a scripted API server: pages, versions that are gone, what may not be read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api_double::{kubeconfig, nobody, serve};
use crate::cli_support::{Ran, Scene};

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme}
spec:
  mode: enforce
  namespaces: {selector: {matchLabels: {tier: app}}}
  rules:
    - {images: [\"registry.example.com/acme/**\"], tags: [release]}
";

/// A scripted cluster: what each path answers, in order where it answers several things. Anything else is 404.
#[derive(Clone, Default)]
pub struct Script {
    answers: BTreeMap<String, Vec<(u16, Value)>>,
}

impl Script {
    /// A cluster with these namespaces, each labelled `tier: app`.
    pub fn of(namespaces: &[&str]) -> Self {
        let namespace = |name: &&str| json!({"metadata": {"name": name, "labels": {"tier": "app"}}});
        let items: Vec<Value> = namespaces.iter().map(namespace).collect();
        let mut script = Script::default().with("/api/v1/namespaces", list(&items));
        for path in ["/apis/apps/v1/deployments", "/apis/apps/v1/replicasets", "/api/v1/pods"] {
            script = script.with(path, list(&[]));
        }
        script
    }

    pub fn with(self, path: &str, object: Value) -> Self {
        self.answering(path, &[(200, object)])
    }

    pub fn answering(mut self, path: &str, answers: &[(u16, Value)]) -> Self {
        self.answers.insert(path.to_owned(), answers.to_vec());
        self
    }

    /// Runs `check --cluster` against it; gives also which paths were asked for, with their queries.
    async fn run(self, arguments: &[&str]) -> (Ran, Vec<String>) {
        self.run_in(&[("policies/acme.yaml", POLICY)], &[&["--offline"], arguments].concat()).await
    }

    /// The same with these files beside it, the policies among them.
    async fn run_in(self, files: &[(&str, &str)], arguments: &[&str]) -> (Ran, Vec<String>) {
        let scene = Scene::new(files);
        self.run_of(&scene, &[&["check", "--cluster", "--policies", "policies"], arguments].concat()).await
    }

    /// Runs the program in a scene, with a kubeconfig of this cluster.
    pub async fn run_of(self, scene: &Scene, arguments: &[&str]) -> (Ran, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = kubeconfig(listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(self.answers));
        let seen = Arc::clone(&asked);
        let served = serve(listener, move |request| {
            let uri = request.uri().clone();
            seen.lock().unwrap().push(uri.to_string());
            let mut answers = answers.lock().unwrap();
            let answer = match answers.get_mut(uri.path()) {
                Some(several) if several.len() > 1 => several.remove(0),
                Some(one) => one[0].clone(),
                None => (404, json!({"kind": "Status", "code": 404, "message": "no such thing"})),
            };
            std::future::ready(answer)
        });
        scene.write("kubeconfig", config.as_bytes());
        let mut command = scene.command(arguments);
        command.env("KUBECONFIG", scene.path().join("kubeconfig")).env_remove("KUBERNETES_SERVICE_HOST");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        served.abort();
        let asked = asked.lock().unwrap().clone();
        (Ran::from(output), asked)
    }
}

pub fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

/// A page of a list that is not the last.
fn page(items: &[Value], token: &str) -> Value {
    let mut list = list(items);
    list["metadata"]["continue"] = token.into();
    list
}

pub fn metadata(namespace: &str, name: &str, owner: Option<(&str, &str)>) -> Value {
    let owners: Vec<Value> = owner
        .into_iter()
        .map(|(kind, uid)| json!({"apiVersion": "apps/v1", "kind": kind, "name": uid, "uid": uid, "controller": true}))
        .collect();
    json!({"namespace": namespace, "name": name, "uid": name, "ownerReferences": owners})
}

pub fn template(namespace: &str, name: &str, owner: Option<(&str, &str)>, image: &str) -> Value {
    json!({"metadata": metadata(namespace, name, owner),
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

fn pod(namespace: &str, name: &str, owner: Option<(&str, &str)>, image: &str) -> Value {
    let digest = format!("sha256:{}", "a".repeat(64));
    json!({"metadata": metadata(namespace, name, owner), "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "main", "imageID": format!("x@{digest}")}]}})
}

/// A Deployment `bad` whose Pods were pinned and one, `good`, that is in order.
fn shop() -> Script {
    let bad = "registry.example.com/acme/api:latest";
    let pinned = format!("{bad}@sha256:{}", "a".repeat(64));
    let good = "registry.example.com/acme/api:v1.4.2";
    Script::of(&["shop"])
        .with(
            "/apis/apps/v1/deployments",
            list(&[template("shop", "bad", None, bad), template("shop", "good", None, good)]),
        )
        .with(
            "/apis/apps/v1/replicasets",
            list(&[
                template("shop", "bad-1", Some(("Deployment", "bad")), bad),
                template("shop", "good-1", Some(("Deployment", "good")), good),
            ]),
        )
        .with(
            "/api/v1/pods",
            list(&[
                pod("shop", "bad-1-x", Some(("ReplicaSet", "bad-1")), &pinned),
                pod("shop", "bad-1-y", Some(("ReplicaSet", "bad-1")), &pinned),
                pod("shop", "good-1-x", Some(("ReplicaSet", "good-1")), good),
            ]),
        )
}

#[tokio::test]
async fn what_would_be_refused_is_listed_by_its_owner_and_what_is_in_order_is_not() {
    let (ran, _) = shop().run(&[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        ran.stdout,
        "error[TW120]: latest is a floating tag; rule 1 accepts release (v1.2.3)\n\
         --> Deployment shop/bad\n \
         = help: policy acme, rule 1, mode enforce\n \
         = help: container \"main\", image registry.example.com/acme/api:latest: 2 Pods run it\n\n\
         checked 3 running Pods, 2 objects, 2 images: 1 denied, 0 warnings, 0 audited\n"
    );
    let (ran, _) = shop().run(&["--format", "json"]).await;
    let report = ran.json();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "one entry for the Deployment and its ReplicaSet: {report}");
    assert_eq!(findings[0]["object"], json!({"kind": "Deployment", "namespace": "shop", "name": "bad"}));
    assert_eq!(findings[0]["image"], "registry.example.com/acme/api:latest", "the template's, not the pinned one");
    assert_eq!((&findings[0]["pods"], &findings[0]["file"]), (&json!(2), &Value::Null));
    assert_eq!(report["summary"]["running"]["pods"], 3);
    let (ran, _) = shop().run(&["--exit-zero"]).await;
    assert_eq!(ran.code, 0);
}

#[tokio::test]
async fn every_format_tells_of_what_runs_though_no_file_has_it() {
    for (format, holds) in [
        ("table", &["Deployment shop/bad", "api:latest"][..]),
        ("sarif", &["Deployment shop/bad", "\"ruleId\": \"TW120\""]),
        ("junit", &["<testsuite name=\"cluster\" tests=\"2\"", "Deployment shop/bad", "Deployment shop/good"]),
        ("github", &["::error ", "Deployment shop/bad"]),
        ("gitlab", &["\"check_name\": \"TW120\"", "Deployment shop/bad"]),
        ("markdown", &["TW120", "Deployment shop/bad"]),
    ] {
        let (ran, _) = shop().run(&["--format", format]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{format}");
        holds.iter().for_each(|text| assert!(ran.stdout.contains(text), "{format}, {text}: {}", ran.stdout));
    }
}

#[tokio::test]
async fn what_is_for_files_alone_is_refused() {
    for flag in ["--diff-base", "--values", "--layout"] {
        let (ran, asked) = shop().run(&[flag, "{env}"]).await;
        assert_eq!((ran.code, asked.len()), (2, 0), "{flag}");
        assert!(ran.stderr.contains("cannot be used with"), "{flag}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn the_real_labels_of_namespaces_decide() {
    let unlabelled = list(&[json!({"metadata": {"name": "shop"}})]);
    let (ran, _) = shop().with("/api/v1/namespaces", unlabelled).run(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("no policy covers: namespace shop"), "{}", ran.stdout);
}

#[tokio::test]
async fn namespaces_that_the_api_server_never_asks_about_are_not_judged() {
    let excluded = json!({"webhooks": [{"name": "validate.tagwarden.dev", "namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}]}}]});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let (ran, _) = shop().with(path, list(&[excluded])).run(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("not judged, infrastructure: namespace shop"), "{}", ran.stdout);
    let system = list(&[pod("kube-system", "dns", None, "nginx:latest")]);
    let (ran, _) = Script::of(&["kube-system"]).with("/api/v1/pods", system).run(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("not judged, infrastructure: namespace kube-system"), "{}", ran.stdout);
}

#[tokio::test]
async fn lists_are_read_by_pages_and_begun_anew_where_a_page_is_gone() {
    let image = "registry.example.com/acme/api:latest";
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let first = || page(&[pod("shop", "a", None, image)], "next=1");
    let last = || list(&[pod("shop", "b", None, image)]);
    let answers = [(200, first()), (410, gone), (200, first()), (200, last())];
    let (ran, asked) = Script::of(&["shop"]).answering("/api/v1/pods", &answers).run(&["--format", "json"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let names: Vec<Value> =
        ran.json()["findings"].as_array().unwrap().iter().map(|finding| finding["object"]["name"].clone()).collect();
    assert_eq!(names, ["a", "b"], "each once");
    let pods: Vec<&String> = asked.iter().filter(|uri| uri.contains("/pods")).collect();
    assert_eq!(pods[0], "/api/v1/pods?limit=500");
    assert_eq!(pods[1], "/api/v1/pods?limit=500&continue=next%3D1");
    assert_eq!(pods.len(), 4);
}

#[tokio::test]
async fn without_pods_or_namespaces_there_is_no_answer() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "User \"eve\" cannot list resource"});
    for (path, what) in [("/api/v1/pods", "cannot list Pods: "), ("/api/v1/namespaces", "cannot read namespaces: ")] {
        let (ran, _) = shop().answering(path, &[(403, forbidden.clone())]).run(&[]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("error: {what}User \"eve\" cannot")), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn kinds_that_cannot_be_listed_are_named_and_leave_the_answer_open() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "replicasets is forbidden"});
    let good = list(&[pod("shop", "x", Some(("ReplicaSet", "r")), "registry.example.com/acme/api:v1.4.2")]);
    let script =
        Script::of(&["shop"]).answering("/apis/apps/v1/replicasets", &[(403, forbidden)]).with("/api/v1/pods", good);
    let (ran, _) = script.run(&[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("written: ReplicaSet: replicasets is forbidden"), "{}", ran.stdout);
    assert!(ran.stdout.contains("note: ReplicaSet shop/r: its controller ReplicaSet r is not known"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_denial_weighs_more_than_a_kind_that_cannot_be_listed() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "replicasets is forbidden"});
    let (ran, _) = shop().answering("/apis/apps/v1/replicasets", &[(403, forbidden)]).run(&[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("written: ReplicaSet: replicasets is forbidden"), "{}", ran.stdout);
    assert!(ran.stdout.contains("error[TW120]"), "{}", ran.stdout);
}

#[tokio::test]
async fn what_fails_a_check_of_a_cluster_can_be_chosen() {
    let policy = |mode: &str| POLICY.replace("mode: enforce", &format!("mode: {mode}"));
    for (mode, arguments, code) in [
        ("warn", &[][..], 0),
        ("warn", &["--fail-on", "warn"], 1),
        ("warn", &["--fail-on", "audit"], 1),
        ("audit", &["--fail-on", "warn"], 0),
        ("audit", &["--fail-on", "audit"], 1),
        ("enforce", &["--fail-on", "warn"], 1),
    ] {
        let files = [("policies/acme.yaml", &*policy(mode))];
        let (ran, _) = shop().run_in(&files, &[&["--offline"], arguments].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{mode} {arguments:?}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn one_namespace_can_be_asked_for() {
    let mut script = shop();
    for path in ["/apis/apps/v1/deployments", "/apis/apps/v1/replicasets", "/api/v1/pods"] {
        let answers = script.answers.remove(path).unwrap();
        let (root, plural) = path.rsplit_once('/').unwrap();
        script.answers.insert(format!("{root}/namespaces/shop/{plural}"), answers);
    }
    let labelled = json!({"metadata": {"name": "shop", "labels": {"tier": "app"}}});
    let (ran, asked) = script.with("/api/v1/namespaces/shop", labelled).run(&["--namespace", "shop"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(asked.iter().all(|uri| uri.contains("/shop") || uri.contains("webhook")), "{asked:?}");
    let (ran, _) = Script::of(&[]).run(&["--namespace", "nowhere"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("there is no namespace 'nowhere'"), "{}", ran.stderr);
}

#[tokio::test]
async fn releases_may_be_objects_of_the_cluster() {
    let policy = POLICY.replace("tags: [release]", "release: require");
    let config = "releases: [{objects: true}]\ntrustedNamespaceLabels: [tier]\n";
    let files = [("policies/acme.yaml", policy.as_str()), ("config.yaml", config)];
    let object = |name: &str, release: &str, tag: &str| {
        json!({"metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"release": release, "images": {"api": {"repo": "registry.example.com/acme/api", "tag": tag}}}})
    };
    let path = "/apis/tagwarden.dev/v1/imagereleases";
    let offline = ["--config", "config.yaml", "--offline"];
    let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
    let locked = |letter: &str| {
        json!({"metadata": {"name": "one", "uid": "one", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"release": "r1", "images": {"api": {"repo": "registry.example.com/acme/api", "digest": digest(letter)}}}})
    };
    let image = format!("registry.example.com/acme/api@{}", digest("a"));
    let shop = || Script::of(&["shop"]).with("/api/v1/pods", list(&[pod("shop", "api", None, &image)]));
    let (ran, asked) = shop().with(path, list(&[locked("a")])).run_in(&files, &offline).await;
    assert!(ran.code == 0 && ran.stdout.contains("0 denied") && ran.stderr.is_empty(), "{ran:?}");
    assert!(asked.iter().any(|asked| asked.starts_with(path)), "{asked:?}");
    let (ran, _) = shop().with(path, list(&[locked("b")])).run_in(&files, &offline).await;
    assert!(ran.code == 1 && ran.stdout.contains("error[TW301]") && ran.stdout.contains("release r1"), "{ran:?}");
    let script = shop().with(path, list(&[object("one", "r1", "latest"), object("two", "r1", "v1.4.2")]));
    let (ran, _) = script.run_in(&files, &offline).await;
    let said = "error: ImageRelease one: spec.images.api.tag: the tag 'latest' moves";
    assert!(ran.code == 2 && ran.stderr.contains(said), "{ran:?}");
    let (ran, _) = shop().with(path, list(&[])).run_in(&files, &offline).await;
    assert!(ran.code == 2 && ran.stderr.contains("there is no ImageRelease object in the cluster"), "{ran:?}");
    let (ran, _) = shop().run_in(&files, &offline).await;
    assert!(ran.code == 2 && ran.stderr.contains("list ImageRelease objects"), "{ran:?}");
}

#[test]
fn without_a_cluster_release_objects_are_not_read_and_that_is_told() {
    let policy = POLICY.replace("tags: [release]", "release: require");
    let manifest = "{kind: Pod, apiVersion: v1, metadata: {name: x}, spec: {containers: [{name: a, image: \"registry.example.com/acme/api:v1.4.2\"}]}}";
    let release = "{release: r1, images: {api: {repo: registry.example.com/acme/api, tag: v1.4.2}}}";
    let config = "releases: [{objects: true}]\ntrustedNamespaceLabels: [tier]\n";
    let files =
        [("p/acme.yaml", policy.as_str()), ("config.yaml", config), ("pod.yaml", manifest), ("r1.yaml", release)];
    let scene = Scene::new(&files);
    let check = ["check", "--offline", "--policies", "p", "--config", "config.yaml", "pod.yaml"];
    let ran = scene.run(&check);
    let note =
        "note: 'releases' names objects, and ImageRelease objects are not read here; name their files by --release";
    assert!(ran.code == 1 && ran.stdout.contains("TW302") && ran.stderr.contains(note), "{ran:?}");
    let ran = scene.run(&[&check[..], &["--release", "r1.yaml"]].concat());
    assert!(ran.code == 0 && !ran.stderr.contains("note:"), "{ran:?}");
}

#[tokio::test]
async fn policies_may_be_objects_of_the_cluster() {
    let object: Value = json!({"metadata": {"name": "mirror", "uid": "u"}, "spec": {"mode": "enforce",
        "rules": [{"images": ["registry.example.com/mirror/**"]}]}});
    let script = shop().with("/apis/tagwarden.dev/v1/imagepolicies", list(&[object]));
    let config = "policies: {objects: true}\ntrustedNamespaceLabels: [tier]\n";
    let scene = Scene::new(&[("config.yaml", config)]);
    let config = scene.path().join("config.yaml").display().to_string();
    let (ran, _) = script.clone().run(&["--config", &config]).await;
    assert!(ran.stdout.contains("policy mirror"), "{ran:?}");
    assert!(ran.stdout.contains("policy acme"), "{ran:?}");
    let broken = json!({"metadata": {"name": "mirror", "uid": "u"}, "spec": {"rulez": []}});
    let (ran, _) =
        script.with("/apis/tagwarden.dev/v1/imagepolicies", list(&[broken])).run(&["--config", &config]).await;
    assert!(ran.code == 2 && ran.stderr.contains("ImagePolicy mirror"), "{ran:?}");
}

/// Created again, a Pod would run what the tag is now.
#[tokio::test]
async fn a_tag_that_is_another_digest_than_its_pods_run_is_told() {
    let policy = POLICY.replace("tags: [release]", "tags: [release], pin: pods");
    let run = async |digest: &str| {
        let tags = format!("{{v1.4.2: \"sha256:{}\"}}", digest.repeat(64));
        let facts = format!(
            "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  registry.example.com/acme/api: {{tags: {tags}}}\n"
        );
        let files = [("policies/acme.yaml", policy.as_str()), ("facts.yaml", facts.as_str())];
        shop().run_in(&files, &["--facts", "facts.yaml"]).await.0
    };
    let moved = run("b").await;
    let note = "note: Deployment shop/good: registry.example.com/acme/api:v1.4.2: \
                1 Pod runs sha256:aaaaaaaaaaaa, and v1.4.2 is sha256:bbbbbbbbbbbb now";
    assert!(moved.stdout.contains(note), "{moved:?}");
    let same = run("a").await;
    assert!(same.code == 1 && !same.stdout.contains("note:"), "{same:?}");
}

#[tokio::test]
async fn who_names_files_too_or_no_cluster_is_told() {
    let address = nobody().await;
    let scene = Scene::new(&[("policies/acme.yaml", POLICY), ("kubeconfig", &kubeconfig(address)), ("a.yaml", "")]);
    let run = |arguments: &[&str], kubeconfig: Option<&str>| {
        let mut command = scene.command(&[&["check", "--policies", "policies"], arguments].concat());
        command.env_remove("KUBERNETES_SERVICE_HOST").env_remove("KUBECONFIG");
        if let Some(file) = kubeconfig {
            command.env("KUBECONFIG", scene.path().join(file));
        }
        Ran::from(command.output().unwrap())
    };
    for (arguments, said) in [
        (&["--cluster", "a.yaml"][..], "cannot be used with"),
        (&["--cluster", "--namespace-labels", "a=b"], "cannot be used with"),
        (&["--context", "x", "a.yaml"], "--cluster"),
        (&[], "<PATH"),
    ] {
        let ran = run(arguments, Some("kubeconfig"));
        assert!(ran.code == 2 && ran.stderr.contains(said), "{arguments:?}: {ran:?}");
    }
    for (arguments, file, said) in [
        (&["--cluster"][..], None, "cannot use the kubeconfig: "),
        (&["--cluster", "--context", "other"], Some("kubeconfig"), "cannot use the kubeconfig: "),
        (&["--cluster"], Some("kubeconfig"), "cannot read namespaces: the API server cannot be asked"),
    ] {
        let ran = run(arguments, file);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{arguments:?}: {ran:?}");
    }
}
