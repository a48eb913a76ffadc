//! Reviews over HTTPS, as the API server sends them and as nobody should.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::https_support::{PROTOCOLS, Setup, pod, pod_review, post, response_of, review, until};

const MIB: usize = 1 << 20;

/// A Pod whose review has exactly this many bytes.
fn review_of_size(image: &str, bytes: usize) -> String {
    let mut padded = pod_review("shop", image);
    padded["request"]["object"]["metadata"]["annotations"] = json!({"padding": ""});
    let missing = bytes - padded.to_string().len();
    padded["request"]["object"]["metadata"]["annotations"] = json!({"padding": "x".repeat(missing)});
    padded.to_string()
}

#[tokio::test]
async fn row_01_every_decision_echoes_the_uid_over_both_protocols() {
    let server = Setup::config("exemptRequesters: {users: [robot]}\ninfrastructureNamespaces: [cilium]\n").start();
    let mut exempt = pod_review("shop", "nginx:latest");
    exempt["request"]["userInfo"]["username"] = json!("robot");
    let unchanged = review("UPDATE", "shop", &pod("nginx:latest"), &pod("nginx:latest"));
    let mut deleted = review("DELETE", "shop", &Value::Null, &pod("nginx:latest"));
    deleted["request"]["name"] = json!("x");
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        for (review, path, allowed) in [
            (&pod_review("shop", "nginx:v1.2.3"), "/validate?timeout=5s", true),
            (&pod_review("shop", "nginx:latest"), "/validate?timeout=5s", false),
            (&pod_review("shop", "\u{0}\u{ffff} not an image"), "/validate", false),
            (&pod_review("shop", "nginx:latest"), "/mutate?timeout=5s", true),
            (&pod_review("cilium", "nginx:latest"), "/validate", true),
            (&exempt, "/validate", true),
            (&unchanged, "/validate", true),
            (&deleted, "/validate", true),
        ] {
            let response = connection.review(path, review).await;
            assert_eq!(response["allowed"], allowed, "{protocol:?} {path} {response}");
            assert!(response.get("patch").is_none() && response.get("patchType").is_none());
            if !allowed {
                assert_eq!(
                    (&response["status"]["code"], &response["status"]["reason"]),
                    (&json!(403), &json!("Forbidden"))
                );
            }
        }
    }
    assert_eq!(server.metric("tagwarden_unjudged_requests_total{reason=\"exempt-requester\"}").await, Some(2.0));
    server.log.wait(|line| line["message"] == "decision" && line["reason"] == "exempt-requester");
}

#[tokio::test]
async fn row_12_a_dry_run_gets_the_same_verdict() {
    let server = Setup::default().start();
    for image in ["nginx:latest", "nginx:v1.2.3"] {
        let wet = pod_review("shop", image);
        let mut dry = wet.clone();
        dry["request"]["dryRun"] = json!(true);
        assert_eq!(server.review(&wet).await, server.review(&dry).await);
    }
    server.log.wait(|line| line["dry_run"] == true && line["decision"] == "deny");
}

#[tokio::test]
async fn row_13_sixteen_mib_are_read_and_a_byte_more_is_413() {
    let server = Setup::default().start();
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        let answer = connection.post("/validate", review_of_size("nginx:latest", 16 * MIB)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{protocol:?}");
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(answer["response"]["allowed"], false);
        // The client has sent it all and still gets to see the answer.
        let answer = connection.post("/validate", review_of_size("nginx:v1.2.3", 16 * MIB + 1)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{protocol:?}");
    }
    assert_eq!(server.metric("tagwarden_rejected_requests_total{reason=\"body-size\"}").await, Some(2.0));
    assert!(server.allows("nginx:v1.2.3").await, "the bytes were given back");
}

#[tokio::test]
async fn row_13_a_length_over_the_limit_is_refused_before_anything_is_sent() {
    let server = Setup::config("limits: {bodyBytes: 1KiB}\n").start();
    for head in ["content-length: 1025", "transfer-encoding: chunked"] {
        let mut stream = server.raw().await;
        let start = format!("POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}\r\n\r\n");
        stream.write_all(start.as_bytes()).await.unwrap();
        if head.starts_with("transfer") {
            stream.write_all(format!("401\r\n{}\r\n", "x".repeat(1025)).as_bytes()).await.unwrap();
        }
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"HTTP/1.1 413", "{head}");
    }
}

