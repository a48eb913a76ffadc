//! One source of releases, a directory or the objects of the cluster: read whenever it changes; a bad version never replaces
//! a good one, and where this process has none, what was saved serves.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::judge::{GoodObjects, Judged, judge, stored};
use super::last_good::{ObjectsInForce, Saved, SavedDirectory, Texts};
use crate::cluster::{Listing, StoredObjects};
use crate::config::ReleaseOrigin;
use crate::document::Diagnostic;
use crate::policy::{Loaded, Seconds, Snapshots};
use crate::server::objects::{Standings, WatchedObjects};
use crate::server::saved::Recalled;
use crate::watch::{Contents, Target, Watch};

/// A source.
pub(super) struct Unit {
    /// As it is shown.
    pub name: String,
    reading: Reading,
    /// What is in force of it.
    pub good: Option<Good>,
    /// What is wrong with it as it stands.
    pub problems: Vec<String>,
    /// Why nothing is loaded, where nothing is.
    why: String,
    /// Whether what it says, or what was saved of it, is still to come.
    pub is_awaited: bool,
    /// Whether what was saved was looked at.
    recalled: bool,
    /// What was told last, each to be logged once.
    told: BTreeSet<String>,
}

enum Reading {
    /// For a directory the unit is the whole: releases name each other, so half of an old state and half of a new one are
    /// neither.
    Directory(Watch),
    /// For objects the unit is the object.
    Objects(WatchedObjects, GoodObjects),
}

/// Releases without errors.
pub(super) struct Good {
    pub snapshots: Arc<Snapshots>,
    /// When they were read.
    pub since: Seconds,
    /// Whether some of them were saved by another process.
    pub saved: bool,
    /// The files of a directory that this process read.
    texts: Option<Texts>,
}

impl Unit {
    /// Nothing is read yet.
    pub fn of(origin: &ReleaseOrigin, objects: Option<WatchedObjects>) -> Self {
        let (reading, why) = match (origin, objects) {
            (ReleaseOrigin::Objects, Some(objects)) => {
                let why = "the ImageRelease objects have not been listed yet".to_owned();
                (Reading::Objects(objects, GoodObjects::new()), why)
            }
            (ReleaseOrigin::Objects, None) => {
                let why = "there is no cluster to have ImageRelease objects".to_owned();
                (Reading::Directory(Watch::new(Vec::new())), why)
            }
            (ReleaseOrigin::Directory(dir), _) => {
                let why = format!("the release files of {origin} have errors, or cannot be read");
                (Reading::Directory(Watch::new(vec![Target::PolicyDirectory(dir.clone())])), why)
            }
        };
        Unit {
            name: origin.to_string(),
            reading,
            good: None,
            problems: Vec::new(),
            why,
            is_awaited: true,
            recalled: false,
            told: BTreeSet::new(),
        }
    }

    /// Looks at it; says whether there is something new.
    pub fn poll(&mut self, saved: &Recalled<Saved>) -> bool {
        match &mut self.reading {
            Reading::Directory(watch) => {
                let read = watch.poll();
                self.directory(read, saved)
            }
            Reading::Objects(watched, _) => {
                let changed = watched.changed();
                self.objects(changed, saved)
            }
        }
    }

    /// Waits until its objects say something new; for ever where it has none.
    pub async fn stirred(&mut self) {
        match &mut self.reading {
            Reading::Objects(watched, _) => watched.stirred().await,
            Reading::Directory(_) => std::future::pending().await,
        }
    }

    pub fn loaded(&self) -> Loaded {
        match &self.good {
            Some(good) => Loaded::Releases(good.snapshots.clone()),
            None => Loaded::Never(self.why.clone()),
        }
    }

    /// What is to be saved of a directory; none: nothing that this process read.
    pub fn directory_in_force(&self) -> Option<SavedDirectory> {
        let good = self.good.as_ref()?;
        Some(SavedDirectory { read: good.since, files: good.texts.clone()? })
    }

    /// What is to be saved of objects.
    pub fn objects_in_force(&self) -> ObjectsInForce {
        match (&self.reading, &self.good) {
            (Reading::Objects(watched, known), good) if watched.listing().objects.is_some() && !self.is_awaited => {
                ObjectsInForce::Listed(good.as_ref().map_or_else(crate::server::now, |good| good.since), known.clone())
            }
            _ => ObjectsInForce::Unlisted,
        }
    }

    fn directory(&mut self, read: Option<Result<Vec<Contents>, String>>, saved: &Recalled<Saved>) -> bool {
        let changed = read.is_some();
        match read.map(|read| read.map_err(|problem| vec![problem]).and_then(texts)) {
            None => {}
            Some(Ok((snapshots, texts))) => {
                let good = Good {
                    snapshots: Arc::new(snapshots),
                    since: crate::server::now(),
                    saved: false,
                    texts: Some(texts),
                };
                self.good = Some(good);
                self.problems.clear();
            }
            Some(Err(problems)) => self.problems = problems,
        }
        let recalled = match saved.known().filter(|_| !self.recalled && self.good.is_none()) {
            None => false,
            Some(saved) => {
                self.recalled = true;
                let kept = saved.directories.get(&self.name);
                self.good = kept.and_then(|kept| {
                    let snapshots = Arc::new(Snapshots::read(&kept.files).ok()?);
                    Some(Good { snapshots, since: kept.read, saved: true, texts: None })
                });
                self.good.is_some()
            }
        };
        let awaited = self.good.is_none() && matches!(saved, Recalled::Unread);
        let news = changed || recalled || awaited != self.is_awaited;
        self.is_awaited = awaited;
        if changed || recalled {
            let kept = self.kept();
            for problem in self.news() {
                tracing::error!(problem, source = self.name, "release files have errors; {kept}");
            }
        }
        news
    }

