//! `release show`: a release for people, or as the stable JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::reading;
use crate::cli::report::columns::columns;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::{Format, shown};
use crate::cli::{Exit, Surroundings, files, written};
use crate::image::DigestBuf;
use crate::policy::printable;
use crate::release::{Image, ReleaseFile};

/// Platforms of an image that the table names, and bytes of each.
const PLATFORMS: usize = 4;
const PLATFORM_BYTES: usize = 40;

/// The arguments of `release show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release show releases/system.yaml\n  \
    tagwarden release show --format json main:releases/system.yaml\n\n\
    Exit codes: 0 shown; 2 usage or input error.")]
pub(super) struct ShowArgs {
    /// The release file, or REV:PATH for what it was at a revision of git; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

pub(super) fn run(args: &ShowArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(file) = reading::read_at_revision(&args.file, surroundings)? else { return Ok(Exit::Error) };
    let printed = match args.format {
        Format::Plain => {
            files::complain(&file.warnings, file.text(), surroundings);
            plain(&file, surroundings.out)
        }
        Format::Json => print(&output(&file), surroundings.out),
    };
    written(printed, Exit::Clean)
}

fn plain(file: &ReleaseFile, out: &mut dyn Write) -> io::Result<()> {
    let release = &file.release;
    let mut line = |name: &str, text: &str| writeln!(out, "{name:<12}{text}");
    line("release", release.name())?;
    line("id", release.id().as_str())?;
    line("lock", lock(file))?;
    if let Some(origin) = &file.origin {
        let commit = origin.commit.as_ref().map_or_else(String::new, |commit| format!(" at {commit}"));
        line("source", &format!("{}{commit}", shown(&origin.repo)))?;
    }
    if !release.previous().is_empty() {
        line("previous", &release.previous().join(", "))?;
    }
    let free: Vec<_> = file.free().into_iter().map(|section| shown(&section.key).into_owned()).collect();
    if !free.is_empty() {
        line("sections", &free.join(", "))?;
    }
    writeln!(out)?;
    let head = ["NAME", "REPOSITORY", "TAG", "DIGEST", "COMMIT", "PLATFORMS"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(release.images().iter().map(row)).collect();
    columns(&rows, out)?;
    out.flush()
}

fn row(image: &Image) -> [String; 6] {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        image.name.clone(),
        image.repository.clone(),
        or_dash(image.tag.as_deref()),
        or_dash(image.digest.as_ref().map(DigestBuf::short)),
        or_dash(image.commit.as_deref().map(|commit| commit.get(..12).unwrap_or(commit))),
        platforms(image),
    ]
}

/// The first platforms of an image, and how many there are beside them.
fn platforms(image: &Image) -> String {
    if image.platforms.is_empty() {
        return "-".to_owned();
    }
    let more = image.platforms.len().saturating_sub(PLATFORMS);
    let more = (more > 0).then(|| format!("+{more} more"));
    let named = image.platforms.keys().take(PLATFORMS).map(|name| printable(name, PLATFORM_BYTES));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

fn lock(file: &ReleaseFile) -> &'static str {
    match (file.is_locked(), &file.written_id) {
        (true, _) => "whole",
        (false, None) => "none",
        (false, Some(id)) if id == file.release.id() => "an image has no digest",
        (false, Some(_)) => "stale: another id is written",
    }
}

/// The stable interface: fields are added, never renamed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    file: &'r str,
    release: &'r str,
    id: &'r str,
    written_id: Option<&'r str>,
    locked: bool,
    source: Option<SourceOutput<'r>>,
    previous: &'r [String],
    images: Vec<ImageOutput<'r>>,
    sections: serde_json::Map<String, serde_json::Value>,
    warnings: Vec<&'r str>,
}

#[derive(Serialize)]
struct SourceOutput<'r> {
    repo: &'r str,
    commit: Option<&'r str>,
}

/// One image. Every key is always there.
#[derive(Serialize)]
struct ImageOutput<'r> {
    name: &'r str,
    repository: &'r str,
    tag: Option<&'r str>,
    digest: Option<&'r str>,
    commit: Option<&'r str>,
    build: Option<BuildOutput<'r>>,
    platforms: BTreeMap<&'r str, &'r str>,
}

#[derive(Serialize)]
struct BuildOutput<'r> {
    id: Option<&'r str>,
    tags: &'r [String],
}

fn output(file: &ReleaseFile) -> Output<'_> {
    let release = &file.release;
    Output {
        schema_version: SCHEMA_VERSION,
        file: file.file_name(),
        release: release.name(),
        id: release.id().as_str(),
        written_id: file.written_id.as_ref().map(DigestBuf::as_str),
        locked: file.is_locked(),
        source: file
            .origin
            .as_ref()
            .map(|origin| SourceOutput { repo: &origin.repo, commit: origin.commit.as_deref() }),
        previous: release.previous(),
        images: release.images().iter().map(|image| image_output(file, image)).collect(),
        sections: file.free().into_iter().map(|section| (section.key.clone(), section.value.to_json())).collect(),
        warnings: file.warnings.iter().map(|warning| warning.message.as_str()).collect(),
    }
}

fn image_output<'r>(file: &'r ReleaseFile, image: &'r Image) -> ImageOutput<'r> {
    let build = file.builds.get(&image.name);
    ImageOutput {
        name: &image.name,
        repository: &image.repository,
        tag: image.tag.as_deref(),
        digest: image.digest.as_ref().map(DigestBuf::as_str),
        commit: image.commit.as_deref(),
        build: build.map(|build| BuildOutput { id: build.id.as_deref(), tags: &build.tags }),
        platforms: image.platforms.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect(),
    }
}
