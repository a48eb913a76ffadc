//! `release snapshot --cluster`: a release file of what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::cli::engine::configuration;
use crate::cli::live::Live;
use crate::cli::report::shown;
use crate::cli::{Exit, Surroundings, files, written};
use crate::cluster::{Inventory, Scope};
use crate::config::{Config, Overrides};
use crate::image::DigestBuf;
use crate::release::{ReleaseFile, is_name};

/// The arguments of `release snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release snapshot --cluster -n shop-prod > release.yaml\n  \
    tagwarden release snapshot --cluster -n shop-prod --name shop-before-the-move\n\n\
    An image is written with the digest that its Pods run, and with the tag of what would make them again. What runs with two \
    digests of one repository at once is no release: it is told, and nothing is written.\n\n\
    Exit codes: 0 printed; 1 what runs is no release; 2 usage error, or the cluster cannot be read.")]
pub struct SnapshotArgs {
    /// What runs in the cluster; the only source there is
    #[arg(long, required = true)]
    cluster: bool,
    /// The namespace to look at [default: every one that is not exempt]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The release's name
    #[arg(long, value_name = "NAME", value_parser = name, default_value = "snapshot")]
    name: String,
    /// The server's configuration file: its workloads hold here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What runs of one repository.
#[derive(Debug, Default)]
struct Runs {
    /// Each version, and where it runs.
    versions: BTreeMap<(Option<String>, Option<DigestBuf>), BTreeSet<String>>,
}

/// Lists what runs, and prints it as a release file with its id.
pub(super) fn run(args: &SnapshotArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let live = Live::reach(args.context.as_deref())?;
    let repositories = running(&live, args.namespace.as_deref(), &config)?;
    if repositories.is_empty() {
        bail!("nothing runs there, and a release of no image is none");
    }
    let mut problems = String::new();
    for (repository, runs) in &repositories {
        if runs.versions.len() > 1 {
            let _ = writeln!(problems, "{} runs in {} versions:", shown(repository), runs.versions.len());
            for ((tag, digest), places) in &runs.versions {
                let version = [tag.as_deref(), digest.as_ref().map(DigestBuf::short)];
                let version: Vec<&str> = version.into_iter().flatten().collect();
                let places: Vec<&str> = places.iter().map(String::as_str).collect();
                let _ = writeln!(problems, "  {} by {}", shown(&version.join(" ")), shown(&places.join(", ")));
            }
        }
    }
    if !problems.is_empty() {
        // A closed standard error takes nothing from the verdict.
        let _ =
            write!(surroundings.err, "{problems}a release has one version of each; finish the rollout, or see -n\n");
        return Ok(Exit::Violation);
    }
    let text = text(&args.name, &repositories);
    match ReleaseFile::read("snapshot", &text).and_then(|file| file.sealed(&[])) {
        Ok(file) => written(surroundings.out.write_all(file.text().as_bytes()), Exit::Clean),
        Err(problems) => {
            files::complain(&problems, &text, surroundings);
            Ok(Exit::Violation)
        }
    }
}

/// What runs, by canonical repository.
fn running(live: &Live, namespace: Option<&str>, config: &Config) -> anyhow::Result<BTreeMap<String, Runs>> {
    let kinds: Vec<(String, String)> =
        config.workloads.configured().map(|(group, kind)| (group.to_owned(), kind.to_owned())).collect();
    let scope = Scope { namespace, kinds: &kinds };
    let inventory = live.runtime.block_on(Inventory::read(&live.cluster, scope)).map_err(anyhow::Error::msg)?;
    let mut repositories: BTreeMap<String, Runs> = BTreeMap::new();
    for workload in inventory.workloads.iter().filter(|workload| workload.pods > 0) {
        let owner = &workload.owner;
        let left_out =
            inventory.exempt.contains(&owner.namespace) || config.infrastructure_namespaces.contains(&owner.namespace);
        if namespace.is_none() && left_out {
            continue;
        }
        let collected = config.workloads.read_object(&workload.group, &workload.kind, &workload.object, None);
        for image in collected.images() {
            let Ok(reference) = &image.reference else { continue };
            let mut name = String::new();
            reference.write_name(&mut name);
            let digests = image.container.and_then(|container| workload.digests.get(container));
            let digests = digests.into_iter().flat_map(|digests| digests.keys());
            let mut digests: Vec<DigestBuf> = digests.filter_map(|digest| DigestBuf::parse(digest).ok()).collect();
            if digests.is_empty() {
                digests.extend(reference.digest().map(DigestBuf::from));
            }
            let place = format!("{} {}/{}", owner.kind, owner.namespace, owner.name);
            let runs = repositories.entry(name).or_default();
            let tag = reference.tag().map(str::to_owned);
            let versions: Vec<Option<DigestBuf>> =
                if digests.is_empty() { vec![None] } else { digests.into_iter().map(Some).collect() };
            for digest in versions {
                runs.versions.entry((tag.clone(), digest)).or_default().insert(place.clone());
            }
        }
    }
    Ok(repositories)
}

/// The file, without its id. Each image is called by the end of its repository's name, as much of it as tells it apart.
fn text(name: &str, repositories: &BTreeMap<String, Runs>) -> String {
    let mut text = format!("release: {name}\nimages:\n");
    for (repository, runs) in repositories {
        let called = called(repository, repositories);
        let _ = write!(text, "  {called}:\n    repo: {repository}\n");
        let Some(((tag, digest), _)) = runs.versions.iter().next() else { continue };
        if let Some(tag) = tag {
            let _ = writeln!(text, "    tag: {}", quoted(tag));
        }
        if let Some(digest) = digest {
            let _ = writeln!(text, "    digest: {digest}");
        }
    }
    text
}

/// A tag that YAML would read as something else than a text is quoted.
fn quoted(tag: &str) -> String {
    let plain = tag.starts_with('v') && !tag.contains(':');
    if plain { tag.to_owned() } else { format!("\"{tag}\"") }
}

fn called(repository: &str, all: &BTreeMap<String, Runs>) -> String {
    let parts: Vec<&str> = repository.split('/').collect();
    let end = |repository: &str, count: usize| {
        let parts: Vec<&str> = repository.split('/').collect();
        parts[parts.len().saturating_sub(count)..].join("-")
    };
    let unique = |count: &usize| all.keys().filter(|other| end(other, *count) == end(repository, *count)).count() == 1;
    let count = (1..parts.len()).find(unique).unwrap_or(parts.len());
    end(repository, count).replace(':', "-")
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a release's name has at most 128 of A-Z, a-z, 0-9, '.', '_' and '-'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(tag: &str) -> Runs {
        Runs { versions: [((Some(tag.to_owned()), None), BTreeSet::new())].into() }
    }

    #[test]
    fn what_runs_reads_as_a_release_with_names_that_tell_images_apart() {
        let repositories: BTreeMap<String, Runs> = [
            ("r.example.com/acme/api".to_owned(), runs("v1.0.0")),
            ("r.example.com/shop/api".to_owned(), runs("v1.0.0")),
            ("r.example.com:5000/web".to_owned(), runs("1e10")),
        ]
        .into();
        let text = text("one", &repositories);
        let file = ReleaseFile::read("snapshot", &text).and_then(|file| file.sealed(&[])).unwrap();
        let named: Vec<(&str, Option<&str>)> =
            file.release.images().iter().map(|image| (image.name.as_str(), image.tag.as_deref())).collect();
        assert_eq!(named, [("acme-api", Some("v1.0.0")), ("shop-api", Some("v1.0.0")), ("web", Some("1e10"))]);
        assert_eq!(file.written_id.as_ref(), Some(file.release.id()));
    }
}
