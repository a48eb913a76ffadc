//! Counting instructions: this program under callgrind, which counts inside one function alone and writes down what it
//! has counted each time that this function returns.

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The argument that makes this program do the work instead of starting valgrind.
pub const COUNT: &str = "count-under-valgrind";

/// The function below, as callgrind names it: without the hash that the compiler puts behind a name, or with it.
const COUNTED: [&str; 2] = ["counts::callgrind::counted", "counts::callgrind::counted::*"];

/// Calls that are counted as one and divided: the seeds of hash maps and what an allocator does now and then are not the
/// same in each.
const CALLS: u64 = 64;

/// Calls before that: caches fill, lazy automata grow, pages are got from the kernel.
const WARM_UP: u64 = 8;

/// Counts the instructions of `call`: does the work, and says on standard output what it was. Of use under valgrind alone.
pub fn count(name: &str, call: &mut dyn FnMut()) {
    for _ in 0..WARM_UP {
        call();
    }
    counted(call);
    let said = writeln!(std::io::stdout(), "{name}");
    assert!(said.is_ok(), "the starting program reads the names");
}

#[inline(never)]
fn counted(call: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        black_box(&mut *call)();
    }
}

/// The instructions of one call of each of the cases, by name, in their order.
///
/// # Errors
/// One sentence: valgrind is missing, or failed, or what it counted does not belong to the cases.
pub fn run() -> Result<Vec<(String, u64)>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for callgrind's files: {error}"))?;
    let out = folder.path().join("callgrind");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", out.display())])
        .args(COUNTED.map(|name| format!("--toggle-collect={name}")))
        .args(COUNTED.map(|name| format!("--dump-after={name}")))
        .arg(program)
        .arg(COUNT)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let ran =
        ran.map_err(|error| format!("valgrind cannot be started: {error}; install it (apt-get install valgrind)"))?;
    if !ran.status.success() {
        return Err(format!("the work under valgrind ended with {}", ran.status));
    }
    let names = String::from_utf8_lossy(&ran.stdout).into_owned();
    let names: Vec<&str> = names.lines().collect();
    let counts = dumps(&out)?;
    if names.is_empty() || names.len() != counts.len() {
        return Err(format!(
            "callgrind wrote {} counts for {} cases; does it know the function {}?",
            counts.len(),
            names.len(),
            COUNTED[0]
        ));
    }
    Ok(names.into_iter().map(str::to_owned).zip(counts.into_iter().map(|count| count / CALLS)).collect())
}

/// The totals of callgrind's files `out.1`, `out.2`, ... in which it counted anything: after the last there may be one of
/// the end of the program.
fn dumps(out: &Path) -> Result<Vec<u64>, String> {
    let mut counts = Vec::new();
    for number in 1.. {
        let path = out.with_extension(number.to_string());
        let Ok(text) = fs::read_to_string(&path) else { break };
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse::<u64>().ok());
        counts.push(total.ok_or_else(|| format!("{} has no line of totals", path.display()))?);
    }
    counts.retain(|count| *count > 0);
    Ok(counts)
}
