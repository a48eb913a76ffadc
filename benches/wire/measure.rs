//! Runs in turns, and what each says of the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::{self, Length, Load, Protocol};
use crate::scene::Scene;
use crate::server::Server;

/// As many as an API server of a busy cluster keeps.
pub const CONNECTIONS: usize = 16;

/// How often, and how long.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub length: Duration,
}

impl Effort {
    /// That of the environment, or else these.
    pub fn or(rounds: usize, seconds: f64) -> anyhow::Result<Self> {
        let told = |name: &str| std::env::var(name).ok();
        let rounds = told("TAGWARDEN_BENCH_ROUNDS").map_or(Ok(rounds), |text| text.parse());
        let seconds = told("TAGWARDEN_BENCH_SECONDS").map_or(Ok(seconds), |text| text.parse());
        let rounds: usize = rounds.context("TAGWARDEN_BENCH_ROUNDS is a number")?;
        let length = Duration::try_from_secs_f64(seconds.context("TAGWARDEN_BENCH_SECONDS is a number")?)?;
        ensure!(rounds > 0 && !length.is_zero(), "no round of no time measures anything");
        Ok(Effort { rounds, length })
    }
}

/// One of those that are measured in turns.
pub struct Member<'s> {
    pub name: String,
    pub server: &'s Server,
    pub body: PathBuf,
    pub connections: usize,
    /// Which member of the group it is compared with; none: it is the measure.
    pub against: Option<usize>,
    pub runs: Vec<Run>,
}

/// Members that take turns under the same load.
pub struct Group<'s> {
    pub title: String,
    pub protocol: Protocol,
    pub members: Vec<Member<'s>>,
}

/// One run of one member.
#[derive(Clone, Copy)]
pub struct Run {
    /// Per second.
    pub rate: f64,
    /// In seconds, as the client sees it.
    pub p50: f64,
    pub p99: f64,
    /// CPU seconds of the server for 10,000 reviews.
    pub cpu: f64,
    /// The part of the run in which the server had the CPU: well under one, the load was the limit.
    pub busy: f64,
    /// After the run, in KiB.
    pub resident: u64,
}

/// All groups in turns, member after member, round after round.
pub fn rounds(scene: &Scene, groups: &mut [Group<'_>], effort: Effort) -> anyhow::Result<()> {
    for _ in 0..effort.rounds {
        for group in &mut *groups {
            for member in &mut group.members {
                let load = Load {
                    address: member.server.webhook,
                    protocol: group.protocol,
                    body: &member.body,
                    connections: member.connections,
                    streams: 1,
                    length: Length::For(effort.length),
                    rate: None,
                };
                let run = once(scene, member.server, &load);
                member.runs.push(run.with_context(|| format!("{}, {}", group.title, member.name))?);
            }
        }
    }
    Ok(())
}

/// One run, in which every review must be answered with 200.
pub fn once(scene: &Scene, server: &Server, load: &Load<'_>) -> anyhow::Result<Run> {
    let before = server.cpu_seconds()?;
    let ran = load::run(&scene.machine, scene.scratch(), load)?;
    let cpu = server.cpu_seconds()? - before;
    ensure!(
        ran.failed == 0 && ran.refused == 0 && ran.fine > 0,
        "{} of {} reviews refused, {} failed; the server said last: {}",
        ran.refused,
        ran.answers,
        ran.failed,
        server.last_words()
    );
    server.forget_log()?;
    // Counts of reviews are far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let answers = ran.answers as f64;
    Ok(Run {
        rate: ran.rate,
        p50: ran.latency(0.5),
        p99: ran.latency(0.99),
        cpu: cpu / answers * 1e4,
        busy: cpu / (answers / ran.rate),
        resident: server.resident()?,
    })
}

/// The least, the median and the greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), greatest: at(values.len().saturating_sub(1)) }
    }
}

impl<'s> Member<'s> {
    /// Compared with none; its server has allowed the review once.
    pub fn new(name: &str, scene: &Scene, server: &'s Server, body: &Path, connections: usize) -> anyhow::Result<Self> {
        let allowed = scene.client.allowed(server.webhook, &fs::read(body)?);
        allowed.with_context(|| format!("{name}; the server said last: {}", server.last_words()))?;
        let (name, body) = (name.to_owned(), body.to_owned());
        Ok(Member { name, server, body, connections, against: None, runs: Vec::new() })
    }

    /// The median of one value of its runs.
    pub fn median(&self, value: impl Fn(&Run) -> f64) -> f64 {
        Spread::of(self.runs.iter().map(value)).median
    }
}

impl Group<'_> {
    /// A member's value beside that of the one that it is compared with, round by round.
    pub fn ratio(&self, member: &Member<'_>, value: impl Fn(&Run) -> f64) -> Option<Spread> {
        let base = self.members.get(member.against?)?;
        Some(Spread::of(member.runs.iter().zip(&base.runs).map(|(run, base)| value(run) / value(base))))
    }
}
