//! The command line's figures: how long the program takes to start, to run 1,000 policy tests, and to check 10,000
//! manifests of 50 MB, that beside `kubeconform -summary` on the same files, in turns.
//!
//! kubeconform is told to ignore schemas that are missing, and all are: it reads and splits the files and validates
//! nothing, which is the fastest that it can be.
//!
//! ```text
//! TAGWARDEN_KUBECONFORM=$(benches/kubeconform.sh) cargo bench --bench cli
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

const TAGWARDEN: &str = env!("CARGO_BIN_EXE_tagwarden");
const MANIFESTS: usize = 10_000;
/// What makes a manifest about 5 KB.
const VARIABLES: usize = 48;
const CASES: usize = 1_000;
const ROUNDS: usize = 5;

const POLICY: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: acme}\nspec:\n  mode: enforce\n  rules:\n    \
                      - {name: ours, images: [\"registry.example.com/acme/**\"], tags: [release, commit]}\n    \
                      - {name: mirror, images: [\"registry.example.com/mirror/**\"], tags: ['\\d+\\.\\d+\\.\\d+']}\n";

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir(at("policies"))?;
    fs::write(at("policies/acme.yaml"), POLICY)?;
    fs::write(at("policies/acme.test.yaml"), tests())?;
    let bytes = manifests(&at("deploy"))?;

    say(&format!("start (--version): {}", shown(median(20, || run(&[TAGWARDEN.into(), "--version".into()]))?)));
    let policies = at("policies").display().to_string();
    let test = [TAGWARDEN.into(), "test".into(), "--quiet".into(), policies.clone()];
    say(&format!("test of {CASES} cases: {}", shown(median(ROUNDS, || run(&test))?)));

    let deploy = at("deploy").display().to_string();
    let ours = [TAGWARDEN.into(), "check".into(), "--offline".into(), "--policies".into(), policies, deploy.clone()];
    let theirs = std::env::var("TAGWARDEN_KUBECONFORM").ok().map(|program| {
        [
            program,
            "-summary".into(),
            "-ignore-missing-schemas".into(),
            "-schema-location".into(),
            "/nowhere".into(),
            deploy,
        ]
    });
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(measured(&ours)?);
        if let Some(theirs) = &theirs {
            of_theirs.push(measured(theirs)?);
        }
    }
    let megabytes = bytes / 1_000_000;
    say(&format!("check of {MANIFESTS} manifests, {megabytes} MB: {}", summary(&mut of_ours)));
    if theirs.is_some() {
        say(&format!("kubeconform -summary of the same: {}", summary(&mut of_theirs)));
        say(&format!("ratio of the medians: {:.2}", seconds(&mut of_ours) / seconds(&mut of_theirs)));
    }
    Ok(())
}

fn say(line: &str) {
    // Nobody is left to tell when the output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Deployments with two containers, as many Services and ConfigMaps between them as a repository has.
fn manifests(folder: &Path) -> anyhow::Result<usize> {
    fs::create_dir(folder)?;
    let mut bytes = 0;
    for number in 0..MANIFESTS {
        let mut text = format!(
            "# Service number {number}.\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: service-{number}\n  namespace: shop-{}\n\
             spec:\n  replicas: 3\n  selector:\n    matchLabels: {{app: service-{number}}}\n  template:\n    metadata:\n      \
             labels: {{app: service-{number}}}\n    spec:\n      containers:\n        - name: api\n          \
             image: registry.example.com/acme/service-{number}:v1.{number}.0\n          env:\n",
            number % 50
        );
        for variable in 0..VARIABLES {
            write!(
                text,
                "            - name: SETTING_NUMBER_{variable}\n              value: \"the value of setting {variable} of {number}\"\n"
            )?;
        }
        text.push_str("        - name: proxy\n          image: registry.example.com/mirror/proxy:1.27.3\n");
        bytes += text.len();
        fs::write(folder.join(format!("{number:05}.yaml")), text)?;
    }
    Ok(bytes)
}

fn tests() -> String {
    let head = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [acme.yaml]\nnow: 2026-03-01T00:00:00Z\ncases:\n";
    (0..CASES).fold(head.to_owned(), |all, number| {
        let (tag, rest) = match number % 4 {
            0 => ("latest".to_owned(), "expect: deny, ids: [TW120]"),
            _ => (format!("v1.2.{number}"), "expect: allow, rule: ours"),
        };
        all + &format!(
            "  - {{image: \"registry.example.com/acme/api-{number}:{tag}\", namespace: shop-{number}, {rest}}}\n"
        )
    })
}

/// How long a command takes that is to succeed.
fn run(command: &[String]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let output = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).output()?;
    let took = start.elapsed();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

/// The same with the most memory that it had, in KiB; GNU time says that.
fn measured(command: &[String]) -> anyhow::Result<(Duration, u64)> {
    let report = tempfile::NamedTempFile::new()?;
    let timed: Vec<String> = [
        PathBuf::from("/usr/bin/time").display().to_string(),
        "-f".into(),
        "%M".into(),
        "-o".into(),
        report.path().display().to_string(),
    ]
    .into_iter()
    .chain(command.iter().cloned())
    .collect();
    let took = run(&timed)?;
    let memory = fs::read_to_string(report.path())?.trim().parse().context("GNU time reports something else")?;
    Ok((took, memory))
}

fn median(rounds: usize, mut one: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let mut all = (0..rounds).map(|_| one()).collect::<anyhow::Result<Vec<_>>>()?;
    all.sort();
    Ok(all[rounds / 2])
}

fn seconds(all: &mut [(Duration, u64)]) -> f64 {
    all.sort();
    all[all.len() / 2].0.as_secs_f64()
}

fn summary(all: &mut [(Duration, u64)]) -> String {
    let most = all.iter().map(|(_, memory)| memory).max().copied().unwrap_or_default();
    format!("{:.2} s, at most {} MiB", seconds(all), most / 1024)
}

fn shown(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
