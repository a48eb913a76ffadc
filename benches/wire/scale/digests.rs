//! Remembered digests, 10 to a million of them: each review asks for others, so that none of them is near at hand.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::curve::{Curve, Shape};
use crate::client::Session;
use crate::load::{Protocol, percentile};
use crate::measure::{Effort, Group, Member, Run};
use crate::reviews::{of_images, policy};
use crate::scene::Scene;
use crate::server::Server;

const SIZES: [usize; 4] = [10, 1000, 100_000, 1_000_000];
/// Room for all of the largest: by default there is for 100,000 and 32 MiB.
const ROOM: &str = "cache: {immutableTtl: 2h, entries: 1100000, bytes: 2GiB}\nlimits: {lookupsPerReview: 1000}\n";
const PER_REVIEW: usize = 10;
/// While they are asked for the first time.
const PER_FIRST_REVIEW: usize = 1000;

/// h2load sends one review only, so they come from here: one connection, one after the other.
pub fn remembered(scene: &Scene, effort: Effort) -> anyhow::Result<Shape> {
    let config = format!("{}{ROOM}", scene.registries());
    let rule = policy(1, ", pin: pods");
    let start = |size: &usize| scene.server(&format!("digests-{size}"), &config, &rule);
    let servers: Vec<Server> = SIZES.iter().map(start).collect::<anyhow::Result<_>>()?;
    let images = scene.many(0..SIZES[SIZES.len() - 1]);
    let body = scene.file("reviews/ten", &of_images(&images[..PER_REVIEW])?)?;
    let mut members = Vec::new();
    for (server, &size) in servers.iter().zip(&SIZES) {
        let mut session = scene.client.session(server.webhook)?;
        for some in images[..size].chunks(PER_FIRST_REVIEW) {
            allowed(&mut session, server, &of_images(some)?)?;
        }
        server.forget_log()?;
        members.push(Member::new("digests", scene, server, &body, 1)?);
    }
    let asked = scene.registry.requests();
    for round in 0..effort.rounds {
        for (member, &size) in members.iter_mut().zip(&SIZES) {
            let run = run(scene, member.server, &images[..size], round, effort.length)?;
            member.runs.push(run);
        }
    }
    let more = scene.registry.requests() - asked;
    ensure!(more == 0, "what is remembered is not asked for, and {more} requests came");
    let title = format!("digests remembered, reviews of {PER_REVIEW} of them");
    Ok(Curve { group: &Group { title, protocol: Protocol::Http1, members }, sizes: &SIZES }.say())
}

/// Reviews of all images in turn for so long, from another place in each round.
fn run(scene: &Scene, server: &Server, images: &[String], round: usize, length: Duration) -> anyhow::Result<Run> {
    let mut session = scene.client.session(server.webhook)?;
    let mut latencies = Vec::new();
    let before = server.cpu_seconds()?;
    // Images that follow each other were remembered together: a stride of a prime lies between two reviews.
    let reviews = images.len() / PER_REVIEW;
    let mut place = round * reviews / 7;
    let (mut waited, mut answers) = (Duration::ZERO, 0_u32);
    while waited < length {
        place = (place + 7919) % reviews;
        let review = of_images(&images[place * PER_REVIEW..(place + 1) * PER_REVIEW])?;
        let sent = Instant::now();
        allowed(&mut session, server, &review)?;
        waited += sent.elapsed();
        answers += 1;
        latencies.push(sent.elapsed().as_secs_f64());
    }
    let cpu = server.cpu_seconds()? - before;
    server.forget_log()?;
    latencies.sort_by(f64::total_cmp);
    let (answered, seconds) = (f64::from(answers), waited.as_secs_f64());
    Ok(Run {
        rate: answered / seconds,
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        cpu: cpu / answered * 1e4,
        busy: cpu / seconds,
        resident: server.resident()?,
    })
}

fn allowed(session: &mut Session, server: &Server, review: &str) -> anyhow::Result<()> {
    let (status, body) = session.post(review.as_bytes())?;
    let fine = status == 200 && body.contains("\"allowed\":true");
    ensure!(fine, "a review that is fine got {status}: {body}; the server said last: {}", server.last_words());
    Ok(())
}
