//! `release set`: other versions for some images, as typed or as a build's event says, resolved and locked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;

use super::lock::{Problem, complain, depth, judged};
use super::reading::{self, Becomes, deliver};
use super::resolve::{self, Answers, Depth, Drift, OriginArgs};
use crate::cli::report::shown;
use crate::cli::{Exit, Surroundings, files};
use crate::document::{Diagnostic, nearest};
use crate::image::{DigestBuf, Reference};
use crate::policy::printable;
use crate::release::{Change, Image, ImageChange, ReleaseFile, is_name, problem_of_tag};

/// Bytes that an event may have; three short texts need far less.
const EVENT_BYTES: usize = 64 << 10;
/// Bytes of what is wrong with it that are shown: an error repeats what it was given.
const EVENT_SHOWN: usize = 200;

/// The arguments of `release set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release set releases/system.yaml app=v1.2.4 --write\n  \
    tagwarden release set releases/system.yaml app=v1.2.4@sha256:... web=@sha256:...\n  \
    tagwarden release set releases/system.yaml --from-event event.json --as system-2026-01-12 --write\n\n\
    The new versions are resolved and locked: a digest that is given must be that of the tag. Of other images only what \
    has no digest yet is asked for. Nothing else in the file changes. Without --write the new file is printed.\n\n\
    An event is a JSON object with the keys image, tag and digest (tag or digest may be left out) and no others. It is \
    not trusted: its image must be the repository of exactly one image of the release.\n\n\
    Exit codes: 0 done; 1 a digest that is given is not the tag's, or an image's tag and label name two commits; 2 usage, \
    configuration or input error; 3 a registry gave no answer; 4 the tag that is given is there already, and has moved. \
    Where several hold: 2, 1, 4, 3. Unless it is 0, nothing is written.")]
pub(super) struct SetArgs {
    /// The release file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// An image and its new version: app=v1.2.4, app=v1.2.4@sha256:..., app=@sha256:...
    #[arg(value_name = "IMAGE=VERSION", required_unless_present = "from_event", value_parser = assignment)]
    versions: Vec<Assignment>,
    /// Take the new version from a build's event, a JSON object {image, tag, digest}; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "versions")]
    from_event: Option<PathBuf>,
    /// Give the release another name, and put the old one first in `previous`
    #[arg(long = "as", value_name = "NAME", value_parser = name)]
    new_name: Option<String>,
    /// Write the file, instead of printing it
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    origin: OriginArgs,
}

/// A new version of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    image: String,
    tag: Option<String>,
    digest: Option<DigestBuf>,
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.image, self.tag.as_deref().unwrap_or_default())?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// What a build tells. Whoever can trigger the pipeline can write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    image: String,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    digest: Option<String>,
}

pub(super) fn run(args: &SetArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let becomes = Becomes::of(args.write, &args.file)?;
    if args.file.as_os_str() == "-" && args.from_event.as_ref().is_some_and(|event| event.as_os_str() == "-") {
        bail!("both the release and the event are standard input: give one of them as a file");
    }
    let twice = |(at, version): (usize, &Assignment)| args.versions[..at].iter().any(|v| v.image == version.image);
    if let Some((_, version)) = args.versions.iter().enumerate().find(|(at, version)| twice((*at, version))) {
        bail!("{} is given twice: give each image one version", shown(&version.image));
    }
    let Some(origin) = args.origin.origin(surroundings) else { return Ok(Exit::Error) };
    let Some(file) = reading::read_strictly(&args.file, surroundings) else { return Ok(Exit::Error) };
    let versions = match &args.from_event {
        None => args.versions.clone(),
        Some(path) => match reading::text(path, surroundings) {
            Some((name, text)) => vec![event(&text, &file).with_context(|| format!("{name} is no event to trust"))?],
            None => return Ok(Exit::Error),
        },
    };
    let mut changes = renamed(&file, args.new_name.as_deref())?;
    for version in &versions {
        changes.extend(set(&file, version)?);
    }
    let new = match file.changed(&changes) {
        Ok(new) => new,
        Err(problems) => {
            let typed = versions.iter().map(Assignment::to_string).collect::<Vec<_>>().join(" ");
            let told: Vec<Diagnostic> = problems.into_iter().map(|problem| of_versions(problem, &typed)).collect();
            files::complain(&told, "", surroundings);
            return Ok(Exit::Error);
        }
    };
    let is_set = |image: &Image| versions.iter().any(|version| version.image == image.name);
    let asked = |image: &&Image| is_set(image) || image.digest.is_none();
    let depth = |image: &Image| if is_set(image) { Depth::All } else { depth(image, Drift::Told) };
    let images: Vec<_> = new.release.images().iter().filter(asked).map(|image| (image, depth(image))).collect();
    let answers = resolve::ask(origin, &images, surroundings)?;
    let wrong: Vec<_> = versions.iter().filter_map(|version| disagreement(&new, version, &answers)).collect();
    if !wrong.is_empty() {
        return Ok(complain(wrong, &new, surroundings));
    }
    let changes = match judged(&new, &answers, Drift::Told) {
        Ok(changes) => changes,
        Err(problems) => return Ok(complain(problems, &new, surroundings)),
    };
    let Some(sealed) = reading::told(new.sealed(&changes), new.text(), surroundings) else { return Ok(Exit::Error) };
    deliver(becomes, &args.file, &file, &sealed, surroundings)
}

