//! A million reviews: allowed, denied, malformed, by slow clients and by some that leave; nothing may be left of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};

use crate::load::{self, Length, Load, PROTOCOLS};
use crate::reviews::{USUAL, policy};
use crate::say;
use crate::scene::Scene;
use crate::server::Server;
use crate::summary::{Figure, Summary};
use crate::table::{Table, mebibytes, whole};

const REVIEWS: u64 = 1_000_000;
const TENTHS: u64 = 10;
const CONNECTIONS: usize = 16;
/// How long connections may take to end once their clients are gone.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two pieces of a slow review.
const PAUSE: Duration = Duration::from_millis(100);
const PIECES: usize = 4;

/// A review that h2load sends over and over.
struct Kind {
    name: &'static str,
    body: PathBuf,
    /// Of a hundred reviews.
    share: u64,
    status: u16,
}

pub fn run(scene: &Scene, summary: &mut Summary) -> anyhow::Result<()> {
    let server = scene.server("soak", &scene.registries(), &policy(1, ", pin: pods"))?;
    let kinds = kinds(scene, &server)?;
    let (memory, descriptors) = (server.resident()?, server.descriptors()?);
    let began = Instant::now();
    let mut table =
        Table::new(&["reviews", "MiB", "descriptors", "slow reviews", "left in the middle", "per second"], 0);
    let over = AtomicBool::new(false);
    let (slow, left) = (AtomicU64::new(0), AtomicU64::new(0));
    table.row([
        "0".to_owned(),
        mebibytes(memory),
        descriptors.to_string(),
        "0".to_owned(),
        "0".to_owned(),
        "-".to_owned(),
    ]);
    let sizes = thread::scope(|scope| {
        let slow_clients: Vec<_> =
            (0..4).map(|_| scope.spawn(|| until(&over, || send_slowly(scene, &server, &slow)))).collect();
        let leaving_clients: Vec<_> =
            (0..4).map(|_| scope.spawn(|| until(&over, || leave(scene, &server, &left)))).collect();
        let sizes: anyhow::Result<Vec<u64>> = (1..=TENTHS)
            .map(|tenth| {
                let began = Instant::now();
                tenth_of_all(scene, &server, &kinds)?;
                let resident = server.resident()?;
                table.row([
                    (REVIEWS / TENTHS * tenth).to_string(),
                    mebibytes(resident),
                    server.descriptors()?.to_string(),
                    slow.load(Ordering::Relaxed).to_string(),
                    left.load(Ordering::Relaxed).to_string(),
                    whole(f64::from(u32::try_from(REVIEWS / TENTHS)?) / began.elapsed().as_secs_f64()),
                ]);
                Ok(resident)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        for client in slow_clients.into_iter().chain(leaving_clients) {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        sizes
    })?;
    let gone = Instant::now();
    while server.descriptors()? > descriptors && gone.elapsed() < PATIENCE {
        thread::sleep(PAUSE);
    }
    let (last, at_the_end) = (server.resident()?, server.descriptors()?);
    say(&format!(
        "A million reviews in {} s, remembered digests; four clients send slowly, four leave.\n",
        began.elapsed().as_secs()
    ));
    table.say();
    let first = sizes.first().copied().context("there was a first tenth")?;
    let measured = format!("{} to {}", mebibytes(first), mebibytes(last));
    summary.figure(Figure::new("soak: MiB after the first tenth, and at the end", "the same", "-", measured));
    let measured = format!("{descriptors} to {at_the_end}");
    summary.figure(Figure::new("soak: descriptors before, and once the clients are gone", "the same", "-", measured));
    Ok(())
}

/// Each kind was answered once as it is to be.
fn kinds(scene: &Scene, server: &Server) -> anyhow::Result<Vec<Kind>> {
    let fine = scene.with_digests(USUAL);
    let denied = USUAL.replace("acme/api:v1.4.2\"", "acme/api:latest\"");
    let malformed = USUAL[..USUAL.len() / 2].to_owned();
    let kinds = [
        ("allowed", fine, 60, 200, "\"allowed\":true"),
        ("denied", denied, 25, 200, "\"allowed\":false"),
        ("malformed", malformed, 15, 400, ""),
    ];
    let kind = |(name, review, share, status, said): (&'static str, String, u64, u16, &str)| {
        let (seen, body) = scene.client.session(server.webhook)?.post(review.as_bytes())?;
        ensure!(seen == status && body.contains(said), "a review that is to be {name} got {seen}: {body}");
        Ok(Kind { name, body: scene.file(&format!("reviews/{name}"), &review)?, share, status })
    };
    kinds.into_iter().map(kind).collect()
}

/// All kinds over both protocols.
fn tenth_of_all(scene: &Scene, server: &Server, kinds: &[Kind]) -> anyhow::Result<()> {
    for kind in kinds {
        for protocol in PROTOCOLS {
            let count = REVIEWS / TENTHS / 2 * kind.share / 100;
            let load = Load {
                address: server.webhook,
                protocol,
                body: &kind.body,
                connections: CONNECTIONS,
                streams: 1,
                length: Length::Requests(count),
                rate: None,
            };
            let ran = load::run(&scene.machine, scene.scratch(), &load)?;
            let right = if kind.status == 200 { ran.fine } else { ran.refused };
            ensure!(
                right == count && ran.failed == 0,
                "{right} of {count} that are to be {} were; the server said last: {}",
                kind.name,
                server.last_words()
            );
            server.forget_log()?;
        }
    }
    Ok(())
}

fn until(over: &AtomicBool, client: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    while !over.load(Ordering::Relaxed) {
        client()?;
    }
    Ok(())
}

/// A review in pieces, each a while after the other.
fn send_slowly(scene: &Scene, server: &Server, sent: &AtomicU64) -> anyhow::Result<()> {
    let review = scene.with_digests(USUAL);
    let mut session = scene.client.session(server.webhook)?;
    session.announce(review.len())?;
    for piece in review.as_bytes().chunks(review.len().div_ceil(PIECES)) {
        thread::sleep(PAUSE);
        session.send(piece)?;
    }
    let (status, body) = session.answer()?;
    ensure!(status == 200 && body.contains("\"allowed\":true"), "a slow review got {status}: {body}");
    sent.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Half of a review, and nobody is there any more.
fn leave(scene: &Scene, server: &Server, left: &AtomicU64) -> anyhow::Result<()> {
    let mut session = scene.client.session(server.webhook)?;
    session.announce(USUAL.len())?;
    session.send(&USUAL.as_bytes()[..USUAL.len() / 2])?;
    thread::sleep(PAUSE);
    left.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
