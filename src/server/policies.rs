//! The policies in force: from files, objects and what was saved last; a bad version never replaces a good one.
//!
//! Sources are read here and judged by [`judge`], which is pure. For files the unit is the whole set, for objects the
//! object: a bad version of either leaves the last good one in force, in this process' memory, and at start what the elected
//! replica saved. What is wrong is told in the log, in metrics, by `/readyz?verbose` and in the objects' status.

mod files;
mod judge;
mod last_good;
mod problem;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

pub(super) use self::files::Files;
use self::files::Texts;
use self::judge::{Judged, LastGood, Sources};
use self::problem::Problem;
use super::home::Home;
use super::objects::{Standing, Standings, WatchedObjects};
use super::state::Shared;
use crate::cluster::{Cluster, Leadership, Listing, StoredObjects};
use crate::config::Config;
use crate::document::Diagnostic;
use crate::metrics::Metrics;
use crate::policy::{CustomKind, PolicySet, Settings};

/// Policies that do not compile: every problem, and the texts to show them in.
#[derive(Clone, Debug)]
pub struct PolicyProblems {
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
    /// Name and text of each file.
    pub texts: Vec<(String, String)>,
}

/// Where policies come from, and what was good of them last.
pub(super) struct Policies {
    files: Files,
    cluster: Option<Cluster>,
    /// Says whether this replica writes statuses; none: nobody does.
    leadership: Option<Leadership>,
    objects: Option<WatchedObjects>,
    saved: last_good::Read,
    saved_seen: bool,
    save: last_good::Save,
    /// What is good by this process; none before anything was in force.
    good: Option<LastGood>,
    /// What was told last, each to be logged once.
    told: HashSet<String>,
    /// The hash of what is in force.
    hash: Option<String>,
    from_saved: bool,
}

/// The policies of the configuration's directories alone, read and compiled as by a server that starts now.
///
/// # Errors
/// Every problem of every file.
pub fn of_files(config: &Config) -> Result<PolicySet, PolicyProblems> {
    let mut files = Files::new(&config.policy_dirs);
    files.changed();
    let sources = Sources { files: files.read(), objects: None };
    // With objects there may be no policy in the files.
    let allow_empty = config.settings.allow_empty || config.policy_objects;
    let settings = Settings { allow_empty, ..config.settings.clone() };
    let judged = judge::judge(&sources, &LastGood::default(), &settings);
    judged.set.ok_or_else(|| problems_of(judged.problems, files.texts()))
}

/// The problems of files, with the texts to show them in.
fn problems_of(problems: Vec<Problem>, texts: &Texts) -> PolicyProblems {
    let problems = problems.into_iter().filter_map(|problem| match problem {
        Problem::File(problem) => Some(problem),
        Problem::Object(_) | Problem::Unlisted(_) | Problem::Set(_) => None,
    });
    PolicyProblems { problems: problems.collect(), texts: texts.clone() }
}

/// What the sources came to.
pub(super) enum Outcome {
    /// A set that is to be in force, whatever is wrong beside it.
    Set(PolicySet, Judgement),
    /// No set: the old one stays, if there is one.
    Refused(Judgement),
    /// It cannot be said yet: what is missing, and what is wrong as far as that is known.
    Waiting(String, Vec<Problem>),
}

/// What is to be told and remembered of a judgement.
pub(super) struct Judgement {
    judged: Judged,
    objects: Arc<StoredObjects>,
    objects_from: ObjectsFrom,
}

/// Where the objects that were judged come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ObjectsFrom {
    /// The API server, or they are no source.
    Cluster,
    /// What the elected replica saved, because they cannot be listed for this reason.
    Saved(String),
}

impl Policies {
    /// The sources that the configuration names. Nothing is read yet; objects and what was saved are on their way.
    ///
    /// # Errors
    /// One sentence: objects are named as a source, and there is no cluster.
    pub fn new(
        config: &Config,
        cluster: Option<&Cluster>,
        home: Option<&Home>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        let (saved, save) = last_good::keep(home, metrics);
        let saved_seen = saved.borrow().known().is_some();
        let mut policies = Policies {
            files: Files::new(&config.policy_dirs),
            cluster: cluster.cloned(),
            leadership: home.map(|home| home.leadership.clone()),
            objects: None,
            saved_seen,
            saved,
            save,
            good: None,
            told: HashSet::new(),
            hash: None,
            from_saved: false,
        };
        policies.watch_objects(config)?;
        Ok(policies)
    }

