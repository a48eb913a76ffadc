//! `make bench-overload`: four times what the server takes at one time; then a million reviews of every kind.

mod crowd;
mod far;
mod soak;

use std::time::Instant;

use anyhow::ensure;
use crowd::{Crowd, PLACES, WORKING, crowd};

use crate::load::{self, Length, Load, Protocol, Ran, percentile};
use crate::measure::{Effort, Spread};
use crate::reviews::{BY_TEXT, LARGE, USUAL, policy};
use crate::say;
use crate::scene::Scene;
use crate::server::Server;
use crate::summary::{Figure, Summary};
use crate::table::{Table, mebibytes, time, whole};

/// `limits.requests`, as it is by default.
const LIMIT: usize = 512;
const CONNECTIONS: usize = 64;

pub fn run() -> anyhow::Result<()> {
    let began = Instant::now();
    let effort = Effort::or(5, 2.0)?;
    let scene = Scene::set()?;
    say(&format!("{}; {} rounds of {:?}\n", scene.told(), effort.rounds, effort.length));
    let mut summary = Summary::default();
    by_computing(&scene, effort, &mut summary)?;
    by_waiting(&scene, effort, &mut summary)?;
    soak::run(&scene, &mut summary)?;
    summary.table().say();
    say(&format!("all of it took {} s", began.elapsed().as_secs()));
    Ok(())
}

/// One run under so many reviews at one time.
struct Run {
    /// Decisions per second.
    decided: f64,
    /// Answers 429 per second.
    refused: f64,
    p99: f64,
    refusal_p99: f64,
    resident: u64,
}

/// Runs of the same load.
struct Level {
    at_once: usize,
    runs: Vec<Run>,
}

impl Level {
    fn median(&self, value: impl Fn(&Run) -> f64) -> f64 {
        Spread::of(self.runs.iter().map(value)).median
    }
}

/// Reviews that the CPU alone holds up, over HTTP/2: h2load sends the next as soon as an answer comes, whatever it is.
fn by_computing(scene: &Scene, effort: Effort, summary: &mut Summary) -> anyhow::Result<()> {
    say("Static rules, HTTP/2 on 64 connections; h2load sends again at once, whatever the answer was.\n");
    for (name, review) in [("8 KB", USUAL), ("64 KB", LARGE)] {
        let server = scene.server("static", "", &policy(1, BY_TEXT))?;
        let body = scene.file("reviews/overload", review)?;
        let mut levels = [LIMIT / 8, LIMIT, LIMIT * 4].map(|at_once| Level { at_once, runs: Vec::new() });
        for _ in 0..effort.rounds {
            for level in &mut levels {
                let load = Load {
                    address: server.webhook,
                    protocol: Protocol::Http2,
                    body: &body,
                    connections: CONNECTIONS,
                    streams: level.at_once / CONNECTIONS,
                    length: Length::For(effort.length),
                    rate: None,
                };
                let ran = load::run(&scene.machine, scene.scratch(), &load)?;
                ensure!(
                    ran.failed == 0,
                    "{} reviews failed; the server said last: {}",
                    ran.failed,
                    server.last_words()
                );
                level.runs.push(of_load(&ran, &server)?);
                server.forget_log()?;
            }
        }
        told(&levels, &format!("reviews of {name}"), 1, summary);
    }
    Ok(())
}

/// Reviews that wait for a registry: no CPU is short, and the limits of reviews at one time are what is reached.
fn by_waiting(scene: &Scene, effort: Effort, summary: &mut Summary) -> anyhow::Result<()> {
    say(&format!(
        "Digests that nobody has asked for yet, at a registry {:?} away; {WORKING} reviews at work (limits.requests), so that \
         {PLACES} at one time are taken; HTTP/1.1. Who is refused comes again {:?} later.\n",
        far::AWAY,
        far::AWAY
    ));
    let registries = scene.registries_at(far::away(scene)?);
    let limits = format!("limits: {{requests: {WORKING}, lookupsPerHost: {PLACES}, lookupsPerNamespace: {PLACES}}}\n");
    let server = scene.server("waiting", &format!("{registries}{limits}"), &policy(1, ", pin: pods"))?;
    let mut levels = [PLACES, PLACES * 4].map(|at_once| Level { at_once, runs: Vec::new() });
    for _ in 0..effort.rounds {
        for level in &mut levels {
            let Crowd { decided, refused, seconds } = crowd(scene, &server, level.at_once, effort.length)?;
            level.runs.push(Run {
                decided: count(decided.len()) / seconds,
                refused: count(refused.len()) / seconds,
                p99: percentile(&decided, 0.99),
                refusal_p99: percentile(&refused, 0.99),
                resident: server.resident()?,
            });
            server.forget_log()?;
        }
    }
    told(&levels, "reviews that wait", 0, summary);
    Ok(())
}

fn of_load(ran: &Ran, server: &Server) -> anyhow::Result<Run> {
    let seconds = count(usize::try_from(ran.answers)?) / ran.rate;
    Ok(Run {
        decided: count(usize::try_from(ran.fine)?) / seconds,
        refused: count(usize::try_from(ran.refused)?) / seconds,
        p99: ran.latency(0.99),
        refusal_p99: percentile(&ran.refusals, 0.99),
        resident: server.resident()?,
    })
}

/// Says a table of levels, and what the last is beside the one of the capacity.
fn told(levels: &[Level], name: &str, capacity: usize, summary: &mut Summary) {
    let head = [
        "at one time",
        "decisions/s",
        "beside",
        "least",
        "greatest",
        "429/s",
        "p99",
        "p99 of 429",
        "MiB first",
        "MiB last",
    ];
    let mut table = Table::new(&head, 0);
    for level in levels {
        let beside =
            Spread::of(level.runs.iter().zip(&levels[capacity].runs).map(|(run, base)| run.decided / base.decided));
        let refusal = level.median(|run| run.refusal_p99);
        table.row([
            level.at_once.to_string(),
            whole(level.median(|run| run.decided)),
            format!("{:.2}", beside.median),
            format!("{:.2}", beside.least),
            format!("{:.2}", beside.greatest),
            whole(level.median(|run| run.refused)),
            time(level.median(|run| run.p99)),
            if refusal.is_nan() { "-".to_owned() } else { time(refusal) },
            mebibytes(level.runs.first().map_or(0, |run| run.resident)),
            mebibytes(level.runs.last().map_or(0, |run| run.resident)),
        ]);
        if level.at_once == levels[capacity].at_once * 4 {
            let what = format!("throughput under 4 times the capacity, {name}");
            summary.figure(Figure::new(what, "0.90", "-", format!("{:.2}", beside.median)));
        }
    }
    table.say();
}

fn count(of: usize) -> f64 {
    u32::try_from(of).map_or(f64::INFINITY, f64::from)
}
