//! h2load: one run of it, and what it says.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::machine::{Core, Machine};

const PATIENCE: Duration = Duration::from_secs(30);

/// What is spoken over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

pub const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

impl Protocol {
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }
}

/// How long a run is.
#[derive(Clone, Copy)]
pub enum Length {
    For(Duration),
    Requests(u64),
}

impl Length {
    /// What no run that goes well takes.
    fn longest(self) -> Duration {
        match self {
            Length::For(time) => time + PATIENCE,
            Length::Requests(_) => PATIENCE * 10,
        }
    }
}

/// One run: who is asked what, by how many.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub body: &'a Path,
    pub connections: usize,
    /// Requests at one time on one connection of HTTP/2.
    pub streams: usize,
    pub length: Length,
    /// Requests per second of all connections together; none: as fast as answers come.
    pub rate: Option<f64>,
}

/// What a run came to.
pub struct Ran {
    /// Answers per second.
    pub rate: f64,
    pub answers: u64,
    /// Of them, those of status 2xx and 4xx.
    pub fine: u64,
    pub refused: u64,
    /// What got no answer, or one of another status.
    pub failed: u64,
    /// From a request's first byte to its answer's last, as the client sees it, in seconds, sorted; answers 2xx only.
    pub latencies: Vec<f64>,
    /// The same of answers 4xx.
    pub refusals: Vec<f64>,
}

impl Ran {
    /// The latency that this part of the answers stayed within.
    pub fn latency(&self, part: f64) -> f64 {
        percentile(&self.latencies, part)
    }
}

/// The value of a sorted list that this part of it stays within.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    // Lists are short and parts below one: the place is exact.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "see above"
    )]
    let place = (sorted.len() as f64 * part) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Runs h2load; `scratch` is a folder in memory.
pub fn run(machine: &Machine, scratch: &Path, load: &Load<'_>) -> anyhow::Result<Ran> {
    let log = scratch.join("h2load.tsv");
    // h2load would append to it.
    let _ = fs::remove_file(&log);
    // It never ends where a time is over before all of its connections are made.
    let mut command = machine.command(Core::Load, "timeout");
    command.arg(load.length.longest().as_secs().to_string()).arg("h2load");
    if load.protocol == Protocol::Http1 {
        command.arg("--h1");
    }
    command.arg("-c").arg(load.connections.to_string());
    command.arg("-m").arg(load.streams.to_string());
    match load.length {
        Length::For(time) => command.arg("-D").arg(format!("{}ms", time.as_millis())),
        Length::Requests(count) => command.arg("-n").arg(count.to_string()),
    };
    if let Some(rate) = load.rate {
        // It has no integer per connection, and h2load takes a fraction.
        command.arg(format!("--rps={:.3}", rate / f64::from(u32::try_from(load.connections)?)));
    }
    command.arg("-d").arg(load.body).args(["-H", "content-type: application/json"]);
    command.arg("--log-file").arg(&log).arg(format!("https://{}/validate?timeout=10s", load.address));
    let output = command.stdin(Stdio::null()).output().context("cannot run h2load (Debian: nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "h2load ended with {}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    read(&text, &fs::read_to_string(&log)?).with_context(|| format!("h2load says something else: {text}"))
}

/// Takes the report apart, and the log of single requests.
fn read(text: &str, log: &str) -> anyhow::Result<Ran> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let rate = line("finished in ").split(", ").nth(1).and_then(|part| part.strip_suffix(" req/s"));
    let rate = rate.and_then(|rate| rate.parse().ok()).context("no rate")?;
    let counts = |line: &str, name: &str| {
        let part = line.split(", ").find_map(|part| part.trim().strip_suffix(name));
        part.and_then(|number| number.trim().parse::<u64>().ok()).with_context(|| format!("no number of{name}"))
    };
    let (requests, statuses) = (line("requests: "), line("status codes: "));
    let answers = counts(requests, " done")?;
    let (fine, refused) = (counts(statuses, " 2xx")?, counts(statuses, " 4xx")?);
    let failed = counts(requests, " errored")? + counts(requests, " timeout")? + answers.saturating_sub(fine + refused);
    Ok(Ran { rate, answers, fine, refused, failed, latencies: latencies(log, '2'), refusals: latencies(log, '4') })
}

/// Of the answers whose status begins so. A line is: start in microseconds since the epoch, status, microseconds.
fn latencies(log: &str, status: char) -> Vec<f64> {
    let request = |line: &str| {
        let (seen, took) = line.split_once('\t')?.1.split_once('\t')?;
        seen.starts_with(status).then(|| took.parse::<f64>().ok().map(|micros| micros / 1e6)).flatten()
    };
    let mut latencies: Vec<f64> = log.lines().filter_map(request).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}
