//! `labels`, `revision`, `version`, `age`, `platforms`, `baseImages`: what an image must say of itself.

use super::problems::{check_pattern, inside};
use super::rules::{asked, shown};
use crate::document::{Reader, Span};
use crate::image::{GlobSet, ImageGlob, Platform};
use crate::policy::file::{self, Match, Text};
use crate::policy::show::first_few;
use crate::policy::{Check, Seconds};

/// How many base images a text shows.
const SHOWN: usize = 4;
/// Days that `age` may allow: a hundred years.
const MOST_DAYS: Seconds = 36_500;
/// Seconds of a day.
pub(crate) const DAY: Seconds = 24 * 60 * 60;

/// What a rule demands of what an image says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    /// In the order written.
    pub labels: Vec<LabelDemand>,
    pub revision: Match,
    pub version: Match,
    /// The most, in days.
    pub max_days: Option<Seconds>,
    /// Those that must be there; empty: not asked.
    pub platforms: Vec<Platform>,
    pub base_images: Option<BaseImages>,
}

/// A label and what its value must be.
#[derive(Clone, Debug)]
pub(crate) struct LabelDemand {
    pub key: String,
    /// Matches whole values.
    pub pattern: GlobSet,
    /// The pattern for texts.
    pub shown: String,
}

/// Base images that are allowed.
#[derive(Clone, Debug)]
pub(crate) struct BaseImages {
    /// Over canonical names.
    pub globs: GlobSet,
    /// The globs for texts: the first few.
    pub shown: String,
}

impl Metadata {
    /// Demands nothing but that revision and version agree with the tag.
    pub fn of_tag() -> Self {
        Metadata {
            labels: Vec::new(),
            revision: Match::Match,
            version: Match::Match,
            max_days: None,
            platforms: Vec::new(),
            base_images: None,
        }
    }

    /// The checks that it asks for, in the order of their ids.
    pub fn checks(&self) -> impl Iterator<Item = Check> + use<> {
        let all = [
            (!self.labels.is_empty(), Check::Labels),
            (self.revision == Match::Match, Check::Revision),
            (self.version == Match::Match, Check::Version),
            (!self.platforms.is_empty(), Check::Platforms),
            (self.max_days.is_some(), Check::Age),
            (self.base_images.is_some(), Check::BaseImages),
        ];
        all.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, check)| check)
    }
}

/// The places and names of the keys that ask for something.
pub(super) fn keys(rule: &file::Rule) -> impl Iterator<Item = (Span, &'static str)> {
    let keys = [
        asked(rule.labels.as_ref(), |labels| labels.0.is_empty(), "labels"),
        asked(rule.revision.as_ref(), |value| *value == Match::Ignore, "revision"),
        asked(rule.version.as_ref(), |value| *value == Match::Ignore, "version"),
        asked(rule.age.as_ref(), |_| false, "age"),
        asked(rule.platforms.as_ref(), Vec::is_empty, "platforms"),
        asked(rule.base_images.as_ref(), Vec::is_empty, "baseImages"),
    ];
    keys.into_iter().flatten()
}

/// Compiles the keys of a rule; none where nothing is asked.
pub(super) fn compile(rule: &file::Rule, reader: &mut Reader<'_>) -> Option<Metadata> {
    keys(rule).next()?;
    let labels = rule.labels.iter().flat_map(|labels| &labels.value.0);
    let platforms = rule.platforms.iter().flat_map(|platforms| &platforms.value);
    Some(Metadata {
        labels: labels.filter_map(|(key, value)| label(key, value, reader)).collect(),
        revision: rule.revision.as_ref().map_or(Match::Ignore, |value| value.value),
        version: rule.version.as_ref().map_or(Match::Ignore, |value| value.value),
        max_days: rule.age.as_ref().and_then(|age| days(&age.value.max, reader)),
        platforms: platforms.filter_map(|text| platform(text, reader)).collect(),
        base_images: rule.base_images.as_ref().and_then(|list| base_images(&list.value, reader)),
    })
}

fn label(key: &Text, value: &Text, reader: &mut Reader<'_>) -> Option<LabelDemand> {
    if key.value.trim().is_empty() {
        let error = reader.error(key.span.clone(), "a label without a name");
        error.help.push("name it: org.opencontainers.image.source, say".to_owned());
        return None;
    }
    check_pattern(value, reader);
    let pattern = GlobSet::new(&[&value.value]).ok()?;
    Some(LabelDemand { key: key.value.clone(), pattern, shown: shown(&value.value) })
}

/// `180d`.
fn days(text: &Text, reader: &mut Reader<'_>) -> Option<Seconds> {
    let number = text.value.strip_suffix('d').filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    let days = number.and_then(|number| number.parse::<Seconds>().ok()).filter(|days| (1..=MOST_DAYS).contains(days));
    if days.is_none() {
        let error = reader.error(text.span.clone(), "not an age");
        error.help.push(format!("write a number of days from 1d to {MOST_DAYS}d: 180d, say"));
    }
    days
}

fn platform(text: &Text, reader: &mut Reader<'_>) -> Option<Platform> {
    let platform = Platform::parse(&text.value);
    if platform.is_none() {
        let error = reader.error(text.span.clone(), "not a platform");
        error.help.push("write os/architecture or os/architecture/variant: linux/amd64, linux/arm/v7".to_owned());
    }
    platform
}

fn base_images(list: &[Text], reader: &mut Reader<'_>) -> Option<BaseImages> {
    let mut globs = Vec::with_capacity(list.len());
    for text in list {
        match ImageGlob::parse(&text.value) {
            Ok(glob) => globs.push(glob),
            Err(error) => inside(reader, text, &error),
        }
    }
    let written: Vec<&str> = globs.iter().map(ImageGlob::as_str).collect();
    let first = list.first()?;
    let shown = first_few(&written, SHOWN);
    let regexes: Vec<String> = globs.iter().map(ImageGlob::to_regex).collect();
    match GlobSet::new(&regexes) {
        Ok(globs) => Some(BaseImages { globs, shown }),
        Err((_, message)) => {
            reader.error(first.span.clone(), format!("the base images do not compile together: {message}"));
            None
        }
    }
}
