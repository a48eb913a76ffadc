//! Everything that is tested from outside and needs no cluster, as one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod allocations;
mod api_double;
mod cases;
mod cases_facts;
mod chart;
mod cli_bad_input;
mod cli_charts;
mod cli_check;
mod cli_check_cluster;
mod cli_check_inputs;
mod cli_demo;
mod cli_doctor;
mod cli_explain;
mod cli_explain_reasons;
mod cli_facts;
mod cli_formats;
mod cli_generated;
mod cli_hook;
mod cli_init;
mod cli_labels;
mod cli_lint;
mod cli_pin;
mod cli_pin_files;
mod cli_policies;
mod cli_registry;
mod cli_release;
mod cli_release_cluster;
mod cli_release_diff;
mod cli_release_mistakes;
mod cli_release_verify;
mod cli_resolve;
mod cli_support;
mod cli_test;
mod cli_test_format;
mod cli_usage;
#[path = "../../benches/counts/baseline.rs"]
mod counts_baseline;
mod coverage;
mod diagnostics;
mod docs;
mod editor;
mod exit_codes;
mod history;
mod hostile;
mod https_connections;
mod https_lifecycle;
mod https_mutate;
mod https_objects;
mod https_registry;
mod https_release_objects;
mod https_releases;
mod https_reload;
mod https_reviews;
mod https_self_managed;
mod https_support;
mod integrations;
mod invariants;
mod lint_codes;
mod python;
mod real_registries;
#[expect(dead_code, reason = "each suite uses a part of it")]
#[path = "../registries/suite.rs"]
mod registries;
mod registry_double;
mod schema;
mod tidy;
mod wait;