#[tokio::test]
async fn row_14_objects_of_three_mib_are_decided_twice_in_one_review_too() {
    let server = Setup::default().start();
    let large = |image: &str| {
        let mut object = pod(image);
        object["metadata"]["annotations"] = json!({"padding": "x".repeat(3 * MIB)});
        object
    };
    let (old, bad) = (large("nginx:v1.0.0"), large("nginx:latest"));
    for (review, allowed) in [
        (review("CREATE", "shop", &bad, &Value::Null), false),
        (review("UPDATE", "shop", &bad, &old), false),
        (review("UPDATE", "shop", &old, &old), true),
        (review("CREATE", "shop", &old, &Value::Null), true),
    ] {
        assert_eq!(server.review(&review).await["allowed"], allowed);
    }
}

#[tokio::test]
async fn row_15_deep_nesting_neither_breaks_nor_bypasses() {
    let server = Setup::default().start();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (image, allowed) in [("nginx:latest", false), ("nginx:v1.2.3", true)] {
        let mut sent = pod_review("shop", image);
        sent["request"]["object"]["spec"]["future"] = json!("PLACE");
        let answer =
            server.http1().await.post("/validate", sent.to_string().replace("\"PLACE\"", &deep)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(response_of(&answer, &sent)["allowed"], allowed);
    }
}

#[tokio::test]
async fn row_17_what_is_no_review_is_4xx_with_a_reason_and_the_server_lives() {
    let server = Setup::default().start();
    let good = pod_review("shop", "nginx:v1.2.3");
    let mut v1beta1 = good.clone();
    v1beta1["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut no_uid = good.clone();
    no_uid["request"].as_object_mut().unwrap().remove("uid");
    let cut = good.to_string()[..100].to_owned();
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        for path in ["/validate", "/mutate"] {
            let (v1beta1, no_uid) = (v1beta1.to_string(), no_uid.to_string());
            for body in ["", "null", "[]", "{}", "{\"request\":{}}", "\u{1}", &cut, &v1beta1, &no_uid] {
                let answer = connection.post(path, body.to_owned()).await.unwrap();
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path} {body}");
                assert!(answer.body().len() > 10, "a reason");
            }
            let answer = connection.post(path, vec![0xff, 0xfe]).await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        }
        for (content_type, status) in [
            ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("application/jsonp", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("application/json; charset=utf-8", StatusCode::OK),
            ("Application/JSON", StatusCode::OK),
        ] {
            let mut request = post("/validate", good.to_string());
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
            assert_eq!(connection.send(request).await.unwrap().status(), status, "{content_type}");
        }
        for (method, path, status) in [
            ("GET", "/validate", StatusCode::METHOD_NOT_ALLOWED),
            ("PUT", "/mutate", StatusCode::METHOD_NOT_ALLOWED),
            ("POST", "/", StatusCode::NOT_FOUND),
            ("POST", "/validate/", StatusCode::NOT_FOUND),
            ("GET", "/metrics", StatusCode::NOT_FOUND),
        ] {
            let mut request = post(path, good.to_string());
            *request.method_mut() = method.parse().unwrap();
            let answer = connection.send(request).await.unwrap();
            assert_eq!(answer.status(), status, "{method} {path}");
            let allow = answer.headers().get("allow").map(|value| value.to_str().unwrap());
            assert_eq!(allow, (status == StatusCode::METHOD_NOT_ALLOWED).then_some("POST"));
        }
    }
    assert!(server.allows("nginx:v1.2.3").await);
}

#[tokio::test]
async fn row_18_the_timeout_query_is_read_as_go_writes_it() {
    let server = Setup::default().start();
    let mut connection = server.http1().await;
    let good = pod_review("shop", "nginx:v1.2.3").to_string();
    for (query, status) in [
        ("?timeout=5s", StatusCode::OK),
        ("?timeout=1m30s", StatusCode::OK),
        ("?timeout=500ms&other=1", StatusCode::OK),
        ("?timeout=5", StatusCode::BAD_REQUEST),
        ("?timeout=-5s", StatusCode::BAD_REQUEST),
        ("?timeout=soon", StatusCode::BAD_REQUEST),
    ] {
        let answer = connection.post(&format!("/validate{query}"), good.clone()).await.unwrap();
        assert_eq!(answer.status(), status, "{query}");
    }
}

#[tokio::test]
async fn row_18_a_body_that_does_not_come_is_408_within_the_reviews_own_time() {
    let server = Setup::default().start();
    let mut stream = server.raw().await;
    let began = Instant::now();
    let head = "POST /validate?timeout=1s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 408");
    let bound = Duration::from_millis(500);
    assert!(began.elapsed() >= bound && began.elapsed() < 5 * bound, "{:?}", began.elapsed());
}

/// A client that holds a review's slot: it has sent the head and waits with the body.
const HELD: &str =
    "POST /validate?timeout=30s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";

