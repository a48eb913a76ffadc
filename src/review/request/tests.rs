//! Tests of the reader.

use super::{Operation, read, uid_of};
use crate::review::testing::{container, pod, review};
use crate::review::{About, Considered, ExemptRequesters, Workloads, consider};
use proptest::prelude::*;
use serde_json::{Value, json};

fn created() -> Value {
    review("CREATE", "", "Pod", pod(vec![container("api", "a:1")]), Value::Null)
}

/// Why a review is refused after `change`.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut review = created();
    change(&mut review);
    read(review.to_string().as_bytes()).unwrap_err().to_string()
}

fn without(path: &str) -> String {
    refused(|review| {
        let (parent, key) = path.rsplit_once('/').unwrap();
        review.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    })
}

#[test]
fn a_review_is_read_without_copying() {
    let body = created().to_string();
    let request = read(body.as_bytes()).unwrap();
    assert_eq!(request.uid, "6b1f2c9e-0d3a-4a43-9ef8-0b8f2ad5a1b7");
    assert!(matches!(request.uid, std::borrow::Cow::Borrowed(_)));
    assert_eq!((&*request.group, &*request.version, &*request.kind), ("", "v1", "Pod"));
    assert_eq!((&*request.resource, &*request.subresource), ("things", ""));
    assert_eq!((&*request.name, &*request.namespace), ("checkout", "shop-prod"));
    assert_eq!(request.operation, Operation::Create);
    assert_eq!(request.user.username, "jane");
    assert_eq!(request.user.groups, ["dev", "system:authenticated"]);
    assert!(!request.dry_run);
    assert!(request.object.unwrap().get().starts_with('{'));
    assert!(request.old_object.is_none());
}

