//! The releases in force: read from their directories again whenever these change; a bad version never replaces a good one.
//!
//! The unit is the directory: releases name each other, so half of an old state and half of a new one are neither.

use std::path::Path;
use std::sync::Arc;

use super::state::Shared;
use crate::config::{Config, ReleaseSource};
use crate::document::Diagnostic;
use crate::policy::{Loaded, Releases, SEVERAL, Seconds, Snapshots};
use crate::watch::{Contents, Target, Watch};

/// The directories of release files, and what was good of each last.
pub(super) struct ReleaseSources {
    sources: Vec<Source>,
}

/// One directory, and for whom its releases are.
struct Source {
    of: ReleaseSource,
    /// The directory as it is shown.
    name: String,
    watch: Watch,
    good: Option<Good>,
    /// Why the directory as it stands is not in force, or was not read yet.
    problem: Option<String>,
}

/// Releases without errors.
#[derive(Clone)]
struct Good {
    snapshots: Arc<Snapshots>,
    /// When they were read.
    since: Seconds,
}

impl ReleaseSources {
    /// The directories that the configuration names, each read once.
    pub fn new(config: &Config) -> Self {
        let mut sources = ReleaseSources { sources: Vec::new() };
        sources.follow(config);
        sources
    }

    /// Takes the directories of another configuration; what is known of one that stays is kept.
    pub fn follow(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.sources);
        for of in &config.releases {
            let kept = before.iter().position(|source| source.of.dir == of.dir).map(|at| before.swap_remove(at));
            let mut source = match kept {
                Some(kept) => Source { of: of.clone(), ..kept },
                None => Source::new(of.clone()),
            };
            source.poll();
            self.sources.push(source);
        }
    }

    /// Looks at all directories; says whether any changed.
    pub fn poll(&mut self) -> bool {
        self.sources.iter_mut().map(Source::poll).fold(false, |any, changed| any | changed)
    }

    /// Puts what is good in force, and says so everywhere.
    pub fn take(&self, shared: &Shared) {
        let choices = self.sources.iter().map(|source| (source.of.choice.clone(), source.loaded()));
        shared.releases.store(Arc::new(Releases::new(choices.collect())));
        // Several entries may name one directory; it is told of once.
        let first = |source: &&Source| {
            self.sources.iter().find(|other| other.name == source.name).is_some_and(|f| std::ptr::eq(f, *source))
        };
        let has_problem =
            |name: &str| self.sources.iter().any(|source| source.name == name && source.problem.is_some());
        shared.metrics.release_sources(self.sources.iter().filter(first).map(|source| crate::metrics::ReleaseSource {
            name: &source.name,
            releases: source.good.as_ref().map(|good| &*good.snapshots),
            since: source.good.as_ref().map(|good| good.since),
            is_current: !has_problem(&source.name),
        }));
        let problem = |source: &Source| source.problem.as_ref().map(|problem| format!("{}: {problem}", source.name));
        let mut problems: Vec<String> = self.sources.iter().filter_map(problem).collect();
        problems.dedup();
        // What is in force all the same, but should be looked at.
        for source in self.sources.iter().filter(first) {
            let warnings = source.good.iter().flat_map(|good| good.snapshots.warnings());
            problems.extend(warnings.map(|warning| format!("{}: {warning}", source.name)));
        }
        shared.readiness.releases_refused(problems);
    }
}

impl Source {
    fn new(of: ReleaseSource) -> Self {
        let watch = Watch::new(vec![Target::PolicyDirectory(of.dir.clone())]);
        Source { name: of.dir.display().to_string(), of, watch, good: None, problem: None }
    }

    fn poll(&mut self) -> bool {
        let Some(read) = self.watch.poll() else { return false };
        match read.map_err(Problem::Sentence).and_then(|contents| snapshots(&contents)) {
            Ok(snapshots) => {
                self.tell(&snapshots);
                let problem = snapshots.newest().is_none().then_some(SEVERAL);
                self.problem = problem.filter(|_| self.of.choice.wants_newest()).map(str::to_owned);
                self.good = Some(Good { snapshots: Arc::new(snapshots), since: super::now() });
            }
            Err(problem) => {
                let kept = match &self.good {
                    Some(_) => "the last good ones stay in force",
                    None => "no release governs its namespaces",
                };
                let all = problem.lines();
                for problem in &all {
                    tracing::error!(problem, source = self.name, "release files have errors; {kept}");
                }
                self.problem = Some(all.join("\n"));
            }
        }
        true
    }

    fn tell(&self, snapshots: &Snapshots) {
        for release in snapshots.releases() {
            let (name, id) = (release.name(), release.id().as_str());
            tracing::info!(source = self.name, release = name, id, "a release is loaded");
        }
        for problem in snapshots.warnings() {
            tracing::warn!(problem, source = self.name, "releases are loaded, and probably not as they are meant");
        }
        if self.of.choice.wants_newest() && snapshots.newest().is_none() {
            tracing::error!(source = self.name, "{SEVERAL}: no release governs its namespaces");
        }
    }

    fn loaded(&self) -> Loaded {
        match &self.good {
            Some(good) => Loaded::Releases(good.snapshots.clone()),
            None => Loaded::Never(format!("the release files of {} have errors, or cannot be read", self.name)),
        }
    }
}

/// What is wrong with a directory.
enum Problem {
    Sentence(String),
    Files(Vec<Diagnostic>),
}

impl Problem {
    fn lines(&self) -> Vec<String> {
        match self {
            Problem::Sentence(sentence) => vec![sentence.clone()],
            Problem::Files(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The releases of a directory's files.
fn snapshots(contents: &[Contents]) -> Result<Snapshots, Problem> {
    let mut texts = Vec::with_capacity(contents.len());
    for (path, bytes) in contents {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Problem::Sentence(format!("{} is not UTF-8, save it as UTF-8", shown(path))));
        };
        texts.push((shown(path), text));
    }
    Snapshots::read(&texts).map_err(Problem::Files)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
