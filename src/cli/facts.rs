//! Where `check` and `explain` take facts from: registries, a file, or nowhere.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Surroundings;
use super::registries::{DEADLINE, Registries};
use crate::policy::{Facts, FactsFile, Failure, Plan, PolicySet, Stage, Undecided, gather};
use crate::registry::Settings;

/// Where facts come from.
pub(super) enum Origin {
    /// From the registries that policies name.
    Registries(Settings),
    /// From a file that says what they would answer.
    File(FactsFile),
    /// From nowhere: what is needed is undecided.
    Nowhere,
}

/// Learns what plans need; what was learned for one object serves the next.
pub(super) struct Learner<'p> {
    origin: &'p Origin,
    policies: &'p PolicySet,
    /// None until the first question: most policies ask none, and a check of them starts no thread.
    registries: Option<Registries>,
}

impl<'p> Learner<'p> {
    /// For plans of these policies.
    pub fn new(origin: &'p Origin, policies: &'p PolicySet) -> Self {
        Learner { origin, policies, registries: None }
    }

    /// For what is judged: without any facts none is asked that only a pin needs.
    pub fn stage(&self) -> Stage {
        match self.origin {
            Origin::Registries(_) | Origin::File(_) => Stage::Command,
            Origin::Nowhere => Stage::Offline,
        }
    }

    /// Everything that a plan asks for and that can be had within 30 s; `about` names the object.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn facts(
        &mut self,
        plan: &Plan<'_>,
        namespace: &str,
        about: &str,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<Facts> {
        match self.origin {
            Origin::Nowhere => {
                let detail = "no registry was asked (--offline); leave that out, or give the facts with --facts FILE";
                Ok(Facts::none(Undecided::new(Failure::Unreachable, detail)))
            }
            Origin::File(file) => {
                let absent = Undecided::new(Failure::Unreachable, "the facts do not say");
                Ok(gather(plan, |lookup| file.answer(lookup), absent))
            }
            Origin::Registries(settings) => {
                if plan.missing(&Facts::default()).is_empty() {
                    return Ok(Facts::default());
                }
                let registries = match &mut self.registries {
                    Some(registries) => registries,
                    none => none.insert(started(settings, self.policies, surroundings)?),
                };
                let asker = registries.asker(Some(namespace));
                let answer = registries.resolver.facts(plan, asker, Instant::now() + DEADLINE);
                Ok(registries.wait(about, surroundings, answer))
            }
        }
    }
}

/// A resolver for the hosts that the policies name literally.
fn started(
    settings: &Settings,
    policies: &PolicySet,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Registries> {
    let hosts: BTreeSet<String> = policies.hosts().into_iter().map(str::to_owned).collect();
    Registries::new(settings.clone(), hosts, surroundings)
}
