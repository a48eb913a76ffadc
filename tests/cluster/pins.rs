//! Digests on a real API server with a real registry: pins, disagreement, channels, outages.

use crate::harness::{Bed, PATIENCE, until, until_true};
use crate::objects::{deployment, pod, with};
use crate::registries::real::{Access, Flavour, Identity, Registry, image};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A registry of a test's own, with `acme/api:v1.4.2` in it.
pub struct Images {
    pub registry: Registry,
    /// The digest of `v1.4.2`.
    pub digest: String,
    _folder: TempDir,
}

impl Images {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(Flavour::Debian, &Access::Open, &identity(), folder.path());
        let digest = registry.push("acme/api", "v1.4.2", &image(&[("build", "1")]));
        Images { registry, digest, _folder: folder }
    }

    /// `127.0.0.1:PORT/acme/api:TAG`.
    pub fn image(&self, tag: &str) -> String {
        format!("{}/acme/api:{tag}", self.registry.host())
    }

    pub fn pinned(&self, tag: &str, digest: &str) -> String {
        format!("{}@{digest}", self.image(tag))
    }

    /// Pins everything of the registry; channels may be used.
    pub fn policy(&self) -> String {
        policy(&self.registry.host(), "pin: pods")
    }

    /// The server's configuration, `further` keys among it.
    pub fn config(&self, further: &str) -> String {
        let registry = &self.registry;
        let ca = registry.authority();
        format!("registries: [{{host: \"{}\", private: true, ca: {}}}]\n{further}", registry.host(), ca.display())
    }

    pub fn bed(&self, name: &str, further: &str) -> Bed {
        Bed::named(name).policy("pins.yaml", &self.policy()).config(&self.config(further)).start()
    }
}

