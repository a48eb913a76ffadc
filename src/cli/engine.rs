//! What `check` and `explain` share: the flags that choose policies and namespace, and the policies loaded from them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::facts::Origin;
use super::{Surroundings, files, releases};
use crate::cluster::StoredObjects;
use crate::config::{Config, Overrides};
use crate::document::{Color, Diagnostic, render};
use crate::policy::{FactsFile, Labels, PolicySet, Releases, Settings, TrustedLabels};
use crate::review::Workloads;
use crate::watch::policy_files;

/// The flags.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    /// A directory of policy files (not searched recursively); may be given several times
    #[arg(long, value_name = "DIR")]
    pub policies: Vec<PathBuf>,
    /// The server's configuration file: its settings decide here too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The namespace of objects that name none [default: default]
    #[arg(short, long, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// A label of the namespace; may be given several times. Without any, labels are unknown: policies with a selector apply
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub namespace_labels: Vec<(String, String)>,
    /// A release file that governs every namespace; further ones stay allowed beside the first where that lists them as previous
    #[arg(long, value_name = "FILE")]
    pub release: Vec<PathBuf>,
    /// Ask no registry: what only a registry knows is undecided, and nothing is looked up for pins
    #[arg(long, conflicts_with = "facts")]
    pub offline: bool,
    /// Take what registries would say from this file instead of asking them
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
}

impl EngineArgs {
    /// The namespace where none is written in the object.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The given labels and the one that every namespace has; none where none were given.
    pub fn labels_of(&self, namespace: &str) -> Option<Labels> {
        if self.namespace_labels.is_empty() {
            return None;
        }
        let mut labels: Labels = self.namespace_labels.iter().cloned().collect();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        Some(labels)
    }

    /// Reads configuration and policies. None, after every problem in them was written to standard error.
    pub fn prepare(&self, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Option<Engine>> {
        self.prepare_with(|_| Ok(Elsewhere::default()), surroundings)
    }

    /// The same with what is elsewhere than in files.
    pub fn prepare_with(
        &self,
        elsewhere: impl FnOnce(&Config) -> anyhow::Result<Elsewhere>,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<Option<Engine>> {
        let overrides = Overrides { policy_dirs: self.policies.clone(), ..Overrides::default() };
        let Some(config) = configuration(self.config.as_deref(), &overrides, surroundings) else { return Ok(None) };
        let Elsewhere { policies: elsewhere, releases: objects } = elsewhere(&config)?;
        if config.policy_objects && elsewhere.is_empty() {
            let note = "note: policies.objects is on, and ImagePolicy objects are not read here; name their files by --policies";
            let _ = writeln!(surroundings.err, "{note}");
        }
        let mut settings = config.settings;
        if self.config.is_none() {
            settings.trusted_labels = TrustedLabels::All;
        }
        let policies = if config.policy_dirs.is_empty() && elsewhere.is_empty() {
            None
        } else {
            let Some(mut sources) = read_all(&config.policy_dirs, surroundings)? else { return Ok(None) };
            sources.extend(elsewhere);
            match PolicySet::compile(&sources, settings.clone()) {
                Ok(policies) => Some(policies),
                Err(diagnostics) => {
                    show(&diagnostics, &sources, surroundings);
                    return Ok(None);
                }
            }
        };
        let origin = match (&self.facts, self.offline) {
            (Some(file), _) => match facts_file(file, surroundings) {
                Some(facts) => Origin::File(facts),
                None => return Ok(None),
            },
            (None, true) => Origin::Nowhere,
            (None, false) => Origin::Registries(config.registry),
        };
        let Some(releases) = releases::read(&self.release, &config.releases, objects.as_ref(), surroundings) else {
            return Ok(None);
        };
        Ok(Some(Engine {
            policies,
            releases,
            releases_by: if self.release.is_empty() { "configuration" } else { "--release" },
            settings,
            workloads: config.workloads,
            infrastructure: config.infrastructure_namespaces,
            origin,
        }))
    }
}

/// What is elsewhere than in files: objects of a cluster.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Policies, each with the name that it is shown by.
    pub policies: Vec<(String, String)>,
    /// ImageRelease objects; none: they are not read.
    pub releases: Option<StoredObjects>,
}

/// What judging needs, ready to use.
pub(super) struct Engine {
    /// The policies of all directories; none where no directory was named.
    pub policies: Option<PolicySet>,
    /// Which release governs which namespace.
    pub releases: Releases,
    /// What says so: `--release` or `configuration`.
    pub releases_by: &'static str,
    /// The configuration's settings, or the defaults with every label trusted.
    pub settings: Settings,
    /// The kinds that have images.
    pub workloads: Workloads,
    /// Namespaces that are never judged.
    pub infrastructure: BTreeSet<String>,
    /// Where facts come from.
    pub origin: Origin,
}

/// Reads `--config` and lays the flags over it. None, after every problem in it was written to standard error.
pub(super) fn configuration(
    file: Option<&Path>,
    overrides: &Overrides,
    surroundings: &mut Surroundings<'_>,
) -> Option<Config> {
    let config = match file.map(|file| (files::shown(file), files::read_file(file))) {
        None => Config::from_text("", "", overrides),
        Some((name, Ok(text))) => Config::from_text(&name, &text, overrides),
        Some((_, Err(problem))) => {
            files::complain(&[*problem], "", surroundings);
            return None;
        }
    };
    match config {
        Ok(config) => Some(config),
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = write!(surroundings.err, "{}", error.rendered(Color::Never));
            None
        }
    }
}

