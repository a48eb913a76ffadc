//! Rules: image globs of all of them as one automaton, tag classes and patterns, and what they accept as text.

use super::channel::{self, ChannelRule, Hosts, Listed};
use super::metadata::{self, Metadata};
use super::problems::{check_pattern, inside, not_empty, not_supported, unknown_class};
use super::{ClassNames, OwnClasses, Settings};
use crate::document::{Reader, Spanned};
use crate::image::{Class, GlobSet, ImageGlob, is_pattern};
use crate::policy::Check;
use crate::policy::file::{self, Mode, OnUnresolved, Pin, Release, SameDigestAs, Text};
use crate::policy::show::first_few;

/// How many of a list a text shows.
const SHOWN: usize = 6;

/// A compiled rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its name, or `rule N` where it has none.
    pub name: String,
    /// The same for texts: `rule first-party`, `rule 1`.
    pub shown: String,
    pub tags: Tags,
    /// What it accepts, for texts: `release (v1.2.3), commit (7-40 hex)`.
    pub accepts: String,
    /// Whether each of its globs spells its host out. Where one does not, no registry is ever asked: anybody could
    /// register a host that matches, and be sent requests and credentials.
    pub literal: bool,
    pub pin: Pin,
    pub on_unresolved: OnUnresolved,
    pub channel: ChannelRule,
    /// Whether the governing release must contain the image.
    pub release: Release,
    /// What an image must say of itself.
    pub metadata: Option<Metadata>,
    pub mode: Option<Mode>,
    pub modes: CheckModes,
}

/// `modes` of a rule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CheckModes([Option<Mode>; Check::OF_RULES.len()]);

impl CheckModes {
    /// The mode written for a check, if one is.
    pub fn of(self, check: Check) -> Option<Mode> {
        Check::OF_RULES.iter().position(|known| *known == check).and_then(|at| self.0[at])
    }

    /// Notes a mode; false: no rule decides this check.
    fn set(&mut self, check: Check, mode: Mode) -> bool {
        let at = Check::OF_RULES.iter().position(|known| *known == check);
        if let Some(at) = at {
            self.0[at] = Some(mode);
        }
        at.is_some()
    }
}

/// Which tags a rule lets in.
#[derive(Clone, Debug)]
pub(crate) enum Tags {
    /// Any tag of no floating class, and digests.
    NotFloating,
    /// What is listed.
    Listed {
        classes: ClassNames,
        /// Ids in the policy's `tag_patterns`.
        patterns: Vec<usize>,
    },
}

/// What the rules of a policy compile to; an automaton is none after an error was noted.
pub(super) struct Compiled {
    pub rules: Vec<Rule>,
    pub images: Option<GlobSet>,
    pub rule_of_glob: Vec<usize>,
    pub globs: Vec<String>,
    pub names: String,
    pub literal_hosts: Vec<String>,
    pub fact_hosts: Vec<String>,
    pub tag_patterns: Option<GlobSet>,
    pub patterns: Vec<String>,
}

