//! Tests of the patch: it applies, touches what it may, and does nothing the second time.

use super::{
    Annotating, MAX_ANNOTATION_BYTES, MAX_TOTAL_BYTES, Patch, Rewrite, base64, escaped, patch, pointer, with_digest,
};
use crate::image::Digest;
use crate::policy::{FieldPath, List};
use crate::review::pod::{IMAGES_ANNOTATION, PINS_ANNOTATION, PodMetadata};
use crate::review::testing::{container, pod, review};
use crate::review::{AdmissionRequest, Workloads, read};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Applies a patch as RFC 6902 says, as far as ours goes: `replace` of what is there, `add` to a map that is there.
fn apply(object: &mut Value, patch: &[u8]) {
    let operations: Vec<Value> = serde_json::from_slice(patch).unwrap();
    assert!(!operations.is_empty(), "an empty patch is none");
    for operation in operations {
        let path = operation["path"].as_str().unwrap();
        match operation["op"].as_str().unwrap() {
            "replace" => *object.pointer_mut(path).unwrap() = operation["value"].clone(),
            "add" => {
                let (parent, key) = path.rsplit_once('/').unwrap();
                let key = key.replace("~1", "/").replace("~0", "~");
                let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                parent.insert(key, operation["value"].clone());
            }
            other => panic!("an operation {other}"),
        }
    }
}

fn digest(hex: &str) -> String {
    format!("sha256:{}", hex.repeat(32))
}

/// What `/mutate` does where every image is pinned to one digest, with a proof where it may be noted.
fn pinned(request: &AdmissionRequest<'_>, proofs: &BTreeMap<String, String>) -> Option<Patch> {
    let collected = Workloads::default().read(request);
    let images = collected.images();
    let object = PodMetadata::read(request.object.unwrap().get()).unwrap();
    let old = request.old_object.and_then(|old| PodMetadata::read(old.get()));
    let digest = digest("ab");
    let rewrites: Vec<Rewrite<'_>> = images
        .iter()
        .filter_map(|image| {
            let text = with_digest(image.image, Digest::parse(&digest).unwrap())?;
            let mut rewrite = Rewrite::new(image, text)?;
            rewrite.proof = Some("proof".to_owned());
            Some(rewrite)
        })
        .collect();
    let slots = collected.slots();
    let annotating = match &*request.subresource {
        "" => Annotating::Allowed { object: &object, old: old.as_ref(), slots: &slots, proofs, release: None },
        _ => Annotating::Forbidden,
    };
    patch(&rewrites, annotating)
}

/// The object after the patch; none where there is no patch.
fn mutated(review: &Value) -> Option<Value> {
    let body = review.to_string();
    let request = read(body.as_bytes()).unwrap();
    let patch = pinned(&request, &BTreeMap::new())?;
    let mut object = review["request"]["object"].clone();
    apply(&mut object, &patch.json);
    Some(object)
}

fn created(object: Value) -> Option<Value> {
    mutated(&review("CREATE", "", "Pod", object, Value::Null))
}

fn map(object: &Value, annotation: &str) -> Value {
    serde_json::from_str(object["metadata"]["annotations"][annotation].as_str().unwrap()).unwrap()
}

#[test]
fn an_image_gets_its_digest_after_its_tag_and_stays_as_written_otherwise() {
    let digest = digest("ab");
    for (written, expected) in [
        ("registry.example.com/acme/api:v1.4.2", Some("registry.example.com/acme/api:v1.4.2@")),
        ("nginx:1.27", Some("nginx:1.27@")),
        // It means latest, and is judged as such again.
        ("nginx", Some("nginx:latest@")),
        ("localhost:5000/api", Some("localhost:5000/api:latest@")),
        ("REGISTRY.example.com:443/acme/api:v1", Some("REGISTRY.example.com:443/acme/api:v1@")),
        ("", None),
        ("not an image", None),
    ] {
        let expected = expected.map(|start| format!("{start}{digest}"));
        assert_eq!(with_digest(written, Digest::parse(&digest).unwrap()), expected, "{written}");
    }
    let has_one = format!("nginx:1.27@{digest}");
    assert_eq!(with_digest(&has_one, Digest::parse(&digest).unwrap()), None);
}

