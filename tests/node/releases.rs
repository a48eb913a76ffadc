//! Releases on a whole node: built, declared, locked, deployed, enforced, verified, rolled forward and back, remembered.

use crate::Bed;
use crate::harness::{Crane, Kubectl, NAMESPACE, PATIENCE, Release};
use crate::harness::{folder_of, merged, policy, until, until_true};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/charts/system");
const HOST: &str = "registry.example.com";
/// The release's namespace.
const SHOP: &str = "shop-prod";
const OLD: &str = "system-2026-01-04";
const NEW: &str = "system-2026-01-11";

/// Somebody who keeps the release file, and what he works with.
struct Operator<'b> {
    bed: &'b Bed,
    crane: Crane,
    folder: PathBuf,
    shop: Kubectl,
}

/// What a command of ours came to.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Fails unless it ended so; prints what it said, which is the story's transcript.
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "{text} in {}{}", self.stdout, self.stderr);
        self
    }
}

impl<'b> Operator<'b> {
    fn new(bed: &'b Bed) -> Self {
        let folder = bed.cluster.scratch().join("operator");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the folder can be made");
        let config = json!({"registries": [crate::harness::registry()]});
        fs::write(folder.join("tagwarden.yaml"), config.to_string()).expect("it can be written");
        Operator { bed, crane: Crane::find(), folder, shop: bed.cluster.namespace(SHOP, &json!({})) }
    }

    /// Builds a service at a version, from a commit.
    fn build(&self, service: &str, version: &str, commit: char) {
        let revision = commit.to_string().repeat(40);
        self.crane.push_build(&format!("acme/{service}:{version}"), version, &revision);
    }

    /// Our program, in the folder of the release file.
    fn tagwarden(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        command.args(arguments).current_dir(&self.folder);
        command.env("KUBECONFIG", self.bed.cluster.kubeconfig()).env("HOME", self.bed.cluster.scratch());
        let output = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        let ended = Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        println!("    $ tagwarden {}", arguments.join(" "));
        ended.stdout.lines().chain(ended.stderr.lines()).for_each(|line| println!("    {line}"));
        ended
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).expect("it is there")
    }

    /// Brings release files into the cluster, as a ConfigMap.
    fn publish(&self, names: &[&str]) {
        let data: serde_json::Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), self.read(name).into())).collect();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "system"}, "data": data});
        let ours = self.bed.cluster.namespace(NAMESPACE, &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
        ours.apply(&object).accepted();
        // The kubelet looks at a Pod's ConfigMaps when the Pod changes, and else once in a minute or so.
        for pod in self.bed.release().pods() {
            ours.run(&["annotate", "pod", &pod, "--overwrite", &format!("looked={}", stamp())]).accepted();
        }
    }

    /// `helm upgrade` of the services with the values of a release file.
    fn deploy(&self, file: &str) {
        self.tagwarden(&["release", "values", file, "-o", "values.yaml"]).with(0);
        let helm = folder_of("TAGWARDEN_CHART_TOOLS", "tests/chart/build.sh").join("helm");
        let values = self.folder.join("values.yaml");
        let mut command = Command::new(helm);
        command.args([
            "upgrade",
            "--install",
            "system",
            CHART,
            "--namespace",
            SHOP,
            "--wait",
            "--timeout=90s",
            "--values",
        ]);
        command.arg(values).env("KUBECONFIG", self.bed.cluster.kubeconfig()).env("HOME", self.bed.cluster.scratch());
        crate::harness::Outcome::of(&mut command, "helm upgrade system", "").accepted();
    }

    /// A Pod of some images.
    fn try_pod(&self, images: &[&str]) -> crate::harness::Outcome {
        let containers: Vec<Value> =
            images.iter().enumerate().map(|(at, image)| json!({"name": format!("c{at}"), "image": image})).collect();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": containers}});
        let outcome = self.shop.run_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        outcome.stderr.lines().for_each(|line| println!("    {line}"));
        outcome
    }
}

fn stamp() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis()
}

fn image(service: &str, version: &str) -> String {
    format!("{HOST}/acme/{service}:{version}")
}

