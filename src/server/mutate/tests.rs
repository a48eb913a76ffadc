//! Tests of the two endpoints together: what one writes, and what the other makes of it.

use crate::config::Config;
use crate::image::DigestBuf;
use crate::policy::{Age, Answer, Asked, Budget, Facts, Failure, PolicySet, Resolved, Undecided};
use crate::server::admit::{Endpoint, admit};
use crate::server::facts::Told;
use crate::server::state::{Live, Shared};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

mod allocations;

const IMAGE: &str = "registry.example.com/acme/api:v1.4.2";

/// Pins what it lets in.
fn policy(mode: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {{name: p}}
spec:
  mode: {mode}
  rules:
    - {{name: acme, images: [\"registry.example.com/acme/**\"], tags: [release, latest], pin: pods}}
    - {{name: rest, images: [\"**\"], tags: [release]}}
"
    )
}

fn live(mode: &str, config: Config) -> Live {
    let policies = PolicySet::compile(&[("p.yaml", policy(mode))], config.settings.clone()).unwrap();
    Live { config, policies: Some(policies) }
}

fn shared() -> Shared {
    let mut config = Config::default();
    config.infrastructure_namespaces.insert("cilium".to_owned());
    Shared::for_tests(live("enforce", config))
}

fn digest(hex: &str) -> String {
    format!("sha256:{}", hex.repeat(32))
}

/// The image with that digest.
fn at(hex: &str) -> String {
    format!("{IMAGE}@{}", digest(hex))
}

/// From now on the registry says that `acme/api` has this digest under the tags that tests use.
fn say(shared: &Shared, hex: &str) {
    answer_with(shared, Ok(Resolved::now(DigestBuf::parse(&digest(hex)).unwrap())));
}

fn answer_with(shared: &Shared, answer: Result<Resolved, Undecided>) {
    let mut facts = Facts::default();
    for tag in ["v1.4.2", "v1.4.3", "latest"] {
        let asked = Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review };
        facts.learn("registry.example.com/acme/api", &asked, Answer::Digest(answer.clone()));
    }
    *shared.told.lock().unwrap() = Some(Told::Facts(facts));
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "api", "image": image}]}})
}

fn owned(image: &str, version: &str, kind: &str, uid: &str) -> Value {
    let mut pod = pod(image);
    let owner = json!({"apiVersion": version, "kind": kind, "name": "o", "uid": uid, "controller": true});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod
}

fn review(operation: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "x", "namespace": "shop", "operation": operation,
        "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false}})
}

async fn response(shared: &Shared, endpoint: Endpoint, review: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(5);
    let body = serde_json::to_vec(review).unwrap();
    let answer = admit(shared, endpoint, &body, deadline, &mut shared.places.take().unwrap()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["response"].clone()
}

/// The object after `/mutate`; none where it is left alone.
async fn mutated(shared: &Shared, review: &Value) -> Option<Value> {
    use base64::Engine as _;
    let response = response(shared, Endpoint::Mutate, review).await;
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response.get("patch").is_some(), response.get("patchType").is_some_and(|kind| kind == "JSONPatch"));
    let patch = base64::engine::general_purpose::STANDARD.decode(response.get("patch")?.as_str()?).unwrap();
    let mut object = review["request"]["object"].clone();
    for operation in serde_json::from_slice::<Vec<Value>>(&patch).unwrap() {
        let (parent, key) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap();
        parent[key.replace("~1", "/")] = operation["value"].clone();
    }
    Some(object)
}

async fn created(shared: &Shared, object: &Value) -> Option<Value> {
    mutated(shared, &review("CREATE", object, &Value::Null)).await
}

async fn validated(shared: &Shared, object: &Value) -> Value {
    response(shared, Endpoint::Validate, &review("CREATE", object, &Value::Null)).await
}

fn image(object: Option<&Value>) -> Option<&str> {
    object?["spec"]["containers"][0]["image"].as_str()
}

#[tokio::test]
async fn a_pod_is_pinned_to_what_was_judged_once() {
    let shared = shared();
    say(&shared, "ab");
    let object = created(&shared, &pod(IMAGE)).await.unwrap();
    assert_eq!(image(Some(&object)), Some(&*at("ab")));
    assert_eq!(object["metadata"]["annotations"]["tagwarden.dev/images"], json!({"containers/api": IMAGE}).to_string());
    assert_eq!(created(&shared, &object).await, None, "row 5");
    assert_eq!(validated(&shared, &object).await["allowed"], true);
    let latest = created(&shared, &pod("registry.example.com/acme/api")).await;
    assert_eq!(image(latest.as_ref()), Some(&*format!("registry.example.com/acme/api:latest@{}", digest("ab"))));
}

