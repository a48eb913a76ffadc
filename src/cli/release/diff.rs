//! `release diff`: what is different between two releases, or between what manifests use, for people, as a pull request's
//! body, or as JSON.

mod side;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value as Json;

use self::side::Side;
use crate::cli::engine::configuration;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::markdown::{code, plain_text};
use crate::cli::report::shown;
use crate::cli::{Exit, Surroundings, written};
use crate::config::Overrides;
use crate::image::DigestBuf;
use crate::release::{Difference, Image, ImageDifference, ValueDifference};

/// The arguments of `release diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release diff main:releases/system.yaml releases/system.yaml\n  \
    tagwarden release diff --format markdown origin/main:releases/system.yaml releases/system.yaml > body.md\n  \
    helm template shop charts/shop -f values.yaml | tagwarden release diff releases/system.yaml -\n\n\
    Compared are what the two declare: repositories, tags, digests, platforms, the free sections and the images' own keys. Where \
    both commits are known and the host is GitHub's or GitLab's, there is a link to what lies between them.\n\n\
    A side may also be manifests: a directory, or a file of Kubernetes objects (what `helm template` prints). Then compared are \
    the repositories that both use, tags and digests as they are written; no registry is asked. A repository that is used in \
    several versions has an entry for each that only one side has.\n\n\
    Exit codes: 0 compared; 1 with --exit-code: they are different; 2 usage or input error.")]
pub(super) struct DiffArgs {
    /// The earlier release or manifests: a file, a directory of manifests, `-` for standard input, or REV:PATH for what a
    /// file was at a revision of git
    #[arg(value_name = "A")]
    old: PathBuf,
    /// The later one, named alike
    #[arg(value_name = "B")]
    new: PathBuf,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: DiffFormat,
    /// Exit 1 where they are different
    #[arg(long)]
    exit_code: bool,
    /// The server's configuration file: its workloads hold in manifests
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The formats of `release diff`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// For people
    #[default]
    Plain,
    /// A pull request's body
    Markdown,
    /// For programs
    Json,
}

pub(super) fn run(args: &DiffArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if args.old.as_os_str() == "-" && args.new.as_os_str() == "-" {
        bail!("standard input can be one of the two, not both");
    }
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let old = side::read(&args.old, &config, surroundings)?;
    let new = side::read(&args.new, &config, surroundings)?;
    let (Some(old), Some(new)) = (old, new) else { return Ok(Exit::Error) };
    let difference = match (&old, &new) {
        (Side::Release(old), Side::Release(new)) => Difference::between(old, new),
        _ => Difference::by_repository(old.compared(), new.compared()),
    };
    let printed = match args.format {
        DiffFormat::Plain => plain(&old, &new, &difference, surroundings.out),
        DiffFormat::Markdown => markdown(&old, &new, &difference, surroundings.out),
        DiffFormat::Json => print(&output(&old, &new, &difference), surroundings.out),
    };
    let differ = args.exit_code && !difference.is_none();
    written(printed, if differ { Exit::Violation } else { Exit::Clean })
}

/// Platforms of an image that are named.
const PLATFORMS: usize = 4;

/// Of two versions what is not the same: `v1.2.3 -> v1.2.4`.
fn steps(image: &ImageDifference) -> Vec<(&'static str, String)> {
    let side = |read: fn(&Image) -> Option<String>| {
        let of = |image: &Option<Image>| image.as_ref().and_then(read);
        (of(&image.old), of(&image.new))
    };
    let sides = [
        ("repository", side(|image| Some(image.repository.clone()))),
        ("tag", side(|image| image.tag.clone())),
        ("digest", side(|image| image.digest.as_ref().map(DigestBuf::to_string))),
        ("commit", side(|image| image.commit.clone())),
    ];
    let both = image.old.is_some() && image.new.is_some();
    let step = |(what, (old, new)): (&'static str, (Option<String>, Option<String>))| {
        let text = match (old, new) {
            (old, new) if old == new => return None,
            (Some(old), Some(new)) => format!("{old} -> {new}"),
            (Some(one), None) | (None, Some(one)) if !both => one,
            (Some(old), None) => format!("{old} -> none"),
            (None, Some(new)) => format!("none -> {new}"),
            (None, None) => return None,
        };
        Some((what, text))
    };
    sides.into_iter().filter_map(step).chain(platforms(image).map(|text| ("platforms", text))).collect()
}