#[test]
fn row_17_what_is_missing_or_wrong_is_named() {
    for (path, message) in [
        ("/apiVersion", "not an AdmissionReview: field apiVersion is missing"),
        ("/kind", "not an AdmissionReview: field kind is missing"),
        ("/request", "not an AdmissionReview: field request is missing"),
        ("/request/uid", "not an AdmissionReview: field request.uid is missing"),
        ("/request/kind", "not an AdmissionReview: field request.kind is missing"),
        ("/request/kind/kind", "not an AdmissionReview: field request.kind.kind is missing"),
        ("/request/operation", "not an AdmissionReview: field request.operation is missing"),
        ("/request/object", "not an AdmissionReview: field request.object is missing"),
    ] {
        assert_eq!(without(path), message);
    }
    for (path, value, message) in [
        ("/apiVersion", json!("admission.k8s.io/v1beta1"), "field apiVersion is not admission.k8s.io/v1"),
        ("/kind", json!("Pod"), "field kind is not AdmissionReview"),
        ("/request", Value::Null, "field request is missing"),
        ("/request/uid", json!(""), "field request.uid is empty"),
        ("/request/uid", json!("x".repeat(257)), "field request.uid has 257 bytes, at most 256 are allowed"),
        ("/request/uid", json!(7), "a field has the wrong type"),
        ("/request/operation", json!("create"), "field request.operation is none of CREATE, UPDATE, DELETE, CONNECT"),
        ("/request/object", Value::Null, "field request.object is missing"),
        ("/request/object", json!("x"), "field request.object is not an object"),
        ("/request/oldObject", json!([]), "field request.oldObject is not an object"),
    ] {
        let error = refused(|review| *review.pointer_mut(path).unwrap() = value);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn row_17_what_is_no_json_says_where() {
    for (body, message) in [
        (&b""[..], "the body ends early, at line 1 column 0"),
        (b"{", "the body ends early, at line 1 column 1"),
        (b"{}{}", "the body is not JSON, at line 1 column 3"),
        (b"pods", "the body is not JSON, at line 1 column 1"),
        (b"[]", "field apiVersion is missing"),
        (b"null", "a field has the wrong type"),
        (b"{\"kind\":\"\xff\"}", "byte 9 is not UTF-8"),
    ] {
        let error = read(body).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn row_70_errors_do_not_repeat_values() {
    let error = refused(|review| review["request"]["dryRun"] = json!("hunter2"));
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn row_16_optional_fields_may_be_null_and_unknown_ones_anything() {
    let mut review = created();
    for field in ["name", "namespace", "subResource", "resource", "userInfo", "dryRun", "options", "oldObject"] {
        review["request"][field] = Value::Null;
    }
    review["request"]["later"] = json!([{"deep": [1, null, {"x": 1e300}]}]);
    review["later"] = json!({"response": 7});
    review["response"] = Value::Null;
    let body = review.to_string();
    let request = read(body.as_bytes()).unwrap();
    assert_eq!((&*request.name, &*request.namespace, &*request.user.username), ("", "", ""));
    review["request"]["userInfo"] = json!({"username": null, "groups": null});
    assert!(read(review.to_string().as_bytes()).is_ok());
}

#[test]
fn deletes_and_connects_need_no_object() {
    for operation in ["DELETE", "CONNECT"] {
        let body = review(operation, "", "Pod", Value::Null, Value::Null).to_string();
        assert!(read(body.as_bytes()).is_ok());
    }
}

#[test]
fn row_1_the_uid_is_found_in_what_is_otherwise_no_review() {
    assert_eq!(uid_of(br#"{"request":{"uid":"abc","operation":7}}"#).as_deref(), Some("abc"));
    assert_eq!(uid_of(br#"{"request":{"uid":"a\u0062c"}}"#).as_deref(), Some("abc"));
    for body in [&b""[..], b"{}", br#"{"request":{"uid":""}}"#, br#"{"request":{"uid":null}}"#, b"\xff"] {
        assert_eq!(uid_of(body), None);
    }
}

/// A review whose object is nested `depth` levels deep wherever nobody looks.
fn nested(depth: usize) -> String {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let (list, object) = (deep("[", "]"), deep("{\"a\":", "}"));
    let pod = format!(
        r#"{{"metadata":{{"managedFields":{object},"annotations":{{"a":{list}}}}},"spec":{{"later":{object},"containers":[{{"name":"api","env":{list},"image":"a:1"}}]}},"status":{list}}}"#
    );
    created()
        .to_string()
        .replace("\"dryRun\":false", &format!("\"dryRun\":false,\"later\":{object}"))
        .replace("\"object\":{", &format!("\"options2\":{list},\"object\":{{\"deep\":{object},"))
        .replace("\"spec\":{\"containers\":", &format!("\"deep2\":{pod},\"spec\":{{\"deep3\":{object},\"containers\":"))
}

#[test]
fn row_15_a_hundred_thousand_levels_neither_fail_nor_overflow() {
    let judge = || {
        let body = nested(100_000);
        let mut request = read(body.as_bytes()).unwrap();
        // With a node as the user and no name, the metadata is read, too.
        request.name = "".into();
        request.user.username = "system:node:n1".into();
        request.user.groups.push("system:nodes".into());
        let considered = consider(&request, &About::of(&request), &Workloads::default(), &ExemptRequesters::default());
        let Considered::Judge(collected) = considered else { panic!("{considered:?}") };
        assert_eq!(collected.images()[0].image, "a:1");
        assert!(uid_of(body.as_bytes()).is_some());
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(judge).unwrap().join().unwrap();
}

#[test]
fn row_15_typed_fields_do_not_recurse() {
    let judge = || {
        for path in [
            "/request/uid",
            "/request/kind",
            "/request/userInfo",
            "/request/userInfo/groups",
            "/request/dryRun",
            "/kind",
        ] {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            let mut review = created();
            *review.pointer_mut(path).unwrap() = json!("PLACE");
            let body = review.to_string().replace("\"PLACE\"", &deep);
            assert!(read(body.as_bytes()).is_err(), "{path}");
        }
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(judge).unwrap().join().unwrap();
}

#[test]
fn row_14_two_objects_of_three_mebibytes_are_judged() {
    let large = |image: &str| {
        let mut object = pod(vec![container("api", image), container("log", "l:1")]);
        object["metadata"]["annotations"] = json!({"large": "\"x\\".repeat(1 << 20)});
        object
    };
    let body = review("UPDATE", "", "Pod", large("a:2"), large("a:1")).to_string();
    assert!(body.len() > 6 << 20);
    let request = read(body.as_bytes()).unwrap();
    let considered = consider(&request, &About::of(&request), &Workloads::default(), &ExemptRequesters::default());
    let Considered::Judge(collected) = considered else { panic!("{considered:?}") };
    let images: Vec<String> = collected.images().iter().map(|image| image.image.to_owned()).collect();
    assert_eq!((images, collected.unchanged), (vec!["a:2".to_owned()], 1));
}

proptest! {
    #[test]
    fn row_17_no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&body);
        let _ = uid_of(&body);
    }

    /// A review with a few bytes changed: everything after the reader meets it, too.
    #[test]
    fn row_17_no_damage_makes_it_panic(at in 0usize..900, bytes in proptest::collection::vec(any::<u8>(), 1..4), cut in any::<bool>()) {
        let mut body = created().to_string().into_bytes();
        let at = at.min(body.len());
        if cut {
            body.truncate(at);
        }
        body.splice(at..at, bytes);
        if let Ok(request) = read(&body)
            && let Considered::Judge(collected) = consider(&request, &About::of(&request), &Workloads::default(), &ExemptRequesters::default())
        {
            let _ = collected.images();
        }
    }
}