/// Row 64: the tag moves between the two endpoints. What we pinned passes by its proof, and nothing else does.
#[tokio::test]
async fn row_64_only_our_own_pin_outlives_a_tag_that_moves() {
    let shared = shared();
    say(&shared, "ab");
    let pinned = created(&shared, &pod(IMAGE)).await.unwrap();
    say(&shared, "cd");
    let answer = validated(&shared, &pinned).await;
    assert_eq!(answer["allowed"], true, "{answer}");

    let mut bare = pinned.clone();
    bare["metadata"]["annotations"].as_object_mut().unwrap().remove("tagwarden.dev/pins");
    let mut elsewhere = review("CREATE", &pinned, &Value::Null);
    elsewhere["request"]["namespace"] = json!("bank");
    let mut renamed = pinned.clone();
    renamed["spec"]["containers"][0]["name"] = json!("web");
    let mut other_digest = pinned.clone();
    other_digest["spec"]["containers"][0]["image"] = json!(at("ef"));
    let mut other_tag = pinned.clone();
    other_tag["spec"]["containers"][0]["image"] = json!(at("ab").replace("v1.4.2", "v1.4.3"));
    let reviews = [bare, renamed, other_digest, other_tag].map(|object| review("CREATE", &object, &Value::Null));
    for forged in reviews.iter().chain([&elsewhere]) {
        let answer = response(&shared, Endpoint::Validate, forged).await;
        assert_eq!(answer["allowed"], false, "{forged}");
        assert!(answer["status"]["message"].as_str().unwrap().contains("TW200"), "{answer}");
    }
    // Another replica before the key is shared: the registry is asked, and knows better.
    let stranger = self::shared();
    say(&stranger, "cd");
    assert_eq!(validated(&stranger, &pinned).await["allowed"], false);
    say(&stranger, "ab");
    assert_eq!(validated(&stranger, &pinned).await["allowed"], true);
}