pub fn policy(host: &str, keys: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {{name: pins}}
spec:
  mode: enforce
  rules: [{{name: first-party, images: [\"{host}/acme/**\"], tags: [release, commit, channel], {keys}}}]
"
    )
}

pub fn identity() -> Identity {
    let authority = crate::harness::Authority::new("registry-ca");
    let pair = authority.server("registry", &["127.0.0.1", "localhost"]);
    Identity { certificate: pair.certificate, key: pair.key, authority: authority.pem }
}

fn stored_image(bed: &Bed, pod: &str) -> String {
    let stored = bed.dana().get(&format!("pod/{pod}")).unwrap();
    stored["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// Lifetimes so short that only the freshness rules keep verdicts right.
const SHORT: &str = "cache: {immutableTtl: 1s, floatingTtl: 1s}\n";

#[test]
fn row_03_06_a_pod_is_pinned_and_remembers_what_was_written() {
    let images = Images::new();
    let bed = images.bed("row-03", "");
    let tag = images.image("v1.4.2");
    bed.dana().run(&["run", "a", &format!("--image={tag}")]).accepted().does_not_say("Warning");
    let stored = bed.dana().get("pod/a").unwrap();
    assert_eq!(stored["spec"]["containers"][0]["image"], images.pinned("v1.4.2", &images.digest));
    let written: Value =
        serde_json::from_str(stored["metadata"]["annotations"]["tagwarden.dev/images"].as_str().unwrap()).unwrap();
    assert_eq!(written, json!({"containers/a": tag}));
    // Where annotations are there already, ours join them.
    let annotated = with(pod("b", &tag), "/metadata/annotations", json!({"example.com/note": "1"}));
    bed.dana().create(&annotated).accepted();
    let stored = bed.dana().get("pod/b").unwrap();
    assert_eq!(stored["metadata"]["annotations"]["example.com/note"], "1");
    assert!(stored["metadata"]["annotations"]["tagwarden.dev/pins"].is_string());
}

#[test]
fn row_05_37_what_is_pinned_is_never_patched_again() {
    let images = Images::new();
    let bed = images.bed("row-05", "");
    let dana = bed.dana();
    dana.create(&pod("p", &images.image("v1.4.2"))).accepted();
    let before = dana.get("pod/p").unwrap();
    dana.run(&["label", "pod", "p", "a=b"]).accepted();
    let after = dana.get("pod/p").unwrap();
    assert_eq!(before["spec"], after["spec"]);
    assert_eq!(before["metadata"]["annotations"], after["metadata"]["annotations"]);
    // The stored Pod, created again as it stands, is changed in nothing.
    let copy = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"},
        "spec": {"containers": [{"name": "main", "image": before["spec"]["containers"][0]["image"]}]},
    });
    dana.create(&copy).accepted();
    let copy = dana.get("pod/copy").unwrap();
    assert_eq!(copy["spec"]["containers"][0]["image"], before["spec"]["containers"][0]["image"]);
    assert!(copy["metadata"]["annotations"]["tagwarden.dev/images"].is_null(), "nothing was written: {copy}");
}

#[test]
fn row_25_sidecars_and_image_volumes_are_pinned() {
    let images = Images::new();
    let bed = images.bed("row-25-pin", "");
    let tag = images.image("v1.4.2");
    let mut object = pod("p", &tag);
    object["spec"]["initContainers"] = json!([{"name": "proxy", "image": tag, "restartPolicy": "Always"}]);
    object["spec"]["volumes"] = json!([{"name": "model", "image": {"reference": tag}}]);
    bed.dana().create(&object).accepted();
    let stored = bed.dana().get("pod/p").unwrap();
    let pinned = images.pinned("v1.4.2", &images.digest);
    assert_eq!(stored["spec"]["initContainers"][0]["image"], pinned.as_str());
    let volume = stored["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "model");
    assert_eq!(volume.unwrap()["image"]["reference"], pinned.as_str());
    // An ephemeral container is pinned on its subresource.
    bed.dana().run(&["debug", "p", "--image", &tag, "--container", "debugger", "--attach=false"]).accepted();
    let stored = bed.dana().get("pod/p").unwrap();
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["image"], pinned.as_str());
}

#[test]
fn row_35_templates_stay_as_written_and_ten_rollouts_make_ten_replica_sets() {
    let images = Images::new();
    let tags: Vec<String> = (0..10).map(|minor| format!("v2.{minor}.0")).collect();
    tags.iter().for_each(|tag| images.registry.tag("acme/api", "v1.4.2", tag));
    let bed = images.bed("row-35", "");
    let dana = bed.dana();
    dana.create(&deployment("x", &images.image("v1.4.2"))).accepted();
    for tag in &tags {
        let image = images.image(tag);
        dana.run(&["set", "image", "deployment/x", &format!("main={image}")]).accepted();
        until_true("the rollout's ReplicaSet and its pinned Pod", PATIENCE, || {
            let pods = dana.get("pods").unwrap();
            let pinned = images.pinned(tag, &images.digest);
            pods["items"].as_array().unwrap().iter().any(|pod| pod["spec"]["containers"][0]["image"] == pinned.as_str())
        });
    }
    let sets = dana.get("replicasets").unwrap();
    let sets = sets["items"].as_array().unwrap();
    assert_eq!(sets.len(), 11, "one for each image and no more");
    for set in sets {
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        assert!(!image.contains('@'), "{image}");
        assert_eq!(set["metadata"]["generation"].as_i64().map(|_| ()), Some(()));
    }
    let deployment = dana.get("deployment/x").unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], images.image("v2.9.0"));
    assert_eq!(deployment["metadata"]["generation"], 11, "nobody but Dana changed it");
}

#[test]
fn row_36_pods_of_foreign_controllers_stay_as_they_are() {
    let images = Images::new();
    let bed = images.bed("row-36", "mutation: {owners: [{group: apps.example.com, kind: Known}]}\n");
    let dana = bed.dana();
    let owner = |kind: &str| json!([{"apiVersion": "apps.example.com/v1", "kind": kind, "name": "o", "uid": "u-1", "controller": true}]);
    let tag = images.image("v1.4.2");
    dana.create(&with(pod("foreign", &tag), "/metadata/ownerReferences", owner("Other"))).accepted();
    dana.create(&with(pod("known", &tag), "/metadata/ownerReferences", owner("Known"))).accepted();
    assert_eq!(stored_image(&bed, "foreign"), tag);
    assert!(dana.get("pod/foreign").unwrap()["metadata"]["annotations"].is_null());
    assert_eq!(stored_image(&bed, "known"), images.pinned("v1.4.2", &images.digest));
}

#[test]
fn row_38_39_applying_the_manifest_again_changes_and_shows_nothing() {
    let images = Images::new();
    let bed = images.bed("row-38", "");
    let dana = bed.dana();
    let object = pod("p", &images.image("v1.4.2")).to_string();
    let apply = ["apply", "--server-side", "-f", "-"];
    dana.run_with(&apply, &object).accepted();
    let before = dana.get("pod/p").unwrap();
    dana.run_with(&apply, &object).accepted().does_not_say("conflict");
    let after = dana.get("pod/p").unwrap();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "nothing was written");
    assert_eq!(before["spec"], after["spec"]);
    dana.run_with(&["diff", "--server-side", "-f", "-"], &object).accepted();

    let template = deployment("x", &images.image("v1.4.2"));
    dana.apply(&template).accepted();
    dana.run_with(&["diff", "-f", "-"], &template.to_string()).accepted();
    let client_side = pod("q", &images.image("v1.4.2"));
    dana.apply(&client_side).accepted();
    dana.apply(&client_side).accepted();
    assert_eq!(stored_image(&bed, "q"), images.pinned("v1.4.2", &images.digest));
}