    fn objects(&mut self, changed: bool, saved: &Recalled<Saved>) -> bool {
        let recalled = saved.known().filter(|_| !self.recalled);
        // Failing is an answer too: objects without a good version need not wait for it any longer.
        if !changed && recalled.is_none() && (!self.is_awaited || matches!(saved, Recalled::Unread)) {
            return false;
        }
        self.recalled |= recalled.is_some();
        let Reading::Objects(watched, known) = &mut self.reading else { return false };
        match watched.listing() {
            Listing { objects: Some(listed), .. } => {
                let mut all =
                    saved.known().and_then(|saved| saved.objects()).map(|(_, saved)| saved).unwrap_or_default();
                all.append(&mut known.clone());
                let judged = judge(&listed, &all);
                if judged.without_good && matches!(saved, Recalled::Unread) && self.is_awaited {
                    return false;
                }
                self.judged(listed, judged);
                true
            }
            Listing { objects: None, problem: Some(problem) } => {
                let sentence = format!("the ImageRelease objects cannot be listed: {problem}");
                let saved_objects = saved.known().and_then(|saved| saved.objects());
                if let (None, Some((since, good))) = (&self.good, saved_objects) {
                    let snapshots = judge(&stored(&good), &GoodObjects::new()).snapshots;
                    let of = |snapshots| Good { snapshots: Arc::new(snapshots), since, saved: true, texts: None };
                    self.good = snapshots.map(of);
                }
                self.is_awaited = self.good.is_none() && matches!(saved, Recalled::Unread);
                self.why.clone_from(&sentence);
                self.problems = vec![sentence];
                let kept = self.kept();
                for problem in self.news() {
                    tracing::error!(problem, source = self.name, "ImageRelease objects are not seen; {kept}");
                }
                true
            }
            Listing { objects: None, problem: None } => false,
        }
    }

    fn judged(&mut self, listed: Arc<StoredObjects>, judged: Judged) {
        let Reading::Objects(watched, known) = &mut self.reading else { return };
        let Judged { snapshots, good, standings, problems, from_saved, .. } = judged;
        *known = good;
        let by_object = problems.iter().map(|problem| (problem.to_string(), problem));
        for (line, problem) in by_object.filter(|(line, _)| !self.told.contains(line)) {
            let (object, path) = (&problem.object, &problem.path);
            tracing::error!(
                object,
                path,
                problem = line,
                "an ImageRelease has errors; its last good version stays loaded"
            );
        }
        self.problems = problems.iter().map(ToString::to_string).collect();
        self.why = match problems.first() {
            None => "there is no ImageRelease object",
            Some(_) => "every ImageRelease object has errors",
        }
        .to_owned();
        if problems.is_empty() && snapshots.is_none() {
            self.problems
                .push("there is no ImageRelease object: create one, or take the entry out of 'releases'".to_owned());
        }
        self.told = self.problems.iter().cloned().collect();
        // Where some are bad, what is in force is as old as it was before.
        let before = self.good.as_ref().filter(|_| !problems.is_empty()).map(|good| good.since);
        let since = before.unwrap_or_else(crate::server::now);
        let of = |snapshots| Good { snapshots: Arc::new(snapshots), since, saved: from_saved, texts: None };
        self.good = snapshots.map(of);
        self.is_awaited = false;
        watched.publish(Standings { objects: listed, by_name: standings, set_in_force: true });
    }

    /// What serves while it has errors.
    fn kept(&self) -> &'static str {
        match &self.good {
            Some(Good { saved: true, .. }) => "what was saved when they had none is in force",
            Some(_) => "the last good ones stay in force",
            None => "no release governs its namespaces",
        }
    }

    /// The problems that were not told yet.
    fn news(&mut self) -> Vec<String> {
        let told = std::mem::replace(&mut self.told, self.problems.iter().cloned().collect());
        self.problems.iter().filter(|problem| !told.contains(*problem)).cloned().collect()
    }
}

/// The releases of a directory's files, and the texts of these.
fn texts(contents: Vec<Contents>) -> Result<(Snapshots, Texts), Vec<String>> {
    let mut texts = Vec::with_capacity(contents.len());
    for (path, bytes) in contents {
        let name = shown(&path);
        match String::from_utf8(bytes) {
            Ok(text) => texts.push((name, text)),
            Err(_) => return Err(vec![format!("{name} is not UTF-8, save it as UTF-8")]),
        }
    }
    let lines = |problems: Vec<Diagnostic>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    Snapshots::read(&texts).map_err(lines).map(|snapshots| (snapshots, texts))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
