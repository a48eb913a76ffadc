//! Instructions of the engine's work, counted by valgrind's callgrind and compared with `benches/baseline.json`: the
//! figures that noise does not touch.
//!
//! `make bench-counts` starts this program twice: the first start, below, starts the second under valgrind
//! (`callgrind.rs`), which runs the work that `cases.rs` lists. It fails where a count has grown by more than the
//! tolerance (`baseline.rs`), and `UPDATE_BASELINE=1 make bench-counts` writes the counts down as the new baseline.
//!
//! It is built without the feature `server`: the engine alone is counted (sockets and runtimes have no stable count), and
//! is built in a quarter of the time.

mod baseline;
mod callgrind;
mod cases;
#[path = "../support/scene.rs"]
mod scene;

use std::io::Write as _;
use std::process::ExitCode;

use baseline::Baseline;

/// As the server has: what it costs to allocate is a part of every count.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Beside `Cargo.toml`, where cargo starts benches.
const BASELINE: &str = "benches/baseline.json";

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == callgrind::COUNT) {
        cases::all(callgrind::count);
        return ExitCode::SUCCESS;
    }
    match check() {
        Ok(code) => code,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "counts: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<ExitCode, String> {
    if let Some(reason) = unlike_the_baseline() {
        say(&format!("counts: nothing is counted: {reason}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let counts = callgrind::run()?;
    if std::env::var_os("UPDATE_BASELINE").is_some_and(|value| value == "1") {
        let text = Baseline::from(counts).text();
        std::fs::write(BASELINE, text).map_err(|error| format!("{BASELINE} cannot be written: {error}"))?;
        say(&format!("counts: {BASELINE} is written; commit it, and say in the message why the counts changed"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = std::fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE} cannot be read: {error}"))?;
    let compared = Baseline::read(&text).map_err(|error| format!("{BASELINE}: {error}"))?.compare(&counts);
    say(&compared.text)?;
    Ok(if compared.passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why counts of this program say nothing beside the baseline, if that is so.
fn unlike_the_baseline() -> Option<&'static str> {
    if cfg!(feature = "server") || cfg!(debug_assertions) {
        return Some("the baseline is of the engine alone, as `make bench-counts` builds it");
    }
    if cfg!(not(target_arch = "x86_64")) {
        return Some("there is no baseline for this architecture, only for x86_64");
    }
    // Searches in memory choose their instructions by what the processor has.
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Some("the baseline is of a processor with AVX2");
    }
    None
}

fn say(text: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("standard output is closed: {error}"))
}