/// Compiles all rules.
pub(super) fn compile(
    read: &[file::Rule],
    classes: &OwnClasses,
    settings: &Settings,
    reader: &mut Reader<'_>,
) -> Compiled {
    let mut globs: Vec<ImageGlob> = Vec::new();
    let mut rule_of_glob = Vec::new();
    let mut patterns: Vec<String> = classes.list.iter().map(|class| class.pattern.clone()).collect();
    let mut rules: Vec<Rule> = Vec::with_capacity(read.len());
    let mut fact_hosts = Vec::new();
    for (index, rule) in read.iter().enumerate() {
        check_rule_name(rule, &rules, reader);
        not_empty(&rule.images, "image", reader);
        let first_glob = globs.len();
        for text in &rule.images.value {
            match ImageGlob::parse(&text.value) {
                Ok(glob) => {
                    globs.push(glob);
                    rule_of_glob.push(index);
                }
                Err(error) => inside(reader, text, &error),
            }
        }
        refuse_later_keys(rule, reader);
        let no_host = globs[first_glob..].iter().find(|glob| glob.literal_host().is_none());
        match no_host {
            Some(glob) => refuse_facts(rule, glob, reader),
            None => {
                fact_hosts.extend(globs[first_glob..].iter().filter_map(ImageGlob::literal_host).map(str::to_owned))
            }
        }
        let hosts = if no_host.is_none() { Hosts::Literal } else { Hosts::Open };
        let (tags, accepts) = tags(rule.tags.as_ref(), classes, &mut patterns, reader);
        let number = format!("rule {}", index + 1);
        rules.push(Rule {
            name: rule.name.as_ref().map_or_else(|| number.clone(), |name| name.value.clone()),
            shown: rule.name.as_ref().map_or(number, |name| format!("rule {}", name.value)),
            channel: channel::compile(rule, lists_channel(&tags, classes), hosts, classes, settings, reader),
            metadata: metadata::compile(rule, reader),
            tags,
            accepts,
            literal: hosts == Hosts::Literal,
            pin: rule.pin.as_ref().map_or(Pin::None, |pin| pin.value),
            on_unresolved: rule.on_unresolved.as_ref().map_or(OnUnresolved::Deny, |value| value.value),
            release: rule.release.as_ref().map_or(Release::Ignore, |release| release.value),
            mode: rule.mode,
            modes: modes(rule, reader),
        });
    }
    let regexes: Vec<String> = globs.iter().map(ImageGlob::to_regex).collect();
    let images = together(&regexes, "images", reader);
    let tag_patterns = together(&patterns, "tag patterns", reader);
    let mut literal_hosts: Vec<String> = globs.iter().filter_map(|g| g.literal_host().map(str::to_owned)).collect();
    literal_hosts.sort_unstable();
    literal_hosts.dedup();
    fact_hosts.sort_unstable();
    fact_hosts.dedup();
    let written: Vec<&str> = globs.iter().map(ImageGlob::as_str).collect();
    let names = first_few(&written, SHOWN);
    let written = written.into_iter().map(str::to_owned).collect();
    Compiled { rules, images, rule_of_glob, globs: written, names, literal_hosts, fact_hosts, tag_patterns, patterns }
}

/// All patterns as one automaton. Each was checked alone before, so only their sum can fail.
fn together(patterns: &[String], what: &str, reader: &mut Reader<'_>) -> Option<GlobSet> {
    match GlobSet::new(patterns) {
        Ok(set) => Some(set),
        Err((_, message)) => {
            // A pattern that is wrong by itself was noted at its own place.
            if reader.diagnostics.is_empty() {
                reader.error(0..0, format!("the {what} of this policy do not compile together: {message}"));
            }
            None
        }
    }
}

fn check_rule_name(rule: &file::Rule, known: &[Rule], reader: &mut Reader<'_>) {
    let Some(name) = &rule.name else { return };
    let fits = !name.value.is_empty()
        && name.value.len() <= 63
        && name.value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !fits {
        let error = reader.error(name.span.clone(), "not a name for a rule");
        error.help.push("use at most 63 letters, digits, '-', '_' and '.'".to_owned());
    } else if known.iter().any(|rule| rule.name == name.value) {
        reader.error(name.span.clone(), format!("a rule of the name '{}' stands above", name.value));
    }
}

/// Keys that a later version will know are refused, unless their value says that nothing is asked.
fn refuse_later_keys(rule: &file::Rule, reader: &mut Reader<'_>) {
    let off = [
        asked(rule.signatures.as_ref(), |_| false, "signatures"),
        asked(rule.attestations.as_ref(), |_| false, "attestations"),
    ];
    for (span, key) in off.into_iter().flatten() {
        not_supported(reader, span, &format!("the key '{key}'"));
    }
}

/// The place and name of a key whose value asks for something.
pub(super) fn asked<T>(
    key: Option<&Spanned<T>>,
    is_off: impl Fn(&T) -> bool,
    name: &'static str,
) -> Option<(crate::document::Span, &'static str)> {
    key.filter(|value| !is_off(&value.value)).map(|value| (value.span.clone(), name))
}

