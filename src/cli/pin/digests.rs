//! Which digests tags are now: asked of registries side by side, each tag once, or read from a file.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use crate::cli::Surroundings;
use crate::cli::registries::remedy;
use crate::cli::registries::{DEADLINE, Registries};
use crate::image::{DigestBuf, Reference};
use crate::policy::{Age, Answer, Asked, Budget, FactsFile, Lookup};
use crate::registry::Settings;

/// Tags that are asked for at one time.
const AT_ONCE: usize = 16;

/// Who knows.
pub(super) enum Origin {
    /// The registries of the images.
    Registries(Settings),
    /// A file that says what they would answer.
    File(FactsFile),
}

/// A tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub host: String,
    pub repository: String,
    pub tag: String,
}

impl Question {
    /// For the tag of a reference; none where it has none.
    pub fn of(reference: &Reference<'_>) -> Option<Self> {
        let tag = reference.tag()?.to_owned();
        let (host, repository) = (reference.canonical_registry().into_owned(), reference.repository().into_owned());
        Some(Question { host, repository, tag })
    }
}

/// Why there is no answer, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub why: String,
    pub help: String,
}

/// What was learned.
pub(super) type Digests = BTreeMap<Question, Result<DigestBuf, Unanswered>>;

/// Asks everything.
///
/// # Errors
/// What registries are asked with (an authority, say) cannot be used.
pub(super) fn ask(
    origin: Origin,
    questions: BTreeSet<Question>,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Digests> {
    let settings = match origin {
        Origin::File(facts) => return Ok(questions.into_iter().map(|asked| told(asked, &facts)).collect()),
        Origin::Registries(_) if questions.is_empty() => return Ok(Digests::new()),
        Origin::Registries(settings) => settings,
    };
    let hosts = questions.iter().map(|question| question.host.clone()).collect();
    let registries = Registries::new(settings, hosts, surroundings)?;
    let answers = stream::iter(questions).map(|question| answered(question, &registries)).buffer_unordered(AT_ONCE);
    Ok(registries.wait("the images", surroundings, answers.collect()))
}

async fn answered(question: Question, registries: &Registries) -> (Question, Result<DigestBuf, Unanswered>) {
    let Question { host, repository, tag } = &question;
    let deadline = Instant::now() + DEADLINE;
    let answer = registries.resolver.digest(host, repository, tag, registries.asker(None), deadline).await;
    let answer = answer.map_err(|failure| {
        let help = remedy(failure.kind, host);
        Unanswered { why: failure.what, help }
    });
    (question, answer)
}

fn told(question: Question, facts: &FactsFile) -> (Question, Result<DigestBuf, Unanswered>) {
    let name = format!("{}/{}", question.host, question.repository);
    let what = Asked::Digest { tag: &question.tag, floating: false, age: Age::Now, budget: Budget::Review };
    let why = match facts.answer(&Lookup { name: &name, what }) {
        Answer::Digest(Ok(resolved)) => return (question, Ok(resolved.digest)),
        Answer::Digest(Err(undecided)) => undecided.detail,
        Answer::Labels(_) | Answer::Image(_) | Answer::Tags(_) => "the facts answer something else".into(),
    };
    (
        question,
        Err(Unanswered {
            why: why.into_owned(),
            help: "add it to the file of --facts, or leave that out to ask the registry".to_owned(),
        }),
    )
}
