//! What a plan needs to know, from registries: asked only where something is missing, and under the review's deadline.

use super::case::Case;
use super::slot::Slot;
use crate::cluster::PullSecretKind;
use crate::policy::{Facts, Plan};
use crate::registry::Asker;
use crate::registry::credentials::{PullSecret, SecretKind};
use crate::review::PullNames;

/// Everything that the plan asks for and that can be had in time. A review that has to wait gives its place away.
pub(super) async fn learn(case: &Case<'_>, plan: &Plan<'_>, slot: &mut Slot<'_>) -> Facts {
    let missing = plan.missing(&Facts::default());
    if missing.is_empty() {
        return Facts::default();
    }
    #[cfg(test)]
    if let Some(told) = Told::of(case) {
        return slot.aside(told.answer()).await;
    }
    let answer = async {
        let PodSecrets { usable, unusable } = PodSecrets::of(case).await;
        let namespace = case.about.namespace.as_deref();
        let asker = Asker { namespace, pull_secrets: &usable, unusable: &unusable, ..Asker::default() };
        case.shared.resolver.facts_from(plan, missing, asker, case.deadline).await
    };
    slot.aside(answer).await
}

/// The pull secrets that a Pod or its service account names, in their order.
#[derive(Default)]
struct PodSecrets {
    usable: Vec<PullSecret>,
    /// One line for each of the others.
    unusable: Vec<String>,
}

impl PodSecrets {
    /// Those of the Pod, where the configuration opts in. Templates are looked up without them: their Pods decide.
    async fn of(case: &Case<'_>) -> Self {
        let Some(object) = case.request.object.filter(|_| case.is_pod() && case.live.config.pull_secrets) else {
            return PodSecrets::default();
        };
        let Some(pull_secrets) = &case.shared.pull_secrets else {
            return PodSecrets::default();
        };
        let namespace = &*case.request.namespace;
        let names = PullNames::read(object.get());
        let of_pod: Vec<&str> = names.secrets.iter().map(AsRef::as_ref).collect();
        let read = pull_secrets.read(namespace, &of_pod, &names.service_account, case.deadline).await;
        let mut secrets = PodSecrets { usable: Vec::with_capacity(read.secrets.len()), unusable: read.problems };
        for secret in &read.secrets {
            let kind = match secret.kind {
                PullSecretKind::DockerConfigJson => SecretKind::DockerConfigJson,
                PullSecretKind::DockerCfg => SecretKind::DockerCfg,
            };
            match PullSecret::parse(namespace, &secret.name, kind, &secret.bytes) {
                Ok(secret) => secrets.usable.push(secret),
                Err(problem) => secrets.unusable.push(problem),
            }
        }
        for problem in &secrets.unusable {
            tracing::warn!(problem, "a pull secret cannot be used");
        }
        secrets
    }
}

/// What a test says in the registries' place.
#[cfg(test)]
#[derive(Clone)]
pub(super) enum Told {
    /// This.
    Facts(Facts),
    /// Nothing, for ever.
    Silence,
}

#[cfg(test)]
impl Told {
    fn of(case: &Case<'_>) -> Option<Self> {
        case.shared.told.lock().unwrap().clone()
    }

    async fn answer(self) -> Facts {
        match self {
            Told::Facts(facts) => facts,
            Told::Silence => std::future::pending().await,
        }
    }
}