#[test]
fn row_25_every_list_of_a_pod_is_pinned_where_it_stands() {
    let mut object = pod(vec![container("api", "a:1"), container("log", "b:2")]);
    object["spec"]["initContainers"] = json!([{"name": "wait", "image": "c:3", "restartPolicy": "Always"}]);
    object["spec"]["volumes"] =
        json!([{"name": "disk", "emptyDir": {}}, {"name": "data", "image": {"reference": "d:4"}}]);
    let digest = digest("ab");
    let object = created(object).unwrap();
    assert_eq!(object["spec"]["containers"][1]["image"], format!("b:2@{digest}"));
    assert_eq!(object["spec"]["initContainers"][0]["image"], format!("c:3@{digest}"));
    assert_eq!(object["spec"]["volumes"][1]["image"]["reference"], format!("d:4@{digest}"));
    assert_eq!(
        map(&object, IMAGES_ANNOTATION),
        json!({"containers/api": "a:1", "containers/log": "b:2", "initContainers/wait": "c:3", "volumes/data": "d:4"})
    );
    assert_eq!(map(&object, PINS_ANNOTATION)["volumes/data"], "proof");
}

#[test]
fn row_06_annotations_are_made_added_or_replaced() {
    for (annotations, kept) in [
        (Value::Null, None),
        (json!({}), None),
        (json!({"a/b~c": "d"}), Some("a/b~c")),
        (json!({"a/b~c": "d", "tagwarden.dev/images": "not json", "tagwarden.dev/pins": "{}"}), Some("a/b~c")),
        (json!({"tagwarden.dev/images": r#"{"containers/gone": "x", "containers/other": "y:1"}"#}), None),
    ] {
        let mut object = pod(vec![container("api", "a:1"), container("other", &format!("y:1@{}", digest("cd")))]);
        object["metadata"]["annotations"] = annotations.clone();
        let object = created(object).unwrap();
        let had_other = annotations["tagwarden.dev/images"].as_str().is_some_and(|text| text.contains("y:1"));
        let expected = match had_other {
            true => json!({"containers/api": "a:1", "containers/other": "y:1"}),
            false => json!({"containers/api": "a:1"}),
        };
        assert_eq!(map(&object, IMAGES_ANNOTATION), expected, "{annotations}");
        assert_eq!(map(&object, PINS_ANNOTATION), json!({"containers/api": "proof"}));
        if let Some(kept) = kept {
            assert_eq!(object["metadata"]["annotations"][kept], "d");
        }
    }
    assert_eq!(escaped("tagwarden.dev/a~b"), "tagwarden.dev~1a~0b");
}

#[test]
fn a_pod_without_metadata_is_pinned_without_notes() {
    for metadata in [None, Some(Value::Null)] {
        let mut object = pod(vec![container("api", "a:1")]);
        object.as_object_mut().unwrap().remove("metadata");
        if let Some(metadata) = metadata {
            object["metadata"] = metadata;
        }
        let after = created(object.clone()).unwrap();
        assert_eq!(after.get("metadata"), object.get("metadata"));
        assert_eq!(after["spec"]["containers"][0]["image"], format!("a:1@{}", digest("ab")));
    }
}

#[test]
fn ephemeral_containers_are_pinned_without_annotations() {
    let mut new = pod(vec![container("api", "a:1")]);
    new["spec"]["ephemeralContainers"] = json!([container("debugger", "busybox:1.36")]);
    let mut review = review("UPDATE", "", "Pod", new.clone(), pod(vec![container("api", "a:1")]));
    review["request"]["subResource"] = json!("ephemeralcontainers");
    let after = mutated(&review).unwrap();
    assert_eq!(after["metadata"], new["metadata"]);
    assert_eq!(after["spec"]["containers"], new["spec"]["containers"], "unchanged: not touched");
    assert_eq!(after["spec"]["ephemeralContainers"][0]["image"], format!("busybox:1.36@{}", digest("ab")));
}

#[test]
fn an_update_that_leaves_our_annotations_out_gets_them_back() {
    let annotations = json!({"tagwarden.dev/images": r#"{"containers/log":"b:1"}"#, "tagwarden.dev/pins": r#"{"containers/log":"old"}"#});
    let mut old = pod(vec![container("api", "a:1"), container("log", "b:1")]);
    old["metadata"]["annotations"] = annotations.clone();
    let new = pod(vec![container("api", "a:2"), container("log", "b:1")]);
    let review = review("UPDATE", "", "Pod", new, old);
    let after = mutated(&review).unwrap();
    assert_eq!(map(&after, IMAGES_ANNOTATION), json!({"containers/api": "a:2", "containers/log": "b:1"}));
    assert_eq!(map(&after, PINS_ANNOTATION), json!({"containers/api": "proof"}), "an old proof proves nothing");

    // A restored image has no proof of its own: the annotation comes back as it was.
    let body = review.to_string();
    let request = read(body.as_bytes()).unwrap();
    let collected = Workloads::default().read(&request);
    let images = collected.images();
    let restored = [Rewrite::new(&images[0], format!("a:2@{}", digest("ab"))).unwrap()];
    let (object, old) = (request.object.unwrap().get(), request.old_object.unwrap().get());
    let (object, old) = (PodMetadata::read(object).unwrap(), PodMetadata::read(old).unwrap());
    let (slots, proofs) = (collected.slots(), BTreeMap::new());
    let annotating =
        Annotating::Allowed { object: &object, old: Some(&old), slots: &slots, proofs: &proofs, release: None };
    let mut after = review["request"]["object"].clone();
    apply(&mut after, &patch(&restored, annotating).unwrap().json);
    assert_eq!(after["metadata"]["annotations"][PINS_ANNOTATION], annotations[PINS_ANNOTATION]);
}

#[test]
fn proofs_that_hold_are_kept_beside_new_ones() {
    let mut object = pod(vec![container("api", "a:1"), container("log", &format!("b:1@{}", digest("cd")))]);
    object["metadata"]["annotations"] =
        json!({"tagwarden.dev/pins": r#"{"containers/log":"held","containers/x":"forged"}"#});
    let review = review("CREATE", "", "Pod", object.clone(), Value::Null);
    let body = review.to_string();
    let held = BTreeMap::from([("containers/log".to_owned(), "held".to_owned())]);
    let patch = pinned(&read(body.as_bytes()).unwrap(), &held).unwrap();
    apply(&mut object, &patch.json);
    assert_eq!(map(&object, PINS_ANNOTATION), json!({"containers/api": "proof", "containers/log": "held"}));
}

#[test]
fn annotations_stay_within_their_bounds_and_what_is_left_out_is_said() {
    let long = format!("registry.example.com/{}", "a".repeat(200));
    let many = |count: usize| (0..count).map(|n| container(&format!("c{n}"), &format!("{long}:v{n}"))).collect();
    for (count, others, complete) in
        [(10, 0, true), (400, 0, false), (10, MAX_TOTAL_BYTES - 1000, false), (1, MAX_TOTAL_BYTES, false)]
    {
        let mut object = pod(many(count));
        object["metadata"]["annotations"] = json!({"x": "y".repeat(others)});
        let review = review("CREATE", "", "Pod", object.clone(), Value::Null);
        let body = review.to_string();
        let patch = pinned(&read(body.as_bytes()).unwrap(), &BTreeMap::new()).unwrap();
        assert_eq!(patch.warning.is_none(), complete, "{count} {others}");
        let before = object["metadata"]["annotations"].clone();
        apply(&mut object, &patch.json);
        let annotations = object["metadata"]["annotations"].as_object().unwrap();
        let total: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().unwrap().len()).sum();
        assert!(total <= MAX_TOTAL_BYTES.max(before["x"].as_str().unwrap().len() + 1), "{total}");
        for annotation in [IMAGES_ANNOTATION, PINS_ANNOTATION] {
            let text = annotations.get(annotation).and_then(Value::as_str).unwrap_or_default();
            assert!(text.len() <= MAX_ANNOTATION_BYTES);
        }
        let image = object["spec"]["containers"][0]["image"].as_str().unwrap();
        assert!(image.contains("@sha256:"), "pinned all the same");
    }
}

#[test]
fn a_place_that_is_no_pods_own_has_no_pointer() {
    let of = |spec: &'static str, list| pointer(&FieldPath::PodSpec { spec: spec.into(), list, index: 3 });
    assert_eq!(of("spec", List::Volumes).as_deref(), Some("/spec/volumes/3/image/reference"));
    assert_eq!(of("spec.template.spec", List::Containers), None);
    assert_eq!(of("spec", List::Configured), None);
    assert_eq!(pointer(&FieldPath::Literal("spec.image".into())), None);
}

#[test]
fn base64_is_that_of_everybody_else() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
}

fn any_image() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,5}(:[a-z0-9]{1,5})?",
        "(registry\\.example\\.com|localhost:5000)/[a-z]{1,4}(:v[0-9])?",
        Just(format!("a:1@{}", digest("cd"))),
        Just(format!("a@{}", digest("cd"))),
        "\\PC{0,6}",
    ]
}

fn any_annotations() -> impl Strategy<Value = Option<Value>> {
    let key =
        prop_oneof![Just("a/b~c".to_owned()), Just(IMAGES_ANNOTATION.to_owned()), Just(PINS_ANNOTATION.to_owned())];
    let value = prop_oneof![Just("{}".to_owned()), Just(r#"{"containers/c0":"x"}"#.to_owned()), "\\PC{0,8}"];
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        proptest::collection::btree_map(key, value, 0..4).prop_map(|map| Some(json!(map))),
    ]
}

fn any_pod() -> impl Strategy<Value = Value> {
    let images = || proptest::collection::vec((any_image(), "[a-c]?"), 0..4);
    (images(), images(), images(), any_annotations(), any::<bool>()).prop_map(
        |(containers, init, volumes, annotations, metadata)| {
            let named = |(image, name): (String, String)| json!({"name": name, "image": image});
            let mut pod = json!({"spec": {
                "containers": containers.into_iter().map(named).collect::<Vec<_>>(),
                "initContainers": init.into_iter().map(named).collect::<Vec<_>>(),
                "volumes": volumes.into_iter().map(|(image, name)| json!({"name": name, "image": {"reference": image}})).collect::<Vec<_>>(),
                "nodeName": "n"}});
            if metadata {
                pod["metadata"] = json!({"name": "x"});
                if let Some(annotations) = annotations {
                    pod["metadata"]["annotations"] = annotations;
                }
            }
            pod
        },
    )
}

/// The object without what a patch may touch.
fn untouchable(mut object: Value) -> Value {
    for list in ["containers", "initContainers", "volumes"] {
        for entry in object["spec"][list].as_array_mut().unwrap() {
            let image = if list == "volumes" { &mut entry["image"]["reference"] } else { &mut entry["image"] };
            *image = json!(image.as_str().unwrap().split("@sha256").next().unwrap().trim_end_matches(":latest"));
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(IMAGES_ANNOTATION);
            annotations.remove(PINS_ANNOTATION);
        }
        if metadata.get("annotations").is_some_and(|left| left.is_null() || left == &json!({})) {
            metadata.remove("annotations");
        }
    }
    object
}

proptest! {
    /// Rows 3, 4 and 5.
    #[test]
    fn rows_03_04_05_a_patch_applies_touches_what_it_may_and_is_needed_once(object in any_pod(), old in any_pod(), update in any::<bool>()) {
        let of = |object: &Value| match update {
            true => review("UPDATE", "", "Pod", object.clone(), old.clone()),
            false => review("CREATE", "", "Pod", object.clone(), Value::Null),
        };
        if let Some(after) = mutated(&of(&object)) {
            prop_assert_ne!(&after, &object);
            prop_assert_eq!(untouchable(after.clone()), untouchable(object));
            prop_assert_eq!(mutated(&of(&after)), None);
        }
    }

    #[test]
    fn base64_gives_the_bytes_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        use ::base64::Engine as _;
        prop_assert_eq!(::base64::engine::general_purpose::STANDARD.encode(&bytes), super::base64(&bytes));
    }
}
