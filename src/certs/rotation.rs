//! How the replicas' authority is replaced by another without a gap: one decision at a time, from what is known now.
//!
//! At every moment each certificate in use is signed by an authority that every webhook configuration carries. So the new
//! authority is published first, signs when the API servers have had time to read that, and the old one stays published
//! until the last certificate that it signed has ended.

use std::sync::Arc;

use super::{Authority, CertificateError, Validity, validity};

/// The longest pause between the new authority's publication and its first signature, in seconds: API servers learn of
/// a changed configuration by a watch, in a second or so.
const LONGEST_PAUSE: i64 = 300;
/// How late, in seconds, a replica may notice that another authority signs, and sign with the old one until then.
pub(super) const LATE: i64 = 300;
/// What is left of a certificate, in seconds, when it is replaced at the latest: a replica is not ready in the last minute
/// of it, and looks at it every half minute at least.
const SPARE: i64 = 100;
/// Authorities that are published besides the one that signs and the next one, from which on a rotation by hand waits.
const MOST_PREVIOUS: usize = 4;
/// The common name of authorities.
const NAME: &str = "tagwarden webhook CA";

/// What the replicas share.
#[derive(Clone)]
pub struct State {
    /// Signs.
    pub signer: Arc<Authority>,
    /// Signs soon.
    pub next: Option<Next>,
    /// Certificates (PEM) of those that signed before, and are published still.
    pub previous: Vec<String>,
    /// Until when those are published, in seconds since the epoch.
    pub previous_until: i64,
    /// The wish for a rotation that was acted on last; empty: there was none.
    pub rotated: String,
}

/// An authority that does not sign yet.
#[derive(Clone)]
pub struct Next {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Since when it is seen in every webhook configuration, in seconds since the epoch.
    pub published: Option<i64>,
}

/// How long things hold, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationTimes {
    /// A certificate.
    pub leaf: i64,
    /// A new authority.
    pub ca: i64,
}

/// What the elected replica sees besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Whether the configurations carry [`State::bundle`].
    pub bundle: Bundle,
    /// The wish for a rotation: anything but what was acted on last; empty: none.
    pub wish: &'a str,
}

/// Whether every webhook configuration that exists carries exactly what is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// It does.
    InPlace,
    /// One does not, or nobody knows.
    NotInPlace,
}

/// What to do next with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Make the next authority.
    Make,
    /// Note when the next authority was first seen published; none: it is no longer.
    Note(Option<i64>),
    /// Let the next authority sign.
    Switch,
    /// Publish those before no longer.
    Drop,
}

/// The one next step.
#[must_use]
pub fn plan(state: &State, seen: Seen<'_>, now: i64, times: RotationTimes) -> Step {
    let signer = state.signer.validity();
    if let Some(next) = &state.next {
        // Nothing that the old one signed holds any more; there is nothing to wait for.
        if signer.not_after <= now {
            return Step::Switch;
        }
        return match (seen.bundle, next.published) {
            (Bundle::NotInPlace, Some(_)) => Step::Note(None),
            (Bundle::NotInPlace, None) => Step::Rest,
            (Bundle::InPlace, Some(since)) if since <= now => {
                if since + pause(times) <= now {
                    Step::Switch
                } else {
                    Step::Rest
                }
            }
            // For the first time, or by a clock that goes before ours.
            (Bundle::InPlace, _) => Step::Note(Some(now)),
        };
    }
    if !state.previous.is_empty() && state.previous_until <= now {
        return Step::Drop;
    }
    let wished = !seen.wish.is_empty() && seen.wish != state.rotated;
    let due = signer.two_thirds() <= now;
    if due || (wished && state.previous.len() < MOST_PREVIOUS) { Step::Make } else { Step::Rest }
}

/// How long the new authority is published before it signs.
fn pause(times: RotationTimes) -> i64 {
    LONGEST_PAUSE.min(times.leaf / 10)
}

/// Whether a certificate is to be replaced by another of this authority: at two thirds of its life (earlier if it is very
/// short), and where the other would hold longer.
#[must_use]
pub fn leaf_is_due(leaf: Validity, signer: Validity, now: i64) -> bool {
    leaf.two_thirds().min(leaf.not_after - SPARE) <= now && leaf.not_after < signer.not_after
}

impl State {
    /// The first one, with an authority of its own.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(now: i64, times: RotationTimes, wish: &str) -> Result<Self, CertificateError> {
        let signer = Arc::new(Authority::new(NAME, now, times.ca)?);
        Ok(State { signer, next: None, previous: Vec::new(), previous_until: 0, rotated: wish.to_owned() })
    }

    /// What webhook configurations are to carry: every authority's certificate, PEM, in an order that a switch does not
    /// change.
    #[must_use]
    pub fn bundle(&self) -> String {
        let mut all: Vec<&str> = self.authorities().collect();
        all.sort_unstable();
        all.dedup();
        let mut bundle = String::new();
        for pem in all {
            bundle.push_str(pem.trim_end());
            bundle.push('\n');
        }
        bundle
    }

    /// The state after a step.
    ///
    /// # Errors
    /// No randomness for a new authority.
    pub fn after(
        mut self,
        step: Step,
        seen: Seen<'_>,
        now: i64,
        times: RotationTimes,
    ) -> Result<Self, CertificateError> {
        match step {
            Step::Rest => {}
            Step::Make => {
                let authority = Arc::new(Authority::new(NAME, now, times.ca)?);
                self.next = Some(Next { authority, published: None });
                seen.wish.clone_into(&mut self.rotated);
            }
            Step::Note(published) => {
                if let Some(next) = &mut self.next {
                    next.published = published;
                }
            }
            Step::Switch => {
                if let Some(next) = self.next.take() {
                    let old = std::mem::replace(&mut self.signer, next.authority);
                    self.keep_published(old.pem().to_owned(), now, times);
                }
            }
            Step::Drop => self.previous.clear(),
        }
        Ok(self)
    }

    /// Goes on publishing an authority (PEM) whose certificates are in use, where the Secret came to hold others than that:
    /// somebody restored it, or it was deleted and made anew. Says whether there was anything to add.
    pub fn keep_known(&mut self, in_use: &str, now: i64, times: RotationTimes) -> bool {
        let holds = validity(in_use.as_bytes()).is_ok_and(|validity| now < validity.not_after);
        let unknown = !self.authorities().any(|pem| pem == in_use);
        // However many there are already: calls are answered with certificates of this one at this moment.
        let keep = holds && unknown;
        if keep {
            self.keep_published(in_use.to_owned(), now, times);
        }
        keep
    }

    /// The longest that a certificate of it may be in use: one that was signed at the last moment, by a late replica.
    fn keep_published(&mut self, pem: String, now: i64, times: RotationTimes) {
        self.previous.push(pem);
        self.previous_until = self.previous_until.max(now + times.leaf + LATE);
    }

    fn authorities(&self) -> impl Iterator<Item = &str> {
        let next = self.next.as_ref().map(|next| next.authority.pem());
        let previous = self.previous.iter().map(String::as_str);
        std::iter::once(self.signer.pem()).chain(next).chain(previous)
    }
}

#[cfg(test)]
mod tests;