/// A problem of the text that versions would make. That text is nowhere, so no place in it is shown.
fn of_versions(problem: Diagnostic, typed: &str) -> Diagnostic {
    let message = format!("with {}: {}", shown(typed), problem.message);
    Diagnostic { message, span: None, line: 0, column: 0, label: None, ..problem }
}

/// A digest that was given and is not the tag's. It is no lock that could have drifted: it is wrong.
fn disagreement(file: &ReleaseFile, version: &Assignment, answers: &Answers) -> Option<Problem> {
    let (tag, given) = version.tag.as_ref().zip(version.digest.as_ref())?;
    let told = answers.get(&version.image)?.as_ref().ok().filter(|told| told.digest != *given)?;
    let what = format!("tag and digest disagree: {tag} is {}, and {given} was given", told.digest);
    let problem = file.problem_of(&version.image, what).help("give the tag alone, or the digest that it is");
    Some((Exit::Violation, Box::new(problem)))
}

fn renamed(file: &ReleaseFile, new: Option<&str>) -> anyhow::Result<Vec<Change>> {
    let old = file.release.name();
    let Some(new) = new else { return Ok(Vec::new()) };
    if new == old {
        bail!("the release is called '{new}' already: give another name by --as");
    }
    if file.release.previous().iter().any(|name| name == new) {
        bail!("'{new}' is in 'previous': a release has a name of its own; give another by --as");
    }
    let kept = file.release.previous().iter().any(|name| name == old);
    let previous = (!kept).then(|| Change::Previous(old.to_owned()));
    Ok(std::iter::once(Change::Name(new.to_owned())).chain(previous).collect())
}

/// The changes of one image. Facts of its old version go; those of the new one come with its lock.
fn set(file: &ReleaseFile, version: &Assignment) -> anyhow::Result<Vec<Change>> {
    let images = file.release.images();
    let Some(image) = images.iter().find(|image| image.name == version.image) else {
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        let near = nearest(&version.image, &names);
        let help =
            near.map_or_else(|| format!("it has: {}", names.join(", ")), |near| format!("did you mean '{near}'?"));
        bail!("the release has no image '{}'; {help}", shown(&version.image));
    };
    let mut changes = vec![ImageChange::Tag(version.tag.clone()), ImageChange::Digest(version.digest.clone())];
    let same = version.tag.is_some() && image.tag == version.tag && version.digest.is_none();
    if same {
        changes.pop();
    } else if image.digest.is_none() || image.digest != version.digest {
        changes.extend([ImageChange::Commit(None), ImageChange::Platforms(BTreeMap::new())]);
    }
    Ok(changes.into_iter().map(|change| Change::Image(image.name.clone(), change)).collect())
}

