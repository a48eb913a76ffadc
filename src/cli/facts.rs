//! Where `check` and `explain` take facts from: registries, a file, or nowhere.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use tokio::time::Instant;

use super::Surroundings;
use super::registries::{DEADLINE, Registries, tell};
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

/// Learns what plans need; what was learned for one object serves the next, and several threads may ask at once.
pub(super) struct Learner<'p> {
    origin: &'p Origin,
    policies: &'p PolicySet,
    /// Empty until the first question: most policies ask none, and a check of them opens no socket.
    registries: OnceLock<Result<Registries, String>>,
}

impl<'p> Learner<'p> {
    /// For plans of these policies.
    pub fn new(origin: &'p Origin, policies: &'p PolicySet) -> Self {
        Learner { origin, policies, registries: OnceLock::new() }
    }

    /// For what is judged: without any facts none is asked that only a pin needs.
    pub fn stage(&self) -> Stage {
        match self.origin {
            Origin::Registries(_) | Origin::File(_) => Stage::Command,
            Origin::Nowhere => Stage::Offline,
        }
    }

    /// Whether answers may have to be waited for.
    pub fn may_wait(&self) -> bool {
        matches!(self.origin, Origin::Registries(_)) && !self.policies.hosts().is_empty()
    }

    /// Everything that a plan asks for and that can be had within 30 s; `about` names the object to whoever waits.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn facts(
        &self,
        plan: &Plan<'_>,
        namespace: &str,
        about: &str,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<Facts> {
        if let Some(facts) = self.at_hand(plan) {
            return Ok(facts);
        }
        let first = self.registries.get().is_none();
        let registries = self.registries()?;
        if first {
            tell(&registries.notes, surroundings);
        }
        let asker = registries.asker(Some(namespace));
        let answer = registries.resolver.facts(plan, asker, Instant::now() + DEADLINE);
        Ok(registries.wait(about, surroundings, answer))
    }

    /// The same for one of several threads, none of which tells anything.
    ///
    /// # Errors
    /// As [`Learner::facts`].
    pub fn facts_quietly(&self, plan: &Plan<'_>, namespace: &str) -> anyhow::Result<Facts> {
        if let Some(facts) = self.at_hand(plan) {
            return Ok(facts);
        }
        let registries = self.registries()?;
        let asker = registries.asker(Some(namespace));
        Ok(registries.wait_quietly(registries.resolver.facts(plan, asker, Instant::now() + DEADLINE)))
    }

    /// What [`Learner::facts_quietly`] left untold.
    pub fn notes(&self) -> &[String] {
        match self.registries.get() {
            Some(Ok(registries)) => &registries.notes,
            _ => &[],
        }
    }

    /// The facts where no registry is to be asked for them.
    fn at_hand(&self, plan: &Plan<'_>) -> Option<Facts> {
        match self.origin {
            Origin::Nowhere => {
                let detail = "no registry was asked (--offline); leave that out, or give the facts with --facts FILE";
                Some(Facts::none(Undecided::new(Failure::Unreachable, detail)))
            }
            Origin::File(file) => {
                let absent = Undecided::new(Failure::Unreachable, "the facts do not say");
                Some(gather(plan, |lookup| file.answer(lookup), absent))
            }
            Origin::Registries(_) => plan.missing(&Facts::default()).is_empty().then(Facts::default),
        }
    }

    /// A resolver for the hosts that the policies name literally, started once.
    fn registries(&self) -> anyhow::Result<&Registries> {
        let started = self.registries.get_or_init(|| {
            let Origin::Registries(settings) = self.origin else { return Err("no registry is to be asked".to_owned()) };
            let hosts: BTreeSet<String> = self.policies.hosts().into_iter().map(str::to_owned).collect();
            Registries::start(settings.clone(), hosts).map_err(|error| format!("{error:#}"))
        });
        started.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))
    }
}
