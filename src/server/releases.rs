//! The releases in force: from directories and from ImageRelease objects, read again whenever these change.
//!
//! A bad version never replaces a good one: for a directory the unit is the whole, for objects the object. What was good is
//! in this process' memory, and at start what the elected replica saved. What is wrong is told in the log, in metrics, by
//! `/readyz?verbose` and in the objects' status.

mod judge;
mod last_good;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::judge::{GoodObjects, judge};
use self::last_good::{InForce, ObjectsInForce};
use self::unit::Unit;
use super::home::Home;
use super::objects::WatchedObjects;
use super::state::Shared;
use crate::cluster::{Cluster, StoredObjects};
use crate::config::{Config, ReleaseOrigin, ReleaseSource};
use crate::metrics::Metrics;
use crate::policy::{CustomKind, Loaded, Releases, SEVERAL, Snapshots};

/// Where releases come from, what was good of each last, and for whom they are.
pub(super) struct ReleaseSources {
    cluster: Option<Cluster>,
    /// Where what is good is saved, and who says whether this replica writes statuses; none: nobody does.
    home: Option<Home>,
    metrics: Arc<Metrics>,
    choices: Vec<ReleaseSource>,
    units: BTreeMap<ReleaseOrigin, Unit>,
    saved: last_good::Read,
    save: last_good::Save,
    /// Whether what was saved is read and kept: from the first source on, since without one our account may not.
    is_kept: bool,
    /// Whether each source has said something once.
    answered: bool,
}

/// The releases of ImageRelease objects, as a server that starts now would load them.
///
/// # Errors
/// Every problem of every object, a line each.
pub fn of_objects(objects: &StoredObjects) -> Result<Snapshots, Vec<String>> {
    let judged = judge(objects, &GoodObjects::new());
    match judged.snapshots {
        Some(snapshots) if judged.problems.is_empty() => Ok(snapshots),
        None if judged.problems.is_empty() => Err(vec!["there is no ImageRelease object in the cluster".to_owned()]),
        _ => Err(judged.problems.iter().map(ToString::to_string).collect()),
    }
}

impl ReleaseSources {
    /// The sources that the configuration names: directories are read once, objects and what was saved are on their way.
    ///
    /// # Errors
    /// One sentence: objects are named as a source, and there is no cluster.
    pub fn new(
        config: &Config,
        cluster: Option<&Cluster>,
        home: Option<&Home>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        let (saved, save) = last_good::keep(None, metrics);
        let mut sources = ReleaseSources {
            cluster: cluster.cloned(),
            home: home.cloned(),
            metrics: Arc::clone(metrics),
            choices: Vec::new(),
            units: BTreeMap::new(),
            saved,
            save,
            is_kept: false,
            answered: false,
        };
        sources.fits(config)?;
        sources.follow(config);
        Ok(sources)
    }

    /// # Errors
    /// One sentence: a configuration names objects as a source, and there is no cluster.
    pub fn fits(&self, config: &Config) -> Result<(), String> {
        let objects = |source: &ReleaseSource| source.origin == ReleaseOrigin::Objects;
        match config.releases.iter().position(objects) {
            Some(at) if self.cluster.is_none() => Err(format!(
                "'releases[{at}].objects: true' needs a cluster: name a directory by 'dir' in its place, or serve without \
                 --no-cluster and --dev"
            )),
            _ => Ok(()),
        }
    }

    /// Takes the sources of another configuration; what is known of one that stays is kept.
    pub fn follow(&mut self, config: &Config) {
        if !self.is_kept && !config.releases.is_empty() {
            (self.saved, self.save) = last_good::keep(self.home.as_ref(), &self.metrics);
            self.is_kept = true;
        }
        let mut before = std::mem::take(&mut self.units);
        for source in &config.releases {
            let origin = &source.origin;
            if !self.units.contains_key(origin) {
                let unit = before.remove(origin).unwrap_or_else(|| self.unit(origin));
                self.units.insert(origin.clone(), unit);
            }
        }
        self.choices.clone_from(&config.releases);
        self.poll();
    }

    fn unit(&self, origin: &ReleaseOrigin) -> Unit {
        let leadership = self.home.as_ref().map(|home| &home.leadership);
        let watched = self.cluster.as_ref().filter(|_| *origin == ReleaseOrigin::Objects);
        Unit::of(origin, watched.map(|cluster| WatchedObjects::begin(cluster, CustomKind::ImageRelease, leadership)))
    }