/// What an event says, of the one image that it can mean.
fn event(text: &str, file: &ReleaseFile) -> anyhow::Result<Assignment> {
    if text.len() > EVENT_BYTES {
        bail!("it is larger than {} KiB", EVENT_BYTES >> 10);
    }
    // An array of three texts would be read as the three keys.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        bail!("it is no JSON object: give one with image, tag and digest alone");
    }
    let told = |error: serde_json::Error| anyhow::anyhow!(printable(&error.to_string(), EVENT_SHOWN));
    let event: Event = match serde_json::from_str(text).map_err(told) {
        Ok(event) => event,
        Err(error) if is_wrapped(text) => {
            return Err(
                error.context("it is GitHub's whole event: give what stands in it alone, by `jq .client_payload`")
            );
        }
        Err(error) => return Err(error.context("give a JSON object with image, tag and digest alone")),
    };
    let reference = Reference::parse(&event.image).map_err(|error| anyhow::anyhow!("'image' is none: {error}"))?;
    if !reference.tag_defaulted() || !reference.refusals().is_empty() && reference.is_short() {
        bail!("'image' is a repository in full, without tag and digest: ghcr.io/acme/app");
    }
    let repository = reference.name();
    let images: Vec<&Image> = file.release.of_repository(&repository).collect();
    let [image] = images.as_slice() else {
        bail!("'{}' is the repository of {} images of the release, and not of one", shown(&repository), images.len());
    };
    version(&image.name, event.tag, event.digest.as_deref()).map_err(anyhow::Error::msg)
}

/// Whether it is the event of a `repository_dispatch`, which has what was sent in a key of it.
fn is_wrapped(text: &str) -> bool {
    let event: Option<serde_json::Value> = serde_json::from_str(text).ok();
    event.is_some_and(|event| event.get("client_payload").is_some_and(serde_json::Value::is_object))
}

/// Reads `app=v1.2.4@sha256:...`.
fn assignment(typed: &str) -> Result<Assignment, String> {
    let Some((image, rest)) = typed.split_once('=') else {
        return Err("write IMAGE=VERSION: app=v1.2.4, app=v1.2.4@sha256:..., app=@sha256:...".to_owned());
    };
    if DigestBuf::parse(rest).is_ok() || rest.starts_with("sha256:") {
        return Err(format!("write {}", shown(&format!("{image}=@{rest}"))));
    }
    if rest.split('@').next().is_some_and(|rest| rest.contains('/')) {
        return Err(format!("write {}", alone(image, rest)));
    }
    let (tag, digest) = match rest.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (rest, None),
    };
    version(image, (!tag.is_empty()).then(|| tag.to_owned()), digest)
}

/// What to write in the place of a whole reference.
fn alone(image: &str, written: &str) -> String {
    let reference = Reference::parse(written).ok().filter(|reference| !reference.tag_defaulted());
    let (tag, digest) = reference.as_ref().map_or((None, None), |read| (read.tag(), read.digest()));
    match (tag, digest) {
        (Some(tag), None) => shown(&format!("the tag alone: {image}={tag}")).into_owned(),
        (tag, Some(digest)) => {
            shown(&format!("the version alone: {image}={}@{}", tag.unwrap_or_default(), digest.as_str())).into_owned()
        }
        (None, None) => shown(&format!("the tag alone: {image}=v1.2.4")).into_owned(),
    }
}

fn version(image: &str, tag: Option<String>, digest: Option<&str>) -> Result<Assignment, String> {
    let digest = digest.map(DigestBuf::parse).transpose().map_err(|error| format!("that is no digest: {error}"))?;
    if tag.is_none() && digest.is_none() {
        return Err("it has neither tag nor digest".to_owned());
    }
    if let Some((told, help)) = tag.as_deref().and_then(|tag| problem_of_tag(tag, digest.is_some())) {
        return Err(format!("{told}: {help}"));
    }
    Ok(Assignment { image: image.to_owned(), tag, digest })
}