/// The platforms whose digests are others; none: they are the same.
fn platforms(image: &ImageDifference) -> Option<String> {
    let other = image.platforms();
    let side = |digest: Option<&DigestBuf>| digest.map_or("none", DigestBuf::short).to_owned();
    let step = |(name, old, new): &(&str, _, _)| format!("{} {} -> {}", shown(name), side(*old), side(*new));
    let mut steps: Vec<String> = other.iter().take(PLATFORMS).map(step).collect();
    let more = other.len().saturating_sub(PLATFORMS);
    if more > 0 {
        steps.push(format!("+{more} more"));
    }
    (!steps.is_empty()).then(|| steps.join(", "))
}

fn value(value: Option<&Json>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn plain(old: &Side, new: &Side, difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    if difference.is_none() {
        match (old, new) {
            (Side::Release(old), Side::Release(new)) => {
                let (was, is) = (&old.release, &new.release);
                writeln!(out, "{} and {} declare the same ({})", was.name(), is.name(), is.id().short())?;
            }
            _ => writeln!(out, "{old} and {new} have the same images")?,
        }
    } else {
        writeln!(out, "{old} -> {new}")?;
    }
    for image in &difference.images {
        let sign = match (&image.old, &image.new) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        writeln!(out, "\n{sign} {}", shown(&image.name))?;
        for (what, text) in steps(image) {
            writeln!(out, "    {what:<12}{text}")?;
        }
        if let Some(link) = &image.link {
            writeln!(out, "    {:<12}{link}", "compare")?;
        }
    }
    if !difference.values.is_empty() {
        writeln!(out)?;
    }
    for ValueDifference { path, old, new } in &difference.values {
        writeln!(out, "~ {}: {} -> {}", shown(path), shown(&value(old.as_ref())), shown(&value(new.as_ref())))?;
    }
    if let Some(link) = &difference.link {
        writeln!(out, "\ncompare {link}")?;
    }
    if !difference.verify.is_empty() {
        writeln!(out, "\nto verify:")?;
    }
    difference.verify.iter().try_for_each(|sentence| writeln!(out, "  - {}", shown(sentence)))?;
    out.flush()
}

fn markdown(old: &Side, new: &Side, difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    let title = match new {
        Side::Release(_) => "Release",
        Side::Manifests { .. } => "Manifests of",
    };
    writeln!(out, "## {title} {}\n", code(new.name()))?;
    if difference.is_none() {
        match (old, new) {
            (Side::Release(old), Side::Release(new)) => {
                let (was, id) = (code(old.release.name()), code(new.release.id().short()));
                writeln!(out, "It declares the same as {was} ({id}).")?;
            }
            _ => writeln!(out, "The images are those of {}.", side::markdown(old))?,
        }
    } else {
        let compare = difference.link.as_ref().map_or_else(String::new, |link| format!(" ([compare]({link}))"));
        writeln!(out, "From {} to {}{compare}.", side::markdown(old), side::markdown(new))?;
    }
    if !difference.images.is_empty() {
        writeln!(out, "\n| image | from | to | commits |\n| --- | --- | --- | --- |")?;
    }
    for image in &difference.images {
        let (old, mut new) = (cell(image.old.as_ref()), cell(image.new.as_ref()));
        if image.only_platforms() {
            new = format!("{new} ({})", code(&platforms(image).unwrap_or_default()));
        }
        let commits = match (image.commits(), &image.link) {
            ((Some(from), Some(to)), link) if from != to => {
                let shown = format!("{}...{}", short(from), short(to));
                link.as_ref().map_or_else(|| code(&shown), |link| format!("[{}]({link})", code(&shown)))
            }
            _ => String::new(),
        };
        writeln!(out, "| {} | {old} | {new} | {commits} |", code(&image.name))?;
    }
    if !difference.values.is_empty() {
        writeln!(out, "\n| value | from | to |\n| --- | --- | --- |")?;
    }
    for ValueDifference { path, old, new } in &difference.values {
        let side =
            |side: &Option<Json>| side.as_ref().map_or_else(|| "none".to_owned(), |value| code(&value.to_string()));
        writeln!(out, "| {} | {} | {} |", code(path), side(old), side(new))?;
    }
    if !difference.verify.is_empty() {
        writeln!(out, "\n### To verify\n")?;
    }
    difference.verify.iter().try_for_each(|sentence| writeln!(out, "- [ ] {}", plain_text(sentence)))?;
    out.flush()
}

/// A version in a table.
fn cell(image: Option<&Image>) -> String {
    let Some(image) = image else { return "none".to_owned() };
    let tag = image.tag.as_deref().map(code);
    let digest = image.digest.as_ref().map(|digest| code(digest.short()));
    tag.into_iter().chain(digest).collect::<Vec<_>>().join(" ")
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// The stable interface: fields are added, never renamed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    equal: bool,
    from: SideOutput<'r>,
    to: SideOutput<'r>,
    compare: Option<&'r str>,
    images: Vec<ImageOutput<'r>>,
    values: Vec<ValueOutput<'r>>,
    verify: &'r [String],
}

#[derive(Serialize)]
struct SideOutput<'r> {
    release: Option<&'r str>,
    id: Option<&'r str>,
    manifests: Option<&'r str>,
}

