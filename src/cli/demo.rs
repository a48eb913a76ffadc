//! `tagwarden demo`: the real server on this machine, example manifests sent to it, the answers as kubectl shows them.
//!
//! It needs no cluster and no network beyond loopback, writes one temporary directory, and ends by itself.

mod client;
mod examples;
mod kubectl;
mod patch;
pub(super) mod registry;
mod review;
mod running;
mod scenes;
mod scratch;
mod stock;

use std::io::{self, Write};

use anyhow::Context as _;
use clap::Args;

use super::{Exit, Surroundings, written};
use crate::policy::Seconds;
use crate::registry::Settings;
use examples::{EXAMPLES, Example, PINNING};
use kubectl::Command;
use registry::ExampleRegistry;
use running::{Certificates, Running, Signals};
use scenes::Stage;
use scratch::Scratch;

/// The arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagwarden demo\n  tagwarden demo --keep\n\n\
    Exit codes: 0 every verdict is as the example promises; 1 one is not; 2 it could not run.")]
pub struct DemoArgs {
    /// Leave the servers running afterwards, and say how to call them
    #[arg(long)]
    keep: bool,
}

/// Shows every example on a server of its own.
pub(super) fn run(args: &DemoArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the demo's threads")?;
    let mut screen = Screen { out: surroundings.out, failed: Ok(()) };
    let verdict = runtime.block_on(perform(args, surroundings.now, &mut screen))?;
    written(screen.failed, verdict)
}

/// Where the demo writes. After a failed write nothing more is written, and the demo goes on: a closed pipe changes no verdict.
struct Screen<'w> {
    out: &'w mut dyn Write,
    failed: io::Result<()>,
}

impl Screen<'_> {
    fn say(&mut self, text: &str) {
        if self.failed.is_ok() {
            self.failed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

async fn perform(args: &DemoArgs, now: Seconds, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    let scratch = Scratch::new()?;
    let certificates = Certificates::new(&scratch, now)?;
    screen.say(
        "The real server on 127.0.0.1, asked over TLS as an API server asks it; \
         what follows is what kubectl would print.\n",
    );
    let mut servers = Vec::new();
    let mut surprises = 0;
    for (number, example) in EXAMPLES.iter().enumerate() {
        let folder = || format!("policies/{}", example.name);
        let server =
            Running::start(&scratch, &certificates, example, Settings::default()).await.with_context(folder)?;
        screen.say(&format!("\n== policies/{}: {}\n", example.name, example.about));
        surprises += act(example, number, &server, screen).await?;
        servers.push((example, server));
    }
    let registry = ExampleRegistry::start(now).await?;
    stock::fill(&registry)?;
    let settings = running::asking(&registry, &scratch)?;
    let server = Running::start(&scratch, &certificates, &PINNING, settings).await.context("policies/pinning")?;
    screen.say(&format!(
        "\n== policies/{}: {}\n(with a registry on 127.0.0.1 that stands for {})\n",
        PINNING.name,
        PINNING.about,
        stock::HOST,
    ));
    let mut stage = Stage { client: server.client().await?, registry, screen: &mut *screen, acts: 0 };
    surprises += stage.play().await?;
    // Up again, for whoever keeps the demo.
    stage.registry.go_up().await?;
    let _registry = stage.registry;
    servers.push((&PINNING, server));
    screen.say(&closing(surprises));
    if args.keep && screen.failed.is_ok() {
        keep(&servers, &scratch, &certificates, screen).await?;
    }
    for (_, server) in servers {
        server.stop().await;
    }
    Ok(if surprises == 0 { Exit::Clean } else { Exit::Violation })
}

/// Sends an example's manifests one after the other; how many verdicts were not as promised.
async fn act(example: &Example, number: usize, server: &Running, screen: &mut Screen<'_>) -> anyhow::Result<usize> {
    let mut client = server.client().await?;
    let mut surprises = 0;
    for (at, manifest) in example.manifests.iter().enumerate() {
        let command = Command::Create { file: manifest.file, text: manifest.text };
        let review = command.review(&uid(number, at))?;
        let answers = [(review.webhook, client.validate(&review.body).await?)];
        let shown = command
            .show(&review, &answers)
            .with_context(|| format!("the server answered {} with no verdict: {answers:?}", manifest.file))?;
        screen.say(&format!("{}{}", command.line(), shown.text));
        if shown.verdict != manifest.promise {
            surprises += 1;
            screen.say(&format!("^ not the verdict that policies/{} promises\n", example.name));
        }
    }
    Ok(surprises)
}

/// A request's uid, in the form that API servers give it; denials show its beginning.
fn uid(example: usize, manifest: usize) -> String {
    format!("{:04x}{:04x}-0000-4000-8000-000000000000", example + 1, manifest + 1)
}

/// The last lines.
fn closing(surprises: usize) -> String {
    let objects = EXAMPLES.iter().map(|example| example.manifests.len()).sum::<usize>() + scenes::ACTS;
    let examples = EXAMPLES.len() + 1;
    let summary = match surprises {
        0 => format!("{objects} objects under {examples} policies, every verdict as promised."),
        1 => format!("{objects} objects under {examples} policies, one verdict not as promised: please report it."),
        _ => format!(
            "{objects} objects under {examples} policies, {surprises} verdicts not as promised: please report them."
        ),
    };
    format!(
        "\n{summary}\n\
         Read next: policies/README.md (these examples), docs/ARCHITECTURE.md (how it works).\n\
         Try next:  tagwarden check --policies policies/starter YOUR-MANIFESTS\n"
    )
}

/// Says how to call the servers, then waits until somebody asks to end.
async fn keep(
    servers: &[(&Example, Running)],
    scratch: &Scratch,
    certificates: &Certificates,
    screen: &mut Screen<'_>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    screen.say("\nStill running:\n");
    for (example, server) in servers {
        let (webhook, health) = (server.webhook().port(), server.health());
        screen.say(&format!("  {:<22} https://localhost:{webhook}/validate   http://{health}/metrics\n", example.name));
    }
    if let Some((example, server)) = servers.first() {
        let manifest = &example.manifests[example.manifests.len() - 1];
        let command = Command::Create { file: manifest.file, text: manifest.text };
        let review = command.review(&uid(usize::from(u16::MAX) - 1, 0))?;
        let file = scratch.write("review.json", &format!("{:#}\n", review.body))?;
        screen.say(&format!(
            "Ask one yourself:\n  curl --cacert {} -H 'Content-Type: application/json' --data @{} https://localhost:{}/validate\n\
             Press Ctrl-C to end.\n",
            certificates.files.ca.display(),
            file.display(),
            server.webhook().port(),
        ));
    }
    signals.wait().await;
    Ok(())
}
