//! The suite on a whole node: the chart is installed, lived with under load, hurt and removed.
//!
//! Run it with `make e2e`. There is one node and one release, so scenarios run one after the other, in the order of this
//! file; each brings the release into the state that it needs and can run alone:
//! `make e2e-node SCENARIO=rolling`. Names carry the row of the checklist in the admission contract that they hold. Instead
//! of starting a node the suite can be pointed at a cluster that exists, see `harness/cluster.rs`; scenarios that meddle
//! with the processes of the node are then not run, and say so.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails the test, and this suite prints its own results"
)]

mod harness;
mod install;

use harness::{Cluster, Node, Release, Report};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// What a scenario is given.
struct Bed {
    cluster: Cluster,
    report: Report,
}

impl Bed {
    fn release(&self) -> Release<'_> {
        Release::new(&self.cluster)
    }

    /// The release under enforcement, with two fresh replicas.
    fn enforce(&self) -> Release<'_> {
        let release = self.release();
        release.install(&release.enforcing());
        release
    }

    /// The node's processes, for scenarios that need [`Needs::OwnNode`].
    fn node(&self) -> &Node {
        self.cluster.own_node().expect("the scenario is run on a node of our own only")
    }
}

/// Where a scenario can run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Any cluster.
    Cluster,
    /// The node that the suite started: it stops and starts its processes, or reads their files.
    OwnNode,
}

struct Scenario {
    name: &'static str,
    needs: Needs,
    run: fn(&Bed),
}

macro_rules! scenarios {
    ($($needs:ident $module:ident::$name:ident,)*) => {
        &[$(Scenario {
            name: concat!(stringify!($module), "::", stringify!($name)),
            needs: Needs::$needs,
            run: $module::$name,
        }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    Cluster install::first_install_blocks_nothing,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |scenario: &&Scenario| filters.is_empty() || filters.iter().any(|part| scenario.name.contains(*part));
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(chosen).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in chosen {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("no scenario of the node suite is meant");
        return ExitCode::SUCCESS;
    }
    run(&chosen)
}

fn run(chosen: &[&Scenario]) -> ExitCode {
    let begun = Instant::now();
    let bed = Bed { cluster: Cluster::start(), report: Report::default() };
    println!("the cluster is up after {:.1} s", begun.elapsed().as_secs_f64());
    let mut failed = Vec::new();
    for scenario in chosen {
        if scenario.needs == Needs::OwnNode && bed.cluster.own_node().is_none() {
            println!("{} ... not run: it needs a node that the suite started", scenario.name);
            continue;
        }
        println!("{} ...", scenario.name);
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&bed)));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{} ... {word}, {:.1} s", scenario.name, started.elapsed().as_secs_f64());
        if outcome.is_err() {
            bed.cluster.explain();
            failed.push(scenario.name);
        }
    }
    println!("\n{}", bed.report);
    println!("{} scenarios, {} failed, {:.0} s in all", chosen.len(), failed.len(), begun.elapsed().as_secs_f64());
    for name in &failed {
        println!("failed: {name}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
