//! From a file of tests to what its cases are judged by: its policies compiled, its configuration read.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::manifest::Manifests;
use crate::cli::{Surroundings, files};
use crate::config::{Config, Overrides};
use crate::document::{Color, Diagnostic, Source};
use crate::policy::file::Text;
use crate::policy::{PolicySet, Releases, Settings, Snapshots, TestFile};
use crate::release::Release;
use crate::review::Workloads;
use crate::watch::policy_files;

/// A file of tests, ready to be run.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Its path, as shown.
    pub name: String,
    /// Where its own paths begin.
    pub folder: PathBuf,
    /// Its text.
    pub text: String,
    /// What it says.
    pub file: TestFile,
    /// The policies under test.
    pub policies: PolicySet,
    /// Their files: name and text.
    pub sources: Vec<Rc<(String, String)>>,
    /// The kinds that have images.
    pub workloads: Workloads,
    /// Namespaces that are never judged.
    pub infrastructure: BTreeSet<String>,
    /// The manifests that were read for it.
    pub manifests: Manifests,
}

/// Reads files of tests; a policy file that several of them name is read once, and has one name.
#[derive(Default)]
pub(super) struct Loader {
    policies: HashMap<PathBuf, Rc<(String, String)>>,
}

/// What the configuration says beside the settings.
struct Configured {
    settings: Settings,
    workloads: Workloads,
    infrastructure: BTreeSet<String>,
}