#[test]
fn row_64_65_nobodys_annotation_and_no_missing_patch_lets_a_pod_in() {
    let images = Images::new();
    let required = policy(&images.registry.host(), "pin: required");
    let bed = Bed::named("row-64").policy("pins.yaml", &required).config(&images.config("")).start();
    let dana = bed.dana();
    dana.create(&pod("good", &images.image("v1.4.2"))).accepted();
    let annotations = dana.get("pod/good").unwrap()["metadata"]["annotations"].clone();
    // The proof of one Pod's pin is none for another digest.
    let other = format!("sha256:{}", "0".repeat(64));
    let forged = with(pod("forged", &images.pinned("v1.4.2", &other)), "/metadata/annotations", annotations);
    dana.create(&forged).denied().says("TW200");
    // A Pod that no patch reached is refused by the second webhook alone.
    let owner = json!([{"apiVersion": "a.example.com/v1", "kind": "X", "name": "o", "uid": "u-1", "controller": true}]);
    let unpinned = with(pod("unpinned", &images.image("v1.4.2")), "/metadata/ownerReferences", owner);
    dana.create(&unpinned).denied().says("TW121");
}

#[test]
fn a_moved_tag_refuses_the_old_pair_and_accepts_the_new_one_at_once() {
    let images = Images::new();
    let bed = images.bed("moved", SHORT);
    let dana = bed.dana();
    let old = images.pinned("v1.4.2", &images.digest);
    dana.create(&pod("before", &old)).accepted();
    let next = images.registry.push("acme/api", "v1.4.2", &image(&[("build", "2")]));
    assert_ne!(next, images.digest);
    // Whatever the cache holds at this moment.
    dana.create(&pod("new-pair", &images.pinned("v1.4.2", &next))).accepted();
    dana.create(&pod("old-pair", &old)).denied().says("TW200 digest");
    dana.create(&pod("tag", &images.image("v1.4.2"))).accepted();
    assert_eq!(stored_image(&bed, "tag"), images.pinned("v1.4.2", &next));
}

#[test]
fn a_channel_needs_an_approved_build() {
    let images = Images::new();
    images.registry.push("acme/api", "env-prod", &image(&[("build", "unapproved")]));
    let bed = images.bed("channel", SHORT);
    let dana = bed.dana();
    dana.create(&pod("unapproved", &images.image("env-prod"))).denied().says("TW201 channel");
    // The same build gets a release tag: from now on it is approved.
    images.registry.tag("acme/api", "env-prod", "v9.0.0");
    dana.create(&pod("approved", &images.image("env-prod"))).accepted();
    let digest = images.registry.digest("acme/api", "env-prod");
    assert_eq!(stored_image(&bed, "approved"), images.pinned("env-prod", &digest));
}

#[test]
fn row_61_an_outage_admits_what_was_seen_and_decides_the_rest() {
    let mut images = Images::new();
    images.registry.tag("acme/api", "v1.4.2", "v5.0.0");
    let bed = images.bed("row-61", SHORT);
    let dana = bed.dana();
    dana.create(&pod("seen", &images.image("v1.4.2"))).accepted();
    images.registry.stop();
    // Its lifetime passes; until then it is remembered, from then on it is the last that is known.
    let (mut count, admitted) = (0, |text: &str| text.contains("Warning"));
    until_true("the last known digest to serve, with a warning", PATIENCE, || {
        count += 1;
        let outcome = dana.create(&pod(&format!("again-{count}"), &images.image("v1.4.2"))).accepted();
        assert_eq!(stored_image(&bed, &format!("again-{count}")), images.pinned("v1.4.2", &images.digest));
        admitted(&outcome.stderr)
    });
    dana.create(&pod("new", &images.image("v5.0.0"))).refused().says("could not decide").says("TW900");
    images.registry.resume();
    until("the registry to be asked again", PATIENCE, || {
        let outcome = dana.create(&pod("back", &images.image("v5.0.0")));
        outcome.succeeded().then_some(())
    });
}

#[test]
fn row_19_a_silent_registry_ends_no_review_by_time_out() {
    let images = Images::new();
    let policy = policy(&images.registry.host(), "pin: pods, onUnresolved: deny");
    let bed = Bed::named("row-19")
        .policy("pins.yaml", &policy)
        .config(&images.config(""))
        .failure_policy("Fail")
        .timeout(2)
        .start();
    images.registry.signal("STOP");
    let outcome = bed.dana().create(&pod("p", &images.image("v1.4.2"))).refused();
    images.registry.signal("CONT");
    outcome.says("TW900").does_not_say("failed calling webhook");
}

#[test]
fn row_69_an_image_that_is_refused_by_its_name_asks_no_registry() {
    let images = Images::new();
    let bed = images.bed("row-69", "");
    let before = images.registry.log().matches("/v2/").count();
    let elsewhere = images.image("v1.4.2").replace("/acme/", "/other/");
    bed.dana().create(&pod("p", &elsewhere)).denied().says("TW110");
    bed.dana().create(&pod("q", &images.image("latest"))).denied().says("TW120");
    assert_eq!(images.registry.log().matches("/v2/").count(), before);
    assert!(bed.server.metric("tagwarden_registry_requests_total", "") < 1.0);
}
