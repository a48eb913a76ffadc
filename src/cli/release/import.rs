//! `release import`: a release file made of another format.

use std::path::PathBuf;

use clap::Args;

use super::reading;
use crate::cli::{Exit, Surroundings, report, written};
use crate::release::{ImportTerms, import};

/// The arguments of `release import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kbld -f deploy/ --imgpkg-lock-output lock.yaml && tagwarden release import lock.yaml --name system-1\n  \
    docker compose config --resolve-image-digests | tagwarden release import - > releases/shop.yaml\n  \
    kubectl get freight NAME -o json | tagwarden release import -\n\n\
    Read are an ImagesLock (kbld, imgpkg), a promotion list (`dmap`; of several digests of an image the highest version \
    is taken), a CNAB relocation map (its targets), a Kargo Freight and a Compose file. What of them is not in a release \
    is said on standard error. The release file is printed.\n\n\
    Exit codes: 0 done; 2 usage or input error.")]
pub(super) struct ImportArgs {
    /// The file of the other format; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The release's name; without it what the other format calls itself, or the file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the images of a promotion list are: registry.example.com/acme
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,
}

pub(super) fn run(args: &ImportArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some((name, text)) = reading::text(&args.file, surroundings) else { return Ok(Exit::Error) };
    let stem = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default();
    let terms = ImportTerms { name: args.name.as_deref(), fallback: stem, registry: args.registry.as_deref() };
    let Some(import) = reading::told(import(&name, &text, terms), &text, surroundings) else { return Ok(Exit::Error) };
    for note in &import.notes {
        // A closed standard error takes nothing from the release.
        let _ = writeln!(surroundings.err, "note: {}", report::shown(note));
    }
    let printed = surroundings.out.write_all(import.file.text().as_bytes()).and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