fn name(typed: &str) -> Result<String, String> {
    if is_name(typed) {
        return Ok(typed.to_owned());
    }
    Err("a name has 1 to 128 letters, digits, '.', '_' and '-', the first a letter or a digit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ReleaseFile {
        let images = "  app: {repo: r.example.com/acme/app, tag: v1}\n  job: {repo: r.example.com/acme/two, tag: v1}\n  \
                      web: {repo: r.example.com/acme/two, tag: v1}\n";
        ReleaseFile::read("r.yaml", &format!("release: r\nimages:\n{images}previous: [q]\n")).unwrap()
    }

    #[test]
    fn versions_are_typed_in_three_ways() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let read =
            |typed: &str| assignment(typed).map(|read| (read.image, read.tag, read.digest.map(|d| d.to_string())));
        let (app, tag) = ("app".to_owned(), Some("v1.2.4".to_owned()));
        assert_eq!(read("app=v1.2.4"), Ok((app.clone(), tag.clone(), None)));
        assert_eq!(read(&format!("app=v1.2.4@{digest}")), Ok((app.clone(), tag, Some(digest.clone()))));
        assert_eq!(read(&format!("app=@{digest}")), Ok((app, None, Some(digest.clone()))));
        for bad in ["app", "app=", "app=v1@", "app=v1@sha256:1"] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
        let told = |typed: &str| assignment(typed).unwrap_err();
        assert_eq!(told(&format!("app={digest}")), format!("write app=@{digest}"));
        assert_eq!(told("app=sha256:12"), "write app=@sha256:12");
        assert_eq!(told("app=ghcr.io/acme/app:v1.3.0"), "write the tag alone: app=v1.3.0");
        assert_eq!(told("app=ghcr.io/acme/app"), "write the tag alone: app=v1.2.4");
        assert_eq!(
            told(&format!("app=ghcr.io/acme/app:v1.3.0@{digest}")),
            format!("write the version alone: app=v1.3.0@{digest}")
        );
        assert!(
            told("app=latest").starts_with("the tag 'latest' moves, and a release names versions: write a version")
        );
        assert!(told("app=env-prod").contains("moves") && assignment(&format!("app=env-prod@{digest}")).is_ok());
    }

    #[test]
    fn an_event_is_read_strictly_and_means_one_image() {
        let file = file();
        let told = |text: &str| format!("{:#}", event(text, &file).unwrap_err());
        let read = event("{\"image\": \"r.example.com/acme/app\", \"tag\": \"v2\"}", &file).unwrap();
        assert_eq!((read.image.as_str(), read.tag.as_deref(), read.digest), ("app", Some("v2"), None));
        for (text, why) in [
            ("{\"image\": \"r.example.com/acme/app\", \"tag\": \"v2\", \"extra\": 1}", "unknown field `extra`"),
            ("{\"image\": \"r.example.com/acme/app\", \"tag\": \"v2\", \"tag\": \"v3\"}", "duplicate field `tag`"),
            ("{\"image\": \"r.example.com/acme/app\", \"tag\": 2}", "invalid type"),
            ("{\"tag\": \"v2\"}", "missing field `image`"),
            ("{\"client_payload\": {\"image\": \"r.example.com/acme/app\"}}", "by `jq .client_payload`"),
            ("[]", "it is no JSON object: give one with image, tag and digest alone"),
            ("[\"r.example.com/acme/app\", \"v2\"]", "it is no JSON object"),
            (" [\"r.example.com/acme/app\", \"v2\", null]", "it is no JSON object"),
            ("{\"\\u001b[31m\": 1}", "unknown field `\\u{1b}[31m`"),
            ("{\"image\": \"r.example.com/acme/app\"}", "neither tag nor digest"),
            ("{\"image\": \"r.example.com/acme/app:v1\", \"tag\": \"v2\"}", "without tag and digest"),
            ("{\"image\": \"app\", \"tag\": \"v2\"}", "a repository in full"),
            ("{\"image\": \"r.example.com/acme/other\", \"tag\": \"v2\"}", "is the repository of 0 images"),
            ("{\"image\": \"r.example.com/acme/two\", \"tag\": \"v2\"}", "is the repository of 2 images"),
            ("{\"image\": \"r.example.com/acme/app\", \"digest\": \"x\"}", "that is no digest"),
        ] {
            assert!(told(text).contains(why), "{text}: {}", told(text));
        }
        let long = told(&format!("{{\"{}\": 1}}", "k".repeat(5_000)));
        assert!(long.len() < 300 && long.ends_with("..."), "{long}");
        let large = format!("{{\"image\": \"{}\"}}", "x".repeat(EVENT_BYTES));
        assert!(told(&large).contains("larger than 64 KiB"));
    }

    #[test]
    fn a_new_name_is_one_and_the_old_one_stays_allowed() {
        let file = file();
        let changes = renamed(&file, Some("s")).unwrap();
        assert_eq!(changes, [Change::Name("s".to_owned()), Change::Previous("r".to_owned())]);
        assert!(renamed(&file, Some("r")).is_err() && renamed(&file, Some("q")).is_err());
        assert!(renamed(&file, None).unwrap().is_empty());
    }
}
