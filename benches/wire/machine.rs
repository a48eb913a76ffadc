//! The machine: which core is whose, and how programs are started on them.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::Context as _;

/// Ticks of a second in `/proc/PID/stat`: USER_HZ, 100 wherever Kubernetes runs.
const TICKS: f64 = 100.0;

/// Who runs where.
#[derive(Clone, Copy)]
pub enum Core {
    /// What is measured.
    Server,
    /// What measures.
    Load,
}

/// The cores that this process may use.
pub struct Machine {
    cores: Option<[usize; 2]>,
}

impl Machine {
    /// The first two cores of those that we may use; none where there is only one.
    pub fn new() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        let mut allowed = list.trim().split(',').flat_map(range);
        let cores = allowed.next().zip(allowed.next()).map(|(server, load)| [server, load]);
        Ok(Machine { cores })
    }

    /// How things are placed, for the reader of the figures.
    pub fn told(&self) -> String {
        match self.cores {
            Some([server, load]) => format!("server on core {server}, h2load on core {load}"),
            None => "one core only: server and h2load share it, and nothing is pinned; figures are low".to_owned(),
        }
    }

    /// A command on its core, with as many descriptors as we are given, and without anything that our environment
    /// would tell the server.
    pub fn command(&self, core: Core, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]);
        if let Some([server, load]) = self.cores {
            let core = match core {
                Core::Server => server,
                Core::Load => load,
            };
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command.arg(program);
        for (name, _) in std::env::vars() {
            if name.starts_with("TAGWARDEN_") || name.starts_with("KUBE") || name == "POD_NAMESPACE" {
                command.env_remove(name);
            }
        }
        command
    }
}

/// `0-3` or `2` of a list of cores.
fn range(text: &str) -> std::ops::RangeInclusive<usize> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<usize>().ok();
    match (number(from), number(to)) {
        (Some(from), Some(to)) => from..=to,
        _ => std::ops::RangeInclusive::new(1, 0),
    }
}

/// Seconds of CPU that a process had so far, its threads and the kernel's work for it together; to 10 ms.
pub fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok()).context("/proc/PID/stat is short");
    Ok((ticks()? + ticks()?) / TICKS)
}

/// Resident memory of a process in KiB.
pub fn resident(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().context("/proc/PID/status has no VmRSS")
}

/// Open descriptors of a process.
pub fn descriptors(process: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
