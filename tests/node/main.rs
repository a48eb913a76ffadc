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

mod boundary;
mod cert_manager;
mod certificates;
mod doctor;
mod gitops;
mod harness;
mod install;
mod permissions;
mod recovery;
mod releases;
mod tls;
mod traffic;

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
    Cluster install::row_50_first_install_blocks_nothing,
    Cluster install::helm_test_sends_a_real_review,
    Cluster install::enforcing_is_one_change_of_values,
    Cluster boundary::row_45_46_47_namespaces_are_left_out_by_name_alone,
    OwnNode boundary::row_36_pods_of_other_controllers_are_not_pinned,
    Cluster traffic::row_75_soak,
    Cluster traffic::row_52_authority_rotation,
    Cluster permissions::row_71_the_process_is_confined,
    Cluster permissions::row_72_nothing_is_refused_to_the_server,
    Cluster gitops::row_49_nobody_fights_over_the_bundle,
    Cluster traffic::replicas_deleted,
    Cluster traffic::row_58_replicas_evicted_under_the_budget,
    Cluster traffic::row_52_leaf_rotation,
    OwnNode traffic::row_60_api_server_restarted,
    OwnNode traffic::etcd_paused,
    OwnNode traffic::row_55_61_registry_away,
    Cluster recovery::row_48_all_replicas_lost_under_enforcement,
    OwnNode recovery::replicas_daemons_and_registry_lost_at_once,
    Cluster recovery::wrong_bundle_repaired,
    Cluster recovery::bad_edit_then_all_replicas_lost,
    Cluster boundary::row_33_bookkeeping_goes_on_while_no_replica_is_there,
    Cluster install::bad_policy_in_values,
    Cluster install::policy_changed_by_kubectl_edit,
    Cluster install::upgrade_rolled_back,
    Cluster traffic::row_57_58_rolling_restart,
    Cluster traffic::row_52_the_old_authority_leaves,
    Cluster traffic::row_59_scaled_up_and_down,
    OwnNode boundary::row_65_without_the_pin_the_verdict_is_still_right,
    Cluster recovery::row_48_all_replicas_lost_under_audit,
    OwnNode certificates::row_66_only_the_api_server_may_call,
    Cluster install::policy_applied_as_an_object,
    OwnNode releases::what_runs_is_what_was_declared,
    Cluster doctor::broken_states_are_found,
    Cluster doctor::a_ca_bundle_that_nobody_repairs_is_found,
    Cluster doctor::policies_that_are_not_in_force_are_found,
    OwnNode doctor::what_runs_and_would_be_refused_is_listed,
    Cluster install::uninstalled_with_every_replica_stopped,
    Cluster recovery::row_51_three_replicas_start_at_once,
    OwnNode cert_manager::row_54_renewals_of_cert_manager,
    Cluster certificates::existing_secret,
    Cluster doctor::a_certificate_that_has_ended_is_found,
    Cluster install::row_56_first_start_with_a_bad_policy,
    Cluster permissions::row_72_the_account_may_do_what_the_table_says,
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
    let mut skipped = 0;
    for scenario in chosen {
        if scenario.needs == Needs::OwnNode && bed.cluster.own_node().is_none() {
            println!("{} ... not run: it needs a node that the suite started", scenario.name);
            skipped += 1;
            continue;
        }
        println!("{} ...", scenario.name);
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&bed)));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{} ... {word}, {:.1} s", scenario.name, started.elapsed().as_secs_f64());
        if outcome.is_err() {
            bed.cluster.explain();
            bed.cluster.own_node().into_iter().for_each(Node::heal);
            failed.push(scenario.name);
        }
    }
    println!("\n{}", bed.report);
    let (run, seconds) = (chosen.len() - skipped, begun.elapsed().as_secs());
    println!("{run} scenarios, {} failed, {skipped} not run, {seconds} s in all", failed.len());
    for name in &failed {
        println!("failed: {name}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