    /// Waits until objects, or what was saved, say something new.
    pub async fn stirred(&mut self) {
        let objects = async {
            match self.units.get_mut(&ReleaseOrigin::Objects) {
                Some(unit) => unit.stirred().await,
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

    /// Looks at all sources; says whether any has something new.
    pub fn poll(&mut self) -> bool {
        let saved = self.saved.borrow().clone();
        let mut any = false;
        for (origin, unit) in &mut self.units {
            if unit.poll(&saved) {
                any = true;
                let newest = self.choices.iter().any(|source| source.origin == *origin && source.choice.wants_newest());
                tell(unit, newest);
            }
        }
        any
    }

    /// Puts what is good in force, and says so everywhere.
    pub fn take(&mut self, shared: &Shared) {
        let unread = || Loaded::Never("the releases are not read yet".to_owned());
        let loaded = |source: &ReleaseSource| self.units.get(&source.origin).map_or_else(unread, Unit::loaded);
        let choices = self.choices.iter().map(|source| (source.choice.clone(), loaded(source)));
        shared.releases.store(Arc::new(Releases::new(choices.collect())));
        self.answered |= !self.units.values().any(|unit| unit.is_awaited);
        let told: Vec<(&Unit, Vec<String>)> =
            self.units.iter().map(|(origin, unit)| (unit, self.problems(origin, unit))).collect();
        shared.metrics.release_sources(told.iter().map(|(unit, problems)| crate::metrics::ReleaseSource {
            name: &unit.name,
            releases: unit.good.as_ref().map(|good| &*good.snapshots),
            since: unit.good.as_ref().map(|good| good.since),
            is_current: problems.is_empty() && !unit.is_awaited,
            from_saved: unit.good.as_ref().is_some_and(|good| good.saved),
        }));
        let lines = told.iter().flat_map(|(unit, problems)| {
            let saved = "what was saved when they had no errors is in force in the place of:".to_owned();
            let head = unit.good.as_ref().filter(|good| good.saved).map(|_| saved);
            // What is in force all the same, but should be looked at.
            let warnings = unit.good.iter().flat_map(|good| good.snapshots.warnings());
            let lines = head.into_iter().chain(problems.iter().cloned()).chain(warnings);
            lines.map(|line| format!("{}: {line}", unit.name))
        });
        shared.readiness.releases_refused(lines.collect());
        // Behind them: whoever sees that we are ready can see what is wrong all the same.
        shared.readiness.releases_awaited(!self.answered);
        if !self.units.is_empty() {
            self.save.send_replace(Some(Arc::new(self.in_force())));
        }
    }

    /// What is wrong with a source as it stands, and with who chooses from it.
    fn problems(&self, origin: &ReleaseOrigin, unit: &Unit) -> Vec<String> {
        let mut problems = unit.problems.clone();
        let newest = self.choices.iter().any(|source| source.origin == *origin && source.choice.wants_newest());
        if newest && unit.good.as_ref().is_some_and(|good| good.snapshots.newest().is_none()) {
            problems.push(SEVERAL.to_owned());
        }
        problems
    }

    fn in_force(&self) -> InForce {
        let mut in_force = InForce { directories: BTreeMap::new(), objects: ObjectsInForce::NoSource };
        for (origin, unit) in &self.units {
            match origin {
                ReleaseOrigin::Directory(_) => {
                    in_force.directories.insert(unit.name.clone(), unit.directory_in_force());
                }
                ReleaseOrigin::Objects => in_force.objects = unit.objects_in_force(),
            }
        }
        in_force
    }
}

/// Writes what is loaded to the log. `newest`: whether somebody takes the release that no other lists as previous.
fn tell(unit: &Unit, newest: bool) {
    let Some(good) = &unit.good else { return };
    let source = &unit.name;
    for release in good.snapshots.releases() {
        let (name, id) = (release.name(), release.id().as_str());
        tracing::info!(source, release = name, id, saved = good.saved, "a release is loaded");
    }
    for problem in good.snapshots.warnings() {
        tracing::warn!(source, problem, "releases are loaded, and probably not as they are meant");
    }
    if newest && good.snapshots.newest().is_none() {
        tracing::error!(source, "{SEVERAL}: no release governs its namespaces");
    }
}