/// Pods pinned and of the release; what is enforced of the latter.
fn values(release: &Release<'_>, mode: &str) -> Value {
    let rule = json!({"pin": "pods", "release": "require", "modes": {"release": mode}});
    let further = json!({
        "policies": [policy("acme", &rule)],
        "releases": [{"configMap": "system", "namespaces": {"include": ["shop-*"]}}],
        "config": {"history": {"enabled": true}, "cache": {"immutableTtl": "1s"}},
    });
    merged(&release.enforcing(), &further)
}

fn loaded(bed: &Bed, release: &str) {
    until_true(&format!("every replica to have loaded {release}"), 4 * PATIENCE, || {
        let has = |pod: &String| {
            bed.cluster.pod_page(NAMESPACE, pod, "metrics").stdout.contains(&format!("release=\"{release}\""))
        };
        bed.release().pods().iter().all(has)
    });
}

pub fn what_runs_is_what_was_declared(bed: &Bed) {
    let operator = Operator::new(bed);
    for (service, version, commit) in [("app", "v1.2.3", 'a'), ("web", "v2.0.1", 'b'), ("job", "v0.3.0", 'c')] {
        operator.build(service, version, commit);
    }
    let declared = format!(
        "# What the shop consists of.\nrelease: {OLD}\nimages:\n  app: {{repo: {HOST}/acme/app, tag: v1.2.3}}   # the shop itself\n  \
         web: {{repo: {HOST}/acme/web, tag: v2.0.1}}\n  job: {{repo: {HOST}/acme/job, tag: v0.3.0}}\n\
         experiment: {{istio: {{canaryWeight: 10, stableWeight: 90}}}}\n"
    );
    fs::write(operator.folder.join("old.yaml"), &declared).expect("it can be written");

    // Locked: the same file, and what its tags are.
    operator.tagwarden(&["release", "lock", "old.yaml", "--config", "tagwarden.yaml", "--check"]).with(4);
    operator.tagwarden(&["release", "lock", "old.yaml", "--config", "tagwarden.yaml", "--write"]).with(0);
    let locked = operator.read("old.yaml");
    assert!(locked.contains("# the shop itself") && locked.contains("canaryWeight: 10"), "{locked}");
    assert!(locked.contains(&"a".repeat(40)), "the commit of its label: {locked}");
    operator.tagwarden(&["release", "lock", "old.yaml", "--config", "tagwarden.yaml", "--check"]).with(0);

    // In force, and deployed.
    operator.publish(&["old.yaml"]);
    let release = bed.release();
    release.install(&values(&release, "enforce"));
    loaded(bed, OLD);
    operator.deploy("old.yaml");
    let pods = operator.shop.run(&["get", "pods", "-o", "json"]).accepted().stdout;
    let pods: Value = serde_json::from_str(&pods).expect("kubectl prints JSON");
    for pod in pods["items"].as_array().expect("there are Pods") {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        assert!(image.contains("@sha256:"), "{image} is pinned");
        let noted = pod["metadata"]["annotations"]["tagwarden.dev/release"].as_str().unwrap_or_default();
        assert!(noted.starts_with(&format!("{OLD} sha256:")), "{pod}");
    }
    operator.tagwarden(&["release", "verify", "old.yaml", "--cluster", "-n", SHOP]).with(0).says(" equal");

    // What is not of it.
    operator.build("other", "v1.0.0", 'd');
    operator.build("app", "v1.2.4", 'e');
    operator.try_pod(&[&image("app", "v1.2.3")]).accepted();
    operator.try_pod(&[&image("other", "v1.0.0")]).denied().says("TW300");
    operator.try_pod(&[&image("app", "v1.2.4")]).denied().says("TW301");
    let elsewhere = bed.cluster.namespace("elsewhere", &json!({}));
    elsewhere.run(&["run", "probe", "--dry-run=server", "--image", &image("app", "v1.2.3")]).denied().says("TW302");

    // Forward: the next release is the old one with an edit.
    let before_the_move = now();
    fs::copy(operator.folder.join("old.yaml"), operator.folder.join("new.yaml")).expect("it can be copied");
    operator
        .tagwarden(&["release", "set", "new.yaml", "app=v1.2.4", "--as", NEW, "--write", "--config", "tagwarden.yaml"])
        .with(0);
    operator.tagwarden(&["release", "diff", "old.yaml", "new.yaml"]).says("v1.2.4");
    operator.publish(&["old.yaml", "new.yaml"]);
    loaded(bed, NEW);
    operator.try_pod(&[&image("app", "v1.2.4"), &image("web", "v2.0.1")]).accepted();
    operator.try_pod(&[&image("app", "v1.2.3")]).accepted();
    operator.deploy("new.yaml");
    operator.tagwarden(&["release", "verify", "new.yaml", "--cluster", "-n", SHOP]).with(0);
    operator.tagwarden(&["release", "verify", "old.yaml", "--cluster", "-n", SHOP]).with(1).says("different");

    // The two are never mixed.
    operator.build("web", "v2.0.2", 'f');
    operator.tagwarden(&["release", "set", "new.yaml", "web=v2.0.2", "--write", "--config", "tagwarden.yaml"]).with(0);
    operator.publish(&["old.yaml", "new.yaml"]);
    until_true("the edited release to hold", 4 * PATIENCE, || operator.try_pod(&[&image("web", "v2.0.2")]).succeeded());
    operator.try_pod(&[&image("app", "v1.2.3"), &image("web", "v2.0.2")]).denied().says("TW303");

    // Back, as long as the old one is among the previous.
    operator.deploy("old.yaml");
    operator.tagwarden(&["release", "verify", "old.yaml", "--cluster", "-n", SHOP]).with(0);

    // A tag that somebody pushes over.
    operator.build("job", "v0.3.0", '9');
    operator.tagwarden(&["release", "lock", "old.yaml", "--config", "tagwarden.yaml", "--check"]).with(4).says("job");
    until_true("the moved tag to be refused", 4 * PATIENCE, || {
        let outcome = operator.try_pod(&[&image("job", "v0.3.0")]);
        !outcome.succeeded() && outcome.stderr.contains("TW301")
    });

    // What ran when.
    let lines = history(bed);
    fs::write(operator.folder.join("history.jsonl"), lines).expect("it can be written");
    operator.tagwarden(&["release", "history", "history.jsonl", "-n", SHOP]).with(0).says(OLD).says(NEW);
    operator
        .tagwarden(&["release", "history", "history.jsonl", "-n", SHOP, "--at", &before_the_move])
        .with(0)
        .says(OLD);

    // A change behind everybody's back, where the release is only audited.
    release.install(&values(&release, "audit"));
    operator.shop.run(&["set", "image", "deployment/web", &format!("main={}", image("other", "v1.0.0"))]).accepted();
    operator.shop.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).accepted();
    let told = operator.tagwarden(&["release", "verify", "old.yaml", "--cluster", "-n", SHOP]).with(1);
    let told = told.says("extra").says("missing");
    assert!(told.stdout.contains("Deployment shop-prod/web"), "{}", told.stdout);
    let admin = bed.cluster.admin();
    admin.run(&["delete", "namespace", SHOP, "elsewhere"]).accepted();
    // Ours is what the chart made. This is the operator's own, and an uninstall rightly leaves it.
    release.admin().run(&["delete", "configmap/system"]).accepted();
}

/// This moment, as `--at` takes it.
fn now() -> String {
    let seconds = i64::try_from(stamp() / 1000).expect("a date of this age");
    jiff::Timestamp::from_second(seconds).expect("a date of this age").to_string()
}

/// The lines of history that replicas have written so far; the elected one writes, and both are asked.
fn history(bed: &Bed) -> String {
    until("history to name the new release and the way back", 2 * PATIENCE, || {
        let logs: String = bed.release().pods().iter().map(|pod| bed.release().log(pod)).collect();
        let ended = |line: &str| line.contains("\"ended\"") && line.contains(NEW);
        logs.lines().any(ended).then_some(logs)
    })
}