    /// Begins to watch objects where the configuration names them and they are not watched yet.
    ///
    /// # Errors
    /// One sentence: there is no cluster.
    pub fn watch_objects(&mut self, config: &Config) -> Result<(), String> {
        if !config.policy_objects || self.objects.is_some() {
            return Ok(());
        }
        let Some(cluster) = &self.cluster else {
            return Err(
                "'policies.objects: true' needs a cluster: take it out of the configuration, or serve without \
                        --no-cluster and --dev"
                    .to_owned(),
            );
        };
        let watched = WatchedObjects::begin(cluster, CustomKind::ImagePolicy, self.leadership.as_ref());
        self.objects = Some(watched);
        Ok(())
    }

    /// Waits until objects, or what was saved, say something new.
    pub async fn stirred(&mut self) {
        let objects = async {
            match &mut self.objects {
                Some(objects) => objects.stirred().await,
                None => std::future::pending().await,
            }
        };
        let saved = async {
            if self.saved.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = objects => {}
            () = saved => {}
        }
    }

    /// Whether any source says something else than the last time.
    pub fn changed(&mut self) -> bool {
        let files = self.files.changed();
        let objects = self.objects.as_mut().is_some_and(WatchedObjects::changed);
        let saved = !self.saved_seen && self.saved.borrow().known().is_some();
        self.saved_seen |= saved;
        files || objects || saved
    }

    /// The directories of a configuration, where they are others than those under watch; they are read already.
    pub fn moved(&self, config: &Config) -> Option<Files> {
        if self.files.are_of(&config.policy_dirs) {
            return None;
        }
        let mut files = Files::new(&config.policy_dirs);
        files.changed();
        Some(files)
    }

    /// Judges the sources under a configuration, with these directories if they are others.
    pub fn judge(&self, moved: Option<&Files>, config: &Config) -> Outcome {
        let listing = self.objects.as_ref().filter(|_| config.policy_objects).map(WatchedObjects::listing);
        let saved = self.saved.borrow().known().cloned();
        let (objects, objects_from) = match listing {
            None => (None, ObjectsFrom::Cluster),
            Some(Listing { objects: Some(listed), .. }) => (Some(listed), ObjectsFrom::Cluster),
            Some(Listing { objects: None, problem }) => {
                // A replica that starts while they cannot be listed must not be missing for that.
                let stand_in = saved.as_deref().filter(|saved| !saved.objects.is_empty());
                if let (Some(saved), Some(problem)) = (stand_in, &problem) {
                    (Some(Arc::new(saved.stored())), ObjectsFrom::Saved(problem.clone()))
                } else {
                    let why = problem.map_or_else(String::new, |problem| format!(": {problem}"));
                    let missing = format!("the ImagePolicy objects have not been listed yet{why}");
                    return Outcome::Waiting(missing, Vec::new());
                }
            }
        };
        let mut known = match (&self.good, &saved) {
            (Some(good), _) => good.clone(),
            (None, Some(saved)) => LastGood::clone(saved),
            (None, None) => LastGood::default(),
        };
        if moved.is_some() {
            // What was good elsewhere says nothing of these directories.
            known.files = None;
        }
        let sources = Sources { files: moved.unwrap_or(&self.files).read(), objects: objects.as_deref() };
        let mut judged = judge::judge(&sources, &known, &config.settings);
        if self.good.is_none() {
            judged = judged.without_losses();
        }
        if let ObjectsFrom::Saved(problem) = &objects_from {
            judged = judged.of_saved_objects(problem);
        }
        if judged.without_good && self.good.is_none() && saved.is_none() {
            let missing = "there are policies with errors, and what was saved last cannot be read yet".to_owned();
            return Outcome::Waiting(missing, judged.problems);
        }
        let set = judged.set.take();
        let judgement = Judgement { judged, objects: objects.unwrap_or_default(), objects_from };
        match set {
            Some(set) => Outcome::Set(set, judgement),
            None => Outcome::Refused(judgement),
        }
    }