#[tokio::test]
async fn what_is_not_to_be_pinned_is_left_alone() {
    let shared = shared();
    say(&shared, "ab");
    assert!(created(&shared, &pod(IMAGE)).await.is_some());
    // Denied, of another rule, and pinned by its author.
    for image in ["registry.example.com/acme/api:edge", "nginx:v1.2.3", &at("ab"), &at("cd"), "not an image"] {
        assert_eq!(created(&shared, &pod(image)).await, None, "{image}");
    }
    let mut infrastructure = review("CREATE", &pod(IMAGE), &Value::Null);
    infrastructure["request"]["namespace"] = json!("cilium");
    assert_eq!(mutated(&shared, &infrastructure).await, None);
    let mut deployment = review("CREATE", &json!({"spec": {"template": pod(IMAGE)}}), &Value::Null);
    deployment["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    assert_eq!(mutated(&shared, &deployment).await, None);
    let mut mirror = pod(IMAGE);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut mirror = review("CREATE", &mirror, &Value::Null);
    assert!(mutated(&shared, &mirror).await.is_some(), "anybody can write that annotation");
    mirror["request"]["userInfo"] = json!({"username": "system:node:n1", "groups": ["system:nodes"]});
    assert_eq!(mutated(&shared, &mirror).await, None);
    assert_eq!(mutated(&shared, &review("UPDATE", &pod(IMAGE), &pod(IMAGE))).await, None, "row 37");
    for mode in ["warn", "audit"] {
        shared.live.store(Arc::new(live(mode, Config::default())));
        assert_eq!(created(&shared, &pod(IMAGE)).await, None, "{mode}");
    }
    shared.live.store(Arc::new(Live { config: Config::default(), policies: None }));
    assert_eq!(created(&shared, &pod(IMAGE)).await, None);
}

#[tokio::test]
async fn row_36_pods_of_foreign_controllers_are_pinned_where_the_configuration_says_so() {
    let shared = shared();
    say(&shared, "ab");
    let database = owned(IMAGE, "example.com/v1", "Database", "u-1");
    assert!(created(&shared, &owned(IMAGE, "apps/v1", "StatefulSet", "u-2")).await.is_some());
    assert_eq!(created(&shared, &database).await, None);
    let mutation_owners = vec![("example.com".to_owned(), "Database".to_owned())];
    shared.live.store(Arc::new(live("enforce", Config { mutation_owners, ..Config::default() })));
    assert!(created(&shared, &database).await.is_some());
}

#[tokio::test]
async fn an_image_that_lost_its_digest_gets_it_back_without_a_lookup() {
    let shared = shared();
    say(&shared, "ab");
    let pinned = created(&shared, &pod(IMAGE)).await.unwrap();
    *shared.told.lock().unwrap() = Some(Told::Silence);
    let mut applied = pinned.clone();
    applied["spec"]["containers"][0]["image"] = json!(IMAGE);
    assert_eq!(mutated(&shared, &review("UPDATE", &applied, &pinned)).await.as_ref(), Some(&pinned));
    // Replaced as a whole: the annotations come back as well.
    assert_eq!(mutated(&shared, &review("UPDATE", &pod(IMAGE), &pinned)).await.as_ref(), Some(&pinned));
    // Pinned by its author, in a place that we would have pinned.
    let restored = mutated(&shared, &review("UPDATE", &pod(IMAGE), &pod(&at("cd")))).await;
    assert_eq!(image(restored.as_ref()), Some(&*at("cd")));
    // A swapped image is another one.
    say(&shared, "ef");
    let other = pod(IMAGE.replace("v1.4.2", "v1.4.3").as_str());
    let new = mutated(&shared, &review("UPDATE", &other, &pinned)).await;
    assert_eq!(image(new.as_ref()), Some(&*at("ef").replace("v1.4.2", "v1.4.3")));
    // What we wrote comes back when nothing is enforced any more; what we did not write stays away.
    shared.live.store(Arc::new(live("audit", Config::default())));
    assert_eq!(mutated(&shared, &review("UPDATE", &applied, &pinned)).await.as_ref(), Some(&pinned));
    assert_eq!(mutated(&shared, &review("UPDATE", &pod(IMAGE), &pod(&at("cd")))).await, None);
}

#[tokio::test]
async fn pods_of_one_controller_get_one_digest_while_it_is_still_let_in() {
    let shared = shared();
    let owned = |uid| owned(IMAGE, "apps/v1", "ReplicaSet", uid);
    let given = async |object: &Value| image(created(&shared, object).await.as_ref()).map(str::to_owned);
    say(&shared, "ab");
    let mut dry = review("CREATE", &owned("u-3"), &Value::Null);
    dry["request"]["dryRun"] = json!(true);
    assert!(mutated(&shared, &dry).await.is_some());
    assert_eq!(given(&owned("u-1")).await, Some(at("ab")));
    assert_eq!(given(&pod(IMAGE)).await, Some(at("ab")));
    say(&shared, "cd");
    let second = created(&shared, &owned("u-1")).await.unwrap();
    assert_eq!(image(Some(&second)), Some(&*at("ab")));
    assert_eq!(validated(&shared, &second).await["allowed"], true, "by its proof");
    assert_eq!(given(&pod(IMAGE)).await, Some(at("cd")), "of no controller");
    assert_eq!(given(&owned("u-2")).await, Some(at("cd")), "of another");
    assert_eq!(given(&owned("u-3")).await, Some(at("cd")), "a dry run left nothing behind");
    let mut secret = owned("u-1");
    secret["spec"]["imagePullSecrets"] = json!([{"name": "other"}]);
    assert_eq!(given(&secret).await, Some(at("cd")), "who pulls otherwise asks for himself");
    let mut elsewhere = review("CREATE", &owned("u-1"), &Value::Null);
    elsewhere["request"]["namespace"] = json!("bank");
    assert_eq!(image(mutated(&shared, &elsewhere).await.as_ref()), Some(&*at("cd")));
    // Under other policies nothing of it holds.
    let mut config = Config::default();
    config.settings.max_mode = crate::policy::Mode::Audit;
    shared.live.store(Arc::new(live("enforce", config)));
    assert_eq!(given(&owned("u-1")).await, None);
}

#[tokio::test]
async fn an_image_that_cannot_be_resolved_is_left_as_written_with_a_warning() {
    let shared = shared();
    answer_with(&shared, Err(Undecided::new(Failure::Unreachable, "it is away")));
    let review = review("CREATE", &pod(IMAGE), &Value::Null);
    let answer = response(&shared, Endpoint::Mutate, &review).await;
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
    let expected =
        "container \"api\": the digest of its image is not known (TW900); it is left as written, and judged so";
    assert_eq!(answer["warnings"], json!([expected]));
    assert_eq!(response(&shared, Endpoint::Validate, &review).await["allowed"], false);
    shared.live.store(Arc::new(live("audit", Config::default())));
    assert_eq!(response(&shared, Endpoint::Mutate, &review).await.get("warnings"), None, "audit is silent");
}

#[tokio::test]
async fn ephemeral_containers_are_pinned_without_annotations() {
    let shared = shared();
    say(&shared, "ab");
    let mut object = pod("nginx:v1.2.3");
    object["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": IMAGE}]);
    let mut review = review("UPDATE", &object, &pod("nginx:v1.2.3"));
    review["request"]["subResource"] = json!("ephemeralcontainers");
    let after = mutated(&shared, &review).await.unwrap();
    assert_eq!(after["spec"]["ephemeralContainers"][0]["image"], at("ab"));
    assert_eq!(after["metadata"], object["metadata"]);
}

#[tokio::test]
async fn a_review_that_waits_for_a_registry_keeps_nobody_out() {
    let mut config = Config::default();
    config.limits.requests = 1;
    let shared = Shared::for_tests(live("enforce", config));
    *shared.told.lock().unwrap() = Some(Told::Silence);
    let object = review("CREATE", &pod(IMAGE), &Value::Null);
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let mut waiting = std::pin::pin!(response(&shared, endpoint, &object));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let other = review("CREATE", &pod("nginx:v1.2.3"), &Value::Null);
        assert_eq!(response(&shared, Endpoint::Validate, &other).await["allowed"], true, "{endpoint:?}");
    }
}