/// Reads `--facts`. None, after every problem in it was written to standard error.
pub(super) fn facts_file(file: &Path, surroundings: &mut Surroundings<'_>) -> Option<FactsFile> {
    let text = match files::read_file(file) {
        Ok(text) => text,
        Err(problem) => {
            files::complain(&[*problem], "", surroundings);
            return None;
        }
    };
    let sources = [(files::shown(file), text)];
    match FactsFile::read(&sources) {
        Ok(facts) => Some(facts),
        Err(diagnostics) => {
            show(&diagnostics, &sources, surroundings);
            None
        }
    }
}

/// The policy files of all directories, each with its name. None, after each that cannot be read was told.
fn read_all(
    directories: &[PathBuf],
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Option<Vec<(String, String)>>> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for directory in directories {
        let found = policy_files(directory).map_err(anyhow::Error::msg)?;
        if found.is_empty() {
            bail!("no policy file in {}: put a *.yaml, *.yml or *.json there", directory.display());
        }
        for file in found {
            match files::read_file(&file) {
                Ok(text) => sources.push((files::shown(&file), text)),
                Err(problem) => problems.push(*problem),
            }
        }
    }
    files::complain(&problems, "", surroundings);
    Ok(problems.is_empty().then_some(sources))
}

/// Writes diagnostics of policy files to standard error; without colour, because that is decided for the output.
fn show(diagnostics: &[Diagnostic], sources: &[(String, String)], surroundings: &mut Surroundings<'_>) {
    for diagnostic in diagnostics {
        let text = sources.iter().find(|(name, _)| *name == diagnostic.file).map_or("", |(_, text)| text);
        let _ = writeln!(surroundings.err, "{}", render(diagnostic, text, Color::Never));
    }
}

/// A namespace's name, as the API server would accept it.
fn namespace(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = !text.is_empty()
        && text.len() <= 63
        && text.chars().all(|c| plain(c) || c == '-')
        && text.starts_with(plain)
        && text.ends_with(plain);
    if fits {
        return Ok(text.to_owned());
    }
    Err("a namespace has at most 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit".to_owned())
}

/// One `key=value`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, `environment=prod` say".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{label, namespace};

    #[test]
    fn namespaces_are_names_that_can_exist() {
        assert_eq!(namespace("shop-prod").as_deref(), Ok("shop-prod"));
        for bad in ["", "Shop", "-a", "a-", "a_b", "a/b", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(label("a.b/c=d=e"), Ok(("a.b/c".to_owned(), "d=e".to_owned())));
        assert!(label("a").is_err());
        assert!(label("=a").is_err());
    }
}