/// Facts need a literal host: keys that ask a registry are refused in a rule that has another glob.
fn refuse_facts(rule: &file::Rule, glob: &ImageGlob, reader: &mut Reader<'_>) {
    let compares = |channel: &file::Channel| !matches!(channel.same_digest_as, Some(SameDigestAs::None(_)));
    let keys = [
        asked(rule.pin.as_ref(), |pin| *pin == Pin::None, "pin"),
        asked(rule.release.as_ref(), |release| *release == Release::Ignore, "release"),
        asked(rule.channel.as_ref(), |channel| !compares(channel), "channel"),
    ];
    for (span, key) in keys.into_iter().flatten().chain(metadata::keys(rule)) {
        let shown = shown(glob.as_str());
        let message = format!("the key '{key}' asks a registry, and '{shown}' does not spell its host out");
        let error = reader.error(span, message);
        let remedy = match key {
            "channel" => "or write 'channel: {sameDigestAs: none}' to judge channel tags by their text alone",
            _ => "or take the key out",
        };
        error.help.push(format!("put images whose host is spelled out in a rule of their own, {remedy}"));
    }
}

/// Whether `tags` lets channel tags in by the name of their class.
fn lists_channel(tags: &Tags, own: &OwnClasses) -> Listed {
    let Tags::Listed { classes, .. } = tags else { return Listed::No };
    let name = Class::Channel.name();
    let by_own = |index: &usize| own.list.get(*index).is_some_and(|class| class.name == name);
    let listed = classes.built_in.contains(Class::Channel) || classes.own.iter().any(by_own);
    if listed { Listed::Yes } else { Listed::No }
}

/// `modes` may name the checks that a rule decides.
fn modes(rule: &file::Rule, reader: &mut Reader<'_>) -> CheckModes {
    let mut modes = CheckModes::default();
    for (name, mode) in rule.modes.iter().flat_map(|modes| &modes.0) {
        match name.value.check() {
            Some(check) if modes.set(check, *mode) => {}
            Some(_) => {
                let message = format!("no rule decides the check '{}'", name.value.name());
                let error = reader.error(name.span.clone(), message);
                error.help.push("its mode is spec.mode, or that of an override without 'rules'".to_owned());
            }
            None => not_supported(reader, name.span.clone(), &format!("the check '{}'", name.value.name())),
        }
    }
    modes
}

/// Reads `tags`: classes by name, patterns by their metacharacters; and says what they accept.
fn tags(
    read: Option<&Spanned<Vec<Text>>>,
    own: &OwnClasses,
    all_patterns: &mut Vec<String>,
    reader: &mut Reader<'_>,
) -> (Tags, String) {
    let Some(list) = read else {
        return (Tags::NotFloating, "any tag that does not float, and digests".to_owned());
    };
    not_empty(list, "tag class or pattern", reader);
    let mut classes = ClassNames::default();
    let mut patterns = Vec::new();
    let mut accepts = Vec::new();
    for text in &list.value {
        if is_pattern(&text.value) {
            check_pattern(text, reader);
            patterns.push(all_patterns.len());
            all_patterns.push(text.value.clone());
            accepts.push(format!("tags like {}", shown(&text.value)));
        } else if classes.add(&text.value, own) {
            accepts.push(describe(&text.value, own));
        } else {
            unknown_class(text, own, "a tag class or a pattern", reader);
        }
    }
    (Tags::Listed { classes, patterns }, first_few(&accepts, SHOWN))
}

/// `release (v1.2.3)`.
fn describe(name: &str, own: &OwnClasses) -> String {
    if let Some(class) = own.list.iter().find(|class| class.name == name) {
        return format!("{name} ({})", shown(&class.pattern));
    }
    Class::from_name(name).map_or_else(String::new, |class| format!("{name} ({})", class.example()))
}

/// A pattern for texts: as its author wrote it (it was checked to be ASCII), cut where it is long.
pub(super) fn shown(pattern: &str) -> String {
    const MOST: usize = 60;
    let printable: String = pattern.chars().filter(|c| (' '..='~').contains(c)).collect();
    match printable.get(..MOST) {
        Some(start) if printable.len() > MOST => format!("{start}..."),
        _ => printable,
    }
}