    /// A set is in force from now on: remembers what is good, and says so everywhere.
    pub fn took(&mut self, config: &Config, moved: Option<Files>, judgement: Judgement, shared: &Shared) {
        if let Some(files) = moved {
            self.files = files;
        }
        if !config.policy_objects {
            self.objects = None;
        }
        let Judgement { judged, objects, objects_from } = judgement;
        let live = shared.live.load();
        let in_force = live.policies.is_some();
        if let Some(set) = &live.policies {
            shared.metrics.policies_in_force(set);
            if self.hash.as_deref() != Some(set.hash()) {
                tracing::info!(policies = set.policies().count(), policy_hash = set.hash(), "policies are in force");
                self.hash = Some(set.hash().to_owned());
            }
        }
        if judged.from_saved && !self.from_saved {
            tracing::warn!(
                "policies have errors or cannot be listed; what was saved when they had none is in force in their place"
            );
        }
        self.from_saved = judged.from_saved;
        // What was read of the document is no news for it; another replica may know better by now.
        if objects_from == ObjectsFrom::Cluster {
            self.save.send_replace(Some(Arc::new(judged.good.clone())));
        }
        self.good = Some(judged.good);
        self.publish(objects, judged.standings, true);
        self.tell(judged.problems, None, shared);
        if in_force {
            // The last of all: whoever sees that we are ready can see what is wrong all the same.
            shared.readiness.policies_in_force();
        }
    }

    /// Nothing new is in force: says why, everywhere.
    pub fn refused(&mut self, judgement: Judgement, shared: &Shared) {
        let Judgement { judged, objects, .. } = judgement;
        let in_force = shared.live.load().policies.is_some();
        self.publish(objects, judged.standings, in_force);
        self.tell(judged.problems, None, shared);
    }

    /// A configuration is not taken because of what policies say under it.
    pub fn refused_configuration(&mut self, judgement: Judgement, shared: &Shared) {
        self.tell(judgement.judged.problems, None, shared);
    }

    /// It cannot be said yet.
    pub fn waiting(&mut self, missing: String, problems: Vec<Problem>, shared: &Shared) {
        tracing::info!(missing, "policies are not judged yet");
        self.tell(problems, Some(missing), shared);
    }

    /// The problems of files, for people, where nothing else can be a source.
    pub fn problems(&self, judgement: &Judgement) -> PolicyProblems {
        problems_of(judgement.judged.problems.clone(), self.files.texts())
    }

    fn publish(&self, objects: Arc<StoredObjects>, by_name: BTreeMap<String, Standing>, set_in_force: bool) {
        if let Some(watched) = &self.objects {
            watched.publish(Standings { objects, by_name, set_in_force });
        }
    }

    fn tell(&mut self, problems: Vec<Problem>, missing: Option<String>, shared: &Shared) {
        let sources: BTreeSet<_> = problems.iter().map(Problem::source).collect();
        shared.metrics.policies_judged(sources.len(), self.from_saved);
        if missing.is_some() {
            shared.metrics.policies_awaited();
        }
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let news = problems.iter().zip(&told).filter(|(_, told)| !self.told.contains(*told));
        news.for_each(|(problem, _)| problem.log());
        let saved = "what was saved when the policies had no errors is in force in the place of:".to_owned();
        let head = missing.into_iter().chain(self.from_saved.then_some(saved));
        shared.readiness.policies_refused(head.chain(told.iter().cloned()).collect());
        self.told = told.into_iter().collect();
    }
}

impl Judgement {
    /// Whether a policy that is in force would be lost: its object has no version that compiles.
    pub fn loses_one_of(&self, in_force: Option<&PolicySet>) -> bool {
        let names = || in_force.into_iter().flat_map(PolicySet::policies).map(|(name, _)| name);
        self.judged.lost.iter().any(|lost| names().any(|name| name == lost))
    }
}
