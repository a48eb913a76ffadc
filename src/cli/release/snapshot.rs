//! `release snapshot --cluster`: a release file of what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::running::{self, Which};
use super::used::{AllUsed, Used};
use crate::cli::engine::configuration;
use crate::cli::live::Live;
use crate::cli::report::{SHOWN_BYTES, shown};
use crate::cli::{Exit, Surroundings, files, written};
use crate::config::Overrides;
use crate::image::{DigestBuf, Reference};
use crate::policy::printable;
use crate::release::{Image, ReleaseFile, is_moving, is_name, names_of};

/// The arguments of `release snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release snapshot --cluster -n shop-prod > release.yaml\n  \
    tagwarden release snapshot --cluster -n shop-prod --name shop-before-the-move\n\n\
    An image is written with the digest that its Pods run, and with the tag of what would make them again, unless that moves. \
    What runs with two digests of one repository at once is no release: it is told, and nothing is printed. What has no Pods \
    is left out.\n\n\
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

/// What tells a version from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// What runs is known.
    Digest(DigestBuf),
    /// Nothing runs it yet, or nothing says what.
    Tag(String),
}

/// The tags that a version is written with, and where it is used.
type Uses = (BTreeSet<String>, BTreeSet<String>);

/// What runs, by canonical repository.
type Running = BTreeMap<String, BTreeMap<Version, Uses>>;

/// Lists what runs, and prints it as a release file, with its id where every digest is known.
pub(super) fn run(args: &SnapshotArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let live = Live::reach(args.context.as_deref())?;
    let mut all = AllUsed::default();
    running::read(&live, args.namespace.as_deref(), Which::WithPods, &config, &mut all)?;
    for left_out in all.skipped.iter().chain(&all.unknown).chain(&all.unlisted) {
        // A closed standard error takes nothing from the verdict.
        let _ = writeln!(surroundings.err, "note: not looked at: {}", shown(left_out));
    }
    let (running, mut problems) = of_repositories(&all.images);
    if running.is_empty() && problems.is_empty() {
        bail!("nothing runs there, and a release of no image is none");
    }
    problems.extend(running.iter().filter(|(_, versions)| versions.len() > 1).map(several));
    if !problems.is_empty() {
        let _ = writeln!(surroundings.err, "{}", problems.join("\n"));
        return Ok(Exit::Violation);
    }
    match ReleaseFile::made("snapshot", &args.name, &images(&running)) {
        Ok(file) => written(surroundings.out.write_all(file.text().as_bytes()), Exit::Clean),
        Err(problems) => {
            files::complain(&problems, "", surroundings);
            Ok(Exit::Violation)
        }
    }
}

/// What runs by its repositories, and what is no image.
fn of_repositories(used: &[Used]) -> (Running, Vec<String>) {
    let (mut running, mut problems) = (Running::new(), Vec::new());
    for one in used {
        let reference = match Reference::parse(&one.image) {
            Ok(reference) => reference,
            Err(error) => {
                let (image, place) = (printable(&one.image, SHOWN_BYTES), one.shown());
                problems.push(format!("{}: '{image}' is not an image: {}", shown(&place), error.message()));
                continue;
            }
        };
        let repository = reference.name().into_owned();
        let mut versions: Vec<Version> = one.runs.iter().cloned().map(Version::Digest).collect();
        if let (true, Some(digest)) = (versions.is_empty(), reference.digest()) {
            versions.push(Version::Digest(digest.into()));
        }
        let tag = reference.tag().map(str::to_owned);
        if versions.is_empty() {
            versions.extend(tag.clone().map(Version::Tag));
        }
        let runs = running.entry(repository).or_default();
        for version in versions {
            let (tags, places) = runs.entry(version).or_default();
            tags.extend(tag.clone());
            places.insert(one.object.clone());
        }
    }
    (running, problems)
}

/// Why a repository is none of a release: it runs in several versions at once.
fn several((repository, versions): (&String, &BTreeMap<Version, Uses>)) -> String {
    let line = |(version, (tags, places)): (&Version, &Uses)| {
        let digest = match version {
            Version::Digest(digest) => Some(digest.short().to_owned()),
            Version::Tag(_) => None,
        };
        let what: Vec<String> = tags.iter().cloned().chain(digest).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        format!("  {} by {}\n", shown(&what.join(" ")), shown(&places.join(", ")))
    };
    let lines: String = versions.iter().map(line).collect();
    let repository = shown(repository);
    format!(
        "{repository} runs in {} versions:\n{lines}a release has one version of each: finish the rollout, or choose \
         namespaces with -n",
        versions.len()
    )
}

/// The images of a release, of repositories with one version each. A tag that moves, or one of several, is left out where
/// the digest is known.
fn images(running: &Running) -> Vec<Image> {
    let names = names_of(running.keys().map(String::as_str));
    let image = |(name, (repository, versions)): (String, (&String, &BTreeMap<Version, Uses>))| {
        let (version, (tags, _)) = versions.first_key_value()?;
        let digest = match version {
            Version::Digest(digest) => Some(digest.clone()),
            Version::Tag(_) => None,
        };
        let fits = |tag: &&String| digest.is_none() || (tags.len() == 1 && !is_moving(tag));
        let tag = tags.first().filter(fits).cloned();
        Some(Image { name, repository: repository.clone(), tag, digest, ..Image::default() })
    };
    names.into_iter().zip(running).filter_map(image).collect()
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
    use crate::policy::List;

    fn used(image: &str, runs: &[char]) -> Used {
        let digest = |digit: &char| DigestBuf::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        Used {
            runs: runs.iter().map(digest).collect(),
            ..Used::written(image, "Deployment shop/a", List::Containers, Some("c"))
        }
    }

    /// `tag@digest` of the only image.
    fn version(all: &[Used]) -> String {
        let (running, problems) = of_repositories(all);
        assert_eq!((running.len(), problems.len()), (1, 0));
        assert_eq!(running.values().next().unwrap().len(), 1, "{running:?}");
        let image = images(&running).swap_remove(0);
        let digest = image.digest.map(|digest| digest.short().to_owned());
        format!("{}@{}", image.tag.unwrap_or_default(), digest.unwrap_or_default())
    }

    #[test]
    fn what_runs_is_the_version_and_a_tag_is_written_where_it_says_something() {
        let repository = "r.example.com/acme/api";
        let of = |written: &str, runs: &[char]| used(&format!("{repository}{written}"), runs);
        let digest = "a".repeat(64);
        assert_eq!(version(&[of(":v1.0.0", &['a'])]), "v1.0.0@sha256:aaaaaaaaaaaa");
        assert_eq!(version(&[of(&format!(":v1.0.0@sha256:{digest}"), &[])]), "v1.0.0@sha256:aaaaaaaaaaaa");
        assert_eq!(version(&[of(":v1.0.0", &[])]), "v1.0.0@");
        assert_eq!(version(&[of(":latest", &['a'])]), "@sha256:aaaaaaaaaaaa", "it moves");
        assert_eq!(version(&[of(":v1.0.0", &['a']), of(":v1", &['a'])]), "@sha256:aaaaaaaaaaaa", "which of the two");
        let (running, _) = of_repositories(&[of(":v1.0.0", &['a', 'b'])]);
        assert!(
            running.values().next().unwrap().len() == 2
                && several(running.iter().next().unwrap()).contains("2 versions")
        );
        assert_eq!(of_repositories(&[used("R.example.com/App", &[])]).1.len(), 1, "no image is dropped in silence");
    }
}
