//! The server over the wire: throughput, latency, CPU and memory of `tagwarden serve` beside its floor, under h2load.
//!
//! The server has one core to itself and the load another; runs are short and in turns (A B A B), so that what the
//! machine does meanwhile hits both. `TAGWARDEN_BENCH_PROGRAM` names another build of the server to measure,
//! `TAGWARDEN_BENCH_ROUNDS` and `TAGWARDEN_BENCH_SECONDS` how many rounds there are and how long one run is.
//!
//! ```text
//! make bench             # or: cargo bench --bench wire
//! make bench-scale       # or: cargo bench --bench wire -- scale
//! make bench-overload    # or: cargo bench --bench wire -- overload
//! ```

mod client;
mod figures;
mod floor;
mod load;
mod machine;
mod measure;
mod overload;
mod reviews;
mod scale;
mod scene;
mod server;
mod summary;
mod table;

use std::io::Write as _;

use anyhow::bail;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // cargo adds `--bench` of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => figures::run(),
        ["scale"] => scale::run(),
        ["overload"] => overload::run(),
        ["--floor", address, cert, key] => floor::run(address, cert, key),
        other => bail!("unknown arguments: {other:?}; there is 'scale', 'overload', and nothing for the figures"),
    }
}

fn say(line: &str) {
    // Nobody is left to tell when the output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