#[tokio::test]
async fn row_20_requests_past_the_limit_are_429_with_retry_after() {
    let server = Setup::config("limits: {requests: 1}\n").start();
    let review = pod_review("shop", "nginx:v1.2.3");
    let body = review.to_string();
    let mut held = server.raw().await;
    held.write_all(format!("{HELD}{}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    until("the slot is taken", async || (server.metric("tagwarden_in_flight_requests").await? >= 1.0).then_some(()))
        .await;
    for protocol in PROTOCOLS {
        let answer = server.connection(protocol).await.post("/validate", body.clone()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{protocol:?}");
        let seconds: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds >= 1);
    }
    assert_eq!(server.metric("tagwarden_rejected_requests_total{reason=\"requests\"}").await, Some(2.0));
    held.write_all(body.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    held.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 200", "the one that was in is answered");
    assert!(server.allows("nginx:v1.2.3").await, "and its slot is free again");
}

#[tokio::test]
async fn row_20_bytes_past_the_limit_are_429_before_they_are_read() {
    let server = Setup::config("limits: {bodyBytes: 64KiB, inFlightBytes: 64KiB}\n").start();
    let mut held = server.raw().await;
    held.write_all(format!("{HELD}{}\r\n\r\n", 64 << 10).as_bytes()).await.unwrap();
    until("the slot is taken", async || (server.metric("tagwarden_in_flight_requests").await? >= 1.0).then_some(()))
        .await;
    let body = pod_review("shop", "nginx:v1.2.3").to_string();
    let refused = until("the bytes are counted", async || {
        let answer = server.http1().await.post("/validate", body.clone()).await.unwrap();
        (answer.status() == StatusCode::TOO_MANY_REQUESTS).then_some(answer)
    });
    assert_eq!(refused.await.headers()["retry-after"], "1");
    drop(held);
    until("the bytes are given back", async || {
        let answer = server.http1().await.post("/validate", body.clone()).await.unwrap();
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_28_generated_names_and_empty_object_namespaces_are_judged_by_the_request() {
    let server = Setup::default().start();
    let mut object = pod("nginx:latest");
    object["metadata"] = json!({"generateName": "job-"});
    let response = server.review(&review("CREATE", "shop", &object, &Value::Null)).await;
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("tagwarden denied Pod shop/job-*: "), "{message}");
}

#[tokio::test]
async fn row_68_too_many_images_and_too_long_ones_are_denied() {
    let server = Setup::config("limits: {images: 3, referenceBytes: 100}\n").start();
    let containers = |count: usize| {
        let mut object = pod("nginx:v1.2.3");
        let each = (0..count).map(|n| json!({"name": format!("c{n}"), "image": "nginx:v1.2.3"}));
        object["spec"]["containers"] = each.collect();
        review("CREATE", "shop", &object, &Value::Null)
    };
    assert_eq!(server.review(&containers(3)).await["allowed"], true);
    let long = pod_review("shop", &format!("nginx:v1.2.3@{}", "x".repeat(100)));
    for review in [containers(4), containers(100_000), long] {
        let response = server.review(&review).await;
        assert_eq!(response["allowed"], false);
        assert!(response["status"]["message"].as_str().unwrap().contains("TW197"), "{response}");
    }
}

#[tokio::test]
async fn row_70_secrets_reach_neither_log_nor_metrics_nor_answers() {
    const SECRET: &str = "correct-horse-battery-staple";
    let server = Setup::config("log: {level: trace}\n").start();
    let mut object = pod("nginx:latest");
    object["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": SECRET}]);
    object["metadata"]["annotations"] = json!({"last-applied": SECRET});
    let sent = review("CREATE", "shop", &object, &Value::Null);
    let mut request = post("/validate", sent.to_string());
    request.headers_mut().insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
    let answer = server.http1().await.send(request).await.unwrap();
    // A broken review, too: what a parser says of it may hold its values.
    let broken = server.http1().await.post("/validate", format!("{{\"request\": \"{SECRET}\"}}")).await.unwrap();
    // Lines are read in their order: with this one, whatever was said before is there.
    assert!(server.allows("nginx:v1.2.3").await);
    server.log.wait(|line| line["decision"] == "allow");
    let line = server.log.wait(|line| line["message"] == "decision");
    for field in ["uid", "operation", "kind", "namespace", "name", "user", "decision", "policy_hash"] {
        assert!(line[field].is_string(), "{field}: {line}");
    }
    let image = &line["images"][0];
    assert_eq!((&image["reference"], &image["class"]), (&json!("nginx:latest"), &json!("latest")), "{line}");
    assert_eq!(line["decision"], "deny");
    let (_, metrics) = server.get("/metrics").await;
    assert!(!metrics.contains("nginx"), "no image is a label");
    let answers = format!("{:?}{:?}", answer.body(), broken.body());
    for text in [server.log.text(), metrics, answers] {
        assert!(!text.contains(SECRET), "{text}");
    }
}
