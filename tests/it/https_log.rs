//! The server's log as whoever reads standard error sees it, or does not.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::https_support::{Connection, PATIENCE, Server, Setup, pod_review, until};

/// A review of twenty images with long names: its line has about six kilobytes.
fn long_review() -> Value {
    let mut review = pod_review("shop", "nginx:v1.2.3");
    let containers = (0..20).map(|number| {
        let image = format!("registry.example.com/{}/{number}:v1.2.3", "x".repeat(200));
        json!({"name": format!("c{number}"), "image": image})
    });
    review["request"]["object"]["spec"]["containers"] = containers.collect();
    review
}

async fn is_answered(connection: &mut Connection, review: &Value) {
    let answer = timeout(PATIENCE, connection.review("/validate", review)).await.expect("the log keeps the review");
    assert_eq!(answer["allowed"], true, "{answer}");
}

/// The lines of the log, each of which has to be JSON.
fn lines(server: &Server) -> Vec<Value> {
    server.log.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn decisions(server: &Server) -> u64 {
    lines(server).iter().filter(|line| line["message"] == "decision").count() as u64
}

async fn dropped(server: &Server) -> u64 {
    let value = server.metric("tagwarden_log_lines_dropped_total").await.expect("it is shown from the start");
    format!("{value}").parse().unwrap()
}

#[tokio::test]
async fn reviews_do_not_wait_for_a_reader_of_the_log_and_missing_lines_are_told_of() {
    let server = Setup::default().start();
    let mut connection = server.http1().await;
    let review = long_review();
    is_answered(&mut connection, &review).await;
    assert_eq!(dropped(&server).await, 0);
    server.log.pause();
    let mut sent = 1;
    let mut missing = 0;
    // 4 MiB wait, and a pipe holds some more.
    while missing < 20 {
        for _ in 0..50 {
            is_answered(&mut connection, &review).await;
            sent += 1;
        }
        missing = dropped(&server).await;
        assert!(sent < 10_000, "nothing is dropped, so memory has no bound");
    }

    server.log.resume();
    let told = until("the log tells of each line", async || {
        let lines = lines(&server);
        let told =
            lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with("lines of this log were dropped"));
        let levels = told.clone().all(|line| line["level"] == "WARN");
        let sum: u64 = told.map(|line| line["lines"].as_u64().unwrap()).sum();
        (sum >= missing).then_some((sum, levels))
    })
    .await;
    assert_eq!(told, (missing, true));
    assert_eq!(dropped(&server).await, missing);
    is_answered(&mut connection, &review).await;
    let wanted = sent + 1 - missing;
    until("each line is there or was counted", async || (decisions(&server) == wanted).then_some(())).await;
}

#[tokio::test]
async fn the_last_lines_are_there_when_the_server_has_ended() {
    let mut server = Setup::config("shutdownDelay: 0s\n").start();
    let mut connection = server.http1().await;
    for _ in 0..20 {
        is_answered(&mut connection, &long_review()).await;
    }
    server.terminate();
    assert!(server.ended().await.success());
    server.log.wait(|line| line["message"] == "ended");
    assert_eq!(decisions(&server), 20);
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let mut server = Setup::config("shutdownDelay: 0s\n").start();
    server.log.pause();
    let mut connection = server.http1().await;
    for _ in 0..100 {
        is_answered(&mut connection, &long_review()).await;
    }
    let began = Instant::now();
    server.terminate();
    assert!(server.ended().await.success());
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}
