//! The programs that are measured, as processes: started, waited for, asked how they are, and ended.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::client::get;
use crate::machine::{cpu_seconds, descriptors, resident};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_micros(200);

/// A running server; killed when it is dropped.
///
/// Its log goes to a file in memory that is emptied between runs: the server pays for each line as it does in
/// production, a write that copies, while no reader of a pipe takes time from the core of the load.
pub struct Server {
    pub webhook: SocketAddr,
    /// None: the floor, which has no such port.
    health: Option<SocketAddr>,
    /// From its start until it was ready.
    pub ready_after: Duration,
    log_path: PathBuf,
    log: File,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it and waits until it is ready.
    pub fn start(mut command: Command, log_path: &Path) -> anyhow::Result<Self> {
        let _ = fs::remove_file(log_path);
        let log = OpenOptions::new().create(true).append(true).open(log_path)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone()?);
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let listening = match listening(&mut child, log_path, began) {
            Ok(listening) => listening,
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(problem);
            }
        };
        let address = |name: &str| listening[name].as_str().and_then(|address| address.parse().ok());
        let mut server = Server {
            webhook: address("webhook").context("a server that does not tell where it listens")?,
            health: address("health"),
            ready_after: Duration::ZERO,
            log_path: log_path.to_owned(),
            log,
            child,
        };
        while let Some(health) = server.health {
            match get(health, "/readyz") {
                Ok(_) => break,
                Err(problem) if began.elapsed() > PATIENCE => return Err(problem),
                Err(_) => sleep(PAUSE),
            }
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.id())
    }

    /// In KiB.
    pub fn resident(&self) -> anyhow::Result<u64> {
        resident(self.id())
    }

    pub fn descriptors(&self) -> anyhow::Result<usize> {
        descriptors(self.id())
    }

    /// Empties its log.
    pub fn forget_log(&self) -> anyhow::Result<()> {
        Ok(self.log.set_len(0)?)
    }

    /// The last lines of its log, for whoever has to find out why.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log_path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// How many reviews took at most how many seconds in the server, over all that it answered on `/validate`.
    pub fn durations(&self) -> anyhow::Result<Vec<(f64, f64)>> {
        let health = self.health.context("the floor has no metrics")?;
        let start = "tagwarden_admission_duration_seconds_bucket{endpoint=\"validate\",le=\"";
        let bucket = |line: &str| {
            let (limit, count) = line.strip_prefix(start)?.split_once("\"} ")?;
            Some((limit.replace('+', "").parse().ok()?, count.parse().ok()?))
        };
        let found: Vec<_> = get(health, "/metrics")?.lines().filter_map(bucket).collect();
        ensure!(!found.is_empty(), "the server has no histogram of its reviews");
        Ok(found)
    }
}

/// The line of the log that tells where it listens.
fn listening(child: &mut Child, log: &Path, began: Instant) -> anyhow::Result<Value> {
    loop {
        let text = fs::read_to_string(log)?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| line["message"] == "listening") {
            return Ok(line);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended with {status}: {text}");
        }
        ensure!(began.elapsed() < PATIENCE, "the server does not listen: {text}");
        sleep(PAUSE);
    }
}

/// The duration that this part of the reviews between two looks at the histogram stayed within: between the bounds of
/// the bucket that holds it as if its reviews lay there evenly, as Prometheus' `histogram_quantile` does.
pub fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], part: f64) -> f64 {
    let counts: Vec<(f64, f64)> = before.iter().zip(after).map(|(old, new)| (new.0, new.1 - old.1)).collect();
    let wanted = counts.last().map_or(0.0, |(_, all)| all * part);
    let (mut lower, mut below) = (0.0, 0.0);
    for (limit, count) in counts {
        if count >= wanted && limit.is_finite() {
            return lower + (limit - lower) * (wanted - below) / (count - below).max(1.0);
        }
        (lower, below) = (limit, count);
    }
    f64::INFINITY
}