/// One image. Every key is always there.
#[derive(Serialize)]
struct ImageOutput<'r> {
    name: &'r str,
    change: &'static str,
    from: Option<VersionOutput<'r>>,
    to: Option<VersionOutput<'r>>,
    compare: Option<&'r str>,
}

#[derive(Serialize)]
struct VersionOutput<'r> {
    repository: &'r str,
    tag: Option<&'r str>,
    digest: Option<&'r str>,
    commit: Option<&'r str>,
    platforms: BTreeMap<&'r str, &'r str>,
}

#[derive(Serialize)]
struct ValueOutput<'r> {
    path: &'r str,
    from: Option<&'r Json>,
    to: Option<&'r Json>,
}

fn output<'r>(old: &'r Side, new: &'r Side, difference: &'r Difference) -> Output<'r> {
    let side = |side: &'r Side| match side {
        Side::Release(file) => {
            SideOutput { release: Some(file.release.name()), id: Some(file.release.id().as_str()), manifests: None }
        }
        Side::Manifests { name, .. } => SideOutput { release: None, id: None, manifests: Some(name) },
    };
    let version = |image: &'r Image| VersionOutput {
        repository: &image.repository,
        tag: image.tag.as_deref(),
        digest: image.digest.as_ref().map(DigestBuf::as_str),
        commit: image.commit.as_deref(),
        platforms: image.platforms.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect(),
    };
    let image = |image: &'r ImageDifference| ImageOutput {
        name: &image.name,
        change: match (&image.old, &image.new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        },
        from: image.old.as_ref().map(version),
        to: image.new.as_ref().map(version),
        compare: image.link.as_deref(),
    };
    let value = |value: &'r ValueDifference| ValueOutput {
        path: &value.path,
        from: value.old.as_ref(),
        to: value.new.as_ref(),
    };
    Output {
        schema_version: SCHEMA_VERSION,
        equal: difference.is_none(),
        from: side(old),
        to: side(new),
        compare: difference.link.as_deref(),
        images: difference.images.iter().map(image).collect(),
        values: difference.values.iter().map(value).collect(),
        verify: &difference.verify,
    }
}