impl Loader {
    /// Loads one file. None, after every problem of it and of what it names was written to standard error.
    pub fn load(&mut self, path: &Path, surroundings: &mut Surroundings<'_>) -> Option<Loaded> {
        let name = files::shown(path);
        let text = match files::read_file(path) {
            Ok(text) => text,
            Err(problem) => {
                files::complain(&[*problem], "", surroundings);
                return None;
            }
        };
        let source = Source::new(&name, &text);
        let file = match TestFile::read(&source) {
            Ok(file) => file,
            Err(problems) => {
                files::complain(&problems, &text, surroundings);
                return None;
            }
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let configured = configured(&file, &folder, &source, surroundings);
        let sources = self.sources(&file, &folder, &source, surroundings);
        let (configured, sources) = (configured?, sources?);
        let named: Vec<(&str, &str)> = sources.iter().map(|one| (one.0.as_str(), one.1.as_str())).collect();
        let policies = match PolicySet::compile(&named, configured.settings) {
            Ok(policies) => policies,
            Err(problems) => {
                for problem in problems {
                    let text = named.iter().find(|(name, _)| *name == problem.file).map_or("", |(_, text)| text);
                    files::complain(&[problem], text, surroundings);
                }
                return None;
            }
        };
        let file = if file.releases.is_empty() {
            file
        } else {
            let releases = releases(&file, &folder, &source, surroundings)?;
            file.governed_by(releases)
        };
        let unknown = file.unknown_names(&policies, &source);
        if !unknown.is_empty() {
            files::complain(&unknown, &text, surroundings);
            return None;
        }
        let Configured { workloads, infrastructure, .. } = configured;
        let manifests = Manifests::default();
        Some(Loaded { name, folder, text, file, policies, sources, workloads, infrastructure, manifests })
    }

    /// The policy files that a file of tests names. None, after what cannot be read was told at its place.
    fn sources(
        &mut self,
        file: &TestFile,
        folder: &Path,
        source: &Source<'_>,
        surroundings: &mut Surroundings<'_>,
    ) -> Option<Vec<Rc<(String, String)>>> {
        let mut sources: Vec<Rc<(String, String)>> = Vec::new();
        let mut problems = Vec::new();
        for named in &file.policies {
            let path = folder.join(&named.value);
            let files = match path.is_dir() {
                true => policy_files(&path),
                false => Ok(vec![path.clone()]),
            };
            let files = match files {
                Ok(files) if files.is_empty() => Err("there is no policy file in this directory".to_owned()),
                files => files,
            };
            let read = files.and_then(|files| files.iter().map(|file| self.read(file)).collect::<Result<Vec<_>, _>>());
            match read {
                // A file that is named twice, by itself and by its directory say, is one file.
                Ok(read) => {
                    for one in read {
                        if !sources.iter().any(|known| Rc::ptr_eq(known, &one)) {
                            sources.push(one);
                        }
                    }
                }
                Err(message) => problems.push(source.error(named.span.clone(), message).help(RELATIVE)),
            }
        }
        files::complain(&problems, source.text(), surroundings);
        problems.is_empty().then_some(sources)
    }

    fn read(&mut self, path: &Path) -> Result<Rc<(String, String)>, String> {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Some(known) = self.policies.get(&real) {
            return Ok(Rc::clone(known));
        }
        let text = files::read_file(path).map_err(|problem| of_file(&problem))?;
        let read = Rc::new((files::shown(&tidied(path)), text));
        self.policies.insert(real, Rc::clone(&read));
        Ok(read)
    }
}

/// The help beneath a path that leads nowhere.
pub(super) const RELATIVE: &str = "paths are relative to the file of tests";

/// What is wrong with a file, said at the place that names it.
pub(super) fn of_file(problem: &Diagnostic) -> String {
    format!("{}: {}", problem.file, problem.message)
}

/// Name and text of a file that the tests name. None, after it was told why it cannot be read.
pub(super) fn read(
    named: &Text,
    folder: &Path,
    source: &Source<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Option<(String, String)> {
    let path = folder.join(&named.value);
    match files::read_file(&path) {
        Ok(text) => Some((files::shown(&tidied(&path)), text)),
        Err(problem) => {
            let problem = source.error(named.span.clone(), of_file(&problem)).help(RELATIVE);
            files::complain(&[problem], source.text(), surroundings);
            None
        }
    }
}

/// The releases that the file names. None, after every problem of them was told.
fn releases(
    file: &TestFile,
    folder: &Path,
    source: &Source<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Option<Releases> {
    let mut texts = Vec::with_capacity(file.releases.len());
    for named in &file.releases {
        texts.push(read(named, folder, source, surroundings)?);
    }
    let (name, text) = texts.first()?;
    let read = Release::read(name, text).map_err(|problems| vec![(text, problems)]);
    let read = read.and_then(|first| match Snapshots::read(&texts) {
        Ok(snapshots) => Ok(Releases::everywhere(first.name(), snapshots)),
        Err(problems) => {
            let with_text = problems.into_iter().map(|problem| {
                let text = texts.iter().find(|(name, _)| *name == problem.file).map_or(text, |(_, text)| text);
                (text, vec![problem])
            });
            Err(with_text.collect())
        }
    });
    read.map_err(|told| told.iter().for_each(|(text, problems)| files::complain(problems, text, surroundings))).ok()
}

/// What `config` says, or the file's own settings. None, after every problem was told.
fn configured(
    file: &TestFile,
    folder: &Path,
    source: &Source<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Option<Configured> {
    let Some(named) = &file.config else {
        return Some(Configured {
            settings: file.settings.clone(),
            workloads: Workloads::default(),
            infrastructure: BTreeSet::new(),
        });
    };
    let (name, text) = read(named, folder, source, surroundings)?;
    match Config::from_text(&name, &text, &Overrides::default()) {
        Ok(config) => Some(Configured {
            settings: config.settings,
            workloads: config.workloads,
            infrastructure: config.infrastructure_namespaces,
        }),
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(surroundings.err, "{}", error.rendered(Color::Never));
            None
        }
    }
}

/// A path without steps that lead nowhere (`a/../b`), for showing.
pub(super) fn tidied(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::tidied;

    #[test]
    fn paths_are_shown_without_detours() {
        for (path, shown) in [
            ("a/./b/../c.yaml", "a/c.yaml"),
            ("../a/../b", "../b"),
            ("/a/../b", "/b"),
            ("../../a", "../../a"),
            ("./a", "a"),
        ] {
            assert_eq!(tidied(Path::new(path)), Path::new(shown), "{path}");
        }
    }
}
