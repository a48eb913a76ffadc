//! The part of the demo that needs a registry: tags become digests, disagree with them, move, and outlive an outage.

use anyhow::Context as _;
use serde_json::Value;

use super::Screen;
use super::client::Client;
use super::examples::{Manifest, PINNING, Promise};
use super::kubectl::Command;
use super::registry::ExampleRegistry;
use super::review::Review;
use super::running::REMEMBERED;
use super::stock::{self, HOST};

/// What somebody does, and what must come of it.
struct Act<'a> {
    command: Command<'a>,
    promise: Promise,
    /// What the answer must hold: an id, or a few words.
    saying: &'a str,
}

/// A server with the policy of `policies/pinning`, somebody who asks it, and the registry that it asks.
pub(super) struct Stage<'s, 'w> {
    /// To the server.
    pub client: Client,
    /// Filled with [`stock`].
    pub registry: ExampleRegistry,
    /// Where everything is shown.
    pub screen: &'s mut Screen<'w>,
    /// Tells requests apart.
    pub acts: usize,
}

/// How many things are done here; the closing line says so.
pub(super) const ACTS: usize = PINNING.manifests.len() + 6;

impl Stage<'_, '_> {
    /// Plays all of it; how many verdicts were not as promised.
    pub async fn play(&mut self) -> anyhow::Result<usize> {
        let mut surprises = 0;
        let saying = ["", "", "TW201", "TW200"];
        for (manifest, saying) in PINNING.manifests.iter().zip(saying) {
            let Manifest { file, text, promise } = *manifest;
            self.title(about(file));
            surprises += self.act(&Act { command: Command::Create { file, text }, promise, saying }).await?;
        }
        surprises += self.moved().await?;
        surprises += self.outage().await?;
        Ok(surprises)
    }

    /// A release that is pushed a second time.
    async fn moved(&mut self) -> anyhow::Result<usize> {
        let image = format!("{HOST}/acme/batch:v3.0.0");
        self.title("a release that moves: whoever pushes v3.0.0 again is noticed");
        let mut surprises = self.run("batch", &image, Promise::Pass, "").await?;
        let old = stock::push(&self.registry, "acme/batch", &[], "3.0.0")?;
        let new = stock::push(&self.registry, "acme/batch", &["v3.0.0"], "3.0.0-again")?;
        self.screen.say("(somebody pushes another build as v3.0.0)\n");
        grow_old().await;
        surprises += self.run("batch-next", &image, Promise::Pass, "TW203").await?;
        surprises += self.run("batch-as-before", &format!("{image}@{old}"), Promise::Refuse, "TW200").await?;
        surprises += self.run("batch-as-now", &format!("{image}@{new}"), Promise::Pass, "TW203").await?;
        Ok(surprises)
    }

    /// A registry that is away.
    async fn outage(&mut self) -> anyhow::Result<usize> {
        self.title("a registry that is away: what ran before still starts, and nothing new does");
        self.registry.go_down().await;
        self.screen.say("(the registry goes down)\n");
        grow_old().await;
        let known = self.run("api-again", &format!("{HOST}/acme/api:v1.4.2"), Promise::Pass, "does not answer").await?;
        let new = self.run("api-next", &format!("{HOST}/acme/api:v1.4.3"), Promise::Refuse, "TW900").await?;
        Ok(known + new)
    }

    fn title(&mut self, text: &str) {
        self.screen.say(&format!("\n-- {text}\n"));
    }

    async fn run(&mut self, name: &str, image: &str, promise: Promise, saying: &str) -> anyhow::Result<usize> {
        self.act(&Act { command: Command::Run { name, image }, promise, saying }).await
    }

    /// Sends an object through both webhooks, as the API server does; 1 where the verdict is not the promised one.
    async fn act(&mut self, act: &Act<'_>) -> anyhow::Result<usize> {
        self.acts += 1;
        let mut review = act.command.review(&super::uid(super::EXAMPLES.len(), self.acts))?;
        let written = images(&review);
        let mut answers = vec![("pods.tagwarden.dev", self.client.mutate(&review.body).await?)];
        if answers[0].1["response"]["allowed"] == true {
            super::patch::apply(&answers[0].1, &mut review.body["request"]["object"])?;
            answers.push((review.webhook, self.client.validate(&review.body).await?));
        }
        let shown = act.command.show(&review, &answers);
        let shown = shown.with_context(|| format!("the server answered with no verdict: {answers:?}"))?;
        self.screen.say(&format!("{}{}", act.command.line(), shown.text));
        if shown.verdict == Promise::Pass {
            for (before, after) in written.iter().zip(images(&review)).filter(|(before, after)| *before != after) {
                self.screen.say(&format!("  as written  image: {before}\n  as stored   image: {after}\n"));
            }
        }
        let pinned = shown.verdict == Promise::Refuse || images(&review).iter().all(|image| image.contains("@sha256:"));
        let kept = shown.verdict == act.promise && shown.text.contains(act.saying) && pinned;
        if !kept {
            self.screen.say("^ not the verdict that policies/pinning promises\n");
        }
        Ok(usize::from(!kept))
    }
}

/// Until what the server remembers is too old to be taken without asking.
async fn grow_old() {
    tokio::time::sleep(REMEMBERED * 2).await;
}

/// What a manifest of the example is about.
fn about(file: &str) -> &'static str {
    match file {
        "pass/release.yaml" => "a pin: the Pod runs the digest that was judged",
        "pass/channel.yaml" => "a channel that carries a release",
        "refuse/channel.yaml" => "a channel that carries what was never released",
        _ => "a tag and a digest that are not the same image",
    }
}

/// The images of a Pod's containers.
fn images(review: &Review) -> Vec<String> {
    let containers = review.body["request"]["object"]["spec"]["containers"].as_array();
    let image = |container: &Value| container["image"].as_str().unwrap_or_default().to_owned();
    containers.into_iter().flatten().map(image).collect()
}
