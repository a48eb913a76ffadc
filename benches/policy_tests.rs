//! `tagwarden test` of a file of 1,000 cases, read, judged and printed, with and without coverage.

use std::fmt::Write as _;
use std::path::Path;

use clap::Parser as _;
use criterion::{Criterion, criterion_group, criterion_main};
use tagwarden::cli::{self, Cli, Exit, Progress, Surroundings};
use tagwarden::document::Color;

const POLICY: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: bench}\nspec:\n  mode: enforce\n  rules:\n    \
                      - {images: [\"registry.example.com/acme/**\"], tags: [release, commit]}\n";

/// Half of the cases pass, half are refused, in 500 namespaces.
fn cases() -> String {
    let mut text = String::from(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [policy.yaml]\nnow: 2026-03-01T00:00:00Z\ncases:\n",
    );
    for n in 0..500 {
        let _ = writeln!(text, "  - {{image: \"registry.example.com/acme/app-{n}:v1.{n}.0\", expect: allow}}");
        let _ = writeln!(
            text,
            "  - {{image: \"registry.example.com/acme/app-{n}:main\", namespace: shop-{n}, expect: deny, ids: [TW120]}}"
        );
    }
    text
}

fn run(arguments: &[&str], folder: &Path) -> Exit {
    let arguments = ["tagwarden", "test"].into_iter().chain(arguments.iter().copied()).chain(folder.to_str());
    let Ok(cli) = Cli::try_parse_from(arguments) else { unreachable!("the bench's command line is valid") };
    let mut surroundings = Surroundings {
        input: &mut std::io::empty(),
        out: &mut std::io::sink(),
        err: &mut std::io::sink(),
        color: Color::Never,
        width: None,
        progress: Progress::Hidden,
        now: 0,
    };
    cli::run(cli, &mut surroundings)
}

fn policy_tests(criterion: &mut Criterion) {
    let Ok(folder) = tempfile::tempdir() else { unreachable!("there is a place for temporary files") };
    for (name, text) in [("policy.yaml", POLICY), ("policy.test.yaml", &cases())] {
        let written = std::fs::write(folder.path().join(name), text);
        assert!(written.is_ok(), "{name} is written");
    }
    let mut group = criterion.benchmark_group("1,000 cases");
    for (name, arguments) in [("plain", &[][..]), ("coverage", &["--coverage"])] {
        assert_eq!(run(arguments, folder.path()), Exit::Clean);
        group.bench_function(name, |bencher| bencher.iter(|| run(arguments, folder.path())));
    }
    group.finish();
}

criterion_group!(benches, policy_tests);
criterion_main!(benches);
