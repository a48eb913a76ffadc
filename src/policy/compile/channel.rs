//! `channel`: which builds approve a channel tag, and which environment it belongs to.

use std::collections::BTreeMap;

use super::problems::{inside, not_empty, not_supported, unknown_class};
use super::rules::asked;
use super::validate::trusted;
use super::{ClassNames, Labels, NAME_LABEL, OwnClasses, Settings};
use crate::document::{Reader, Spanned};
use crate::image::{Class, NameGlob};
use crate::policy::file::{self, ApprovedBy, Pinned, SameDigestAs, Search, Text};

/// What a rule demands of channel tags.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChannelRule {
    /// The key `channel` is written: it then holds for a channel tag even where `tags` does not let that in.
    pub written: bool,
    /// `sameDigestAs: none`: the digest is not compared.
    pub by_text: bool,
    /// The key is written, or `tags` names the class: an image written by digest alone is judged like a channel.
    pub covers_digests: bool,
    /// With what the digest is compared; none where it is not, or where no registry may be asked.
    pub compare: Option<Comparison>,
    /// `env`.
    pub environments: Option<Environments>,
}

/// Which tags approve a digest by having it.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub classes: ClassNames,
    /// `release or commit`.
    pub shown: String,
    /// The class `release` alone, for `pinned: approved`.
    pub releases: ClassNames,
    pub pinned: Pinned,
    pub search: Search,
    /// By whom a build is approved: by a tag, or by the release that governs the namespace.
    pub approved_by: ApprovedBy,
}

/// Which environment a namespace is, and a channel means.
#[derive(Clone, Debug)]
pub(crate) struct Environments {
    label: Option<String>,
    namespaces: Vec<(NameGlob, String)>,
    map: BTreeMap<String, String>,
}

/// What is known of a namespace's environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment<'e> {
    /// It is this one.
    Known(&'e str),
    /// Nothing says which.
    Unknown,
    /// Two globs that are equally specific name different ones.
    Ambiguous(&'e str, &'e str),
    /// The label would say it, and the namespace's labels could not be had.
    LabelsUnknown,
}

/// Compiles what a rule says of channels.
pub(super) fn compile(
    rule: &file::Rule,
    tags: Listed,
    hosts: Hosts,
    own: &OwnClasses,
    settings: &Settings,
    reader: &mut Reader<'_>,
) -> ChannelRule {
    let listed = tags == Listed::Yes;
    let Some(channel) = &rule.channel else {
        let compare = (hosts == Hosts::Literal).then(|| default_comparison(own));
        return ChannelRule { covers_digests: listed, compare, ..ChannelRule::default() };
    };
    let channel = &channel.value;
    let later = |by: &&Spanned<ApprovedBy>| !matches!(by.value, ApprovedBy::Tag | ApprovedBy::Release);
    if let Some(approved_by) = channel.approved_by.as_ref().filter(later) {
        let what = format!("'approvedBy: {}'", approved_by.value.name());
        not_supported(reader, approved_by.span.clone(), &what);
    }
    let by_text = matches!(channel.same_digest_as, Some(SameDigestAs::None(_)));
    if by_text {
        refuse_without_comparison(channel, reader);
    }
    ChannelRule {
        written: true,
        by_text,
        covers_digests: true,
        compare: (!by_text && hosts == Hosts::Literal).then(|| comparison(channel, own, reader)),
        environments: channel.env.as_ref().map(|env| environments(env, settings, reader)),
    }
}

/// Whether a rule's `tags` names the class of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Yes,
    No,
}

/// How a rule's globs name their hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Each is spelled out.
    Literal,
    /// One is not.
    Open,
}

/// Keys that say how digests are compared, where they are not.
fn refuse_without_comparison(channel: &file::Channel, reader: &mut Reader<'_>) {
    let keys = [
        asked(channel.approved_by.as_ref(), |_| false, "approvedBy"),
        asked(channel.pinned.as_ref(), |_| false, "pinned"),
        asked(channel.search.as_ref(), |_| false, "search"),
    ];
    for (span, key) in keys.into_iter().flatten() {
        let error = reader
            .error(span, format!("'{key}' says how digests are compared, and 'sameDigestAs: none' that they are not"));
        error.help.push("take one of the two out".to_owned());
    }
}

/// Keys that say which tags approve a build, where a release does.
fn refuse_tags(channel: &file::Channel, reader: &mut Reader<'_>) {
    let classes = match &channel.same_digest_as {
        Some(SameDigestAs::Classes(list)) => Some((list.span.clone(), "sameDigestAs")),
        Some(SameDigestAs::None(_)) | None => None,
    };
    for (span, key) in classes.into_iter().chain(asked(channel.search.as_ref(), |_| false, "search")) {
        let error = reader
            .error(span, format!("'{key}' says which tags approve a build, and 'approvedBy: release' that none does"));
        error.help.push("take one of the two out".to_owned());
    }
}

fn default_comparison(own: &OwnClasses) -> Comparison {
    let names = [Class::Release, Class::Commit, Class::GitCommit].map(Class::name);
    let mut classes = ClassNames::default();
    for name in names {
        classes.add(name, own);
    }
    let mut releases = ClassNames::default();
    releases.add(Class::Release.name(), own);
    Comparison {
        classes,
        shown: any_of(&names),
        releases,
        pinned: Pinned::Current,
        search: Search::Tags,
        approved_by: ApprovedBy::Tag,
    }
}

fn comparison(channel: &file::Channel, own: &OwnClasses, reader: &mut Reader<'_>) -> Comparison {
    let mut compare = default_comparison(own);
    if channel.approved_by.as_ref().is_some_and(|by| by.value == ApprovedBy::Release) {
        refuse_tags(channel, reader);
        compare.approved_by = ApprovedBy::Release;
        compare.pinned = channel.pinned.as_ref().map_or(Pinned::Current, |pinned| pinned.value);
        return compare;
    }
    if let Some(SameDigestAs::Classes(list)) = &channel.same_digest_as {
        not_empty(list, "tag class", reader);
        compare.classes = ClassNames::default();
        for text in &list.value {
            if !compare.classes.add(&text.value, own) {
                unknown_class(text, own, "a tag class", reader);
            } else {
                refuse_moving(text, own, reader);
            }
        }
        let names: Vec<&str> = list.value.iter().map(|text| text.value.as_str()).collect();
        compare.shown = any_of(&names);
    }
    compare.search = channel.search.as_ref().map_or(Search::Tags, |search| search.value);
    if let Some(pinned) = &channel.pinned {
        compare.pinned = pinned.value;
        if pinned.value == Pinned::Approved && !compare.classes.holds(&compare.releases) {
            let error = reader.error(
                pinned.span.clone(),
                "'pinned: approved' lets in what a release tag carries, and 'sameDigestAs' does not name that class",
            );
            error.help.push("add 'release' to 'sameDigestAs', or write 'pinned: current'".to_owned());
        }
    }
    compare
}

/// A tag that moves approves nothing: whoever may move it could approve anything. And no tag is of class `digest`.
fn refuse_moving(text: &Text, own: &OwnClasses, reader: &mut Reader<'_>) {
    let is_channel = text.value == Class::Channel.name();
    let moves = is_channel
        || match own.list.iter().find(|class| class.name == text.value) {
            Some(class) => class.floating,
            None => Class::from_name(&text.value).is_some_and(|class| class.is_floating() || class == Class::Digest),
        };
    if moves {
        let error = reader.error(text.span.clone(), format!("tags of class '{}' approve no build", text.value));
        error.help.push("name classes whose tags stay, such as release and commit".to_owned());
    }
}

/// `release or commit`. Whoever reads it needs not be told that a commit may be written in two ways.
fn any_of(names: &[&str]) -> String {
    let has_commit = names.contains(&Class::Commit.name());
    let shown: Vec<&str> =
        names.iter().copied().filter(|name| !(has_commit && *name == Class::GitCommit.name())).collect();
    match shown.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn environments(env: &Spanned<file::Env>, settings: &Settings, reader: &mut Reader<'_>) -> Environments {
    let read = &env.value;
    if let Some(label) = &read.namespace_label {
        trusted(label, settings, reader);
    }
    let mut namespaces = Vec::new();
    for (glob, environment) in read.namespaces.iter().flat_map(|table| &table.0) {
        match NameGlob::parse(&glob.value) {
            Ok(parsed) => namespaces.push((parsed, environment.clone())),
            Err(error) => inside(reader, glob, &error),
        }
    }
    if read.namespace_label.is_none() && read.namespaces.as_ref().is_none_or(|table| table.0.is_empty()) {
        let error = reader.error(env.span.clone(), "nothing here says which environment a namespace is");
        error.help.push("add 'namespaceLabel', 'namespaces', or both".to_owned());
    }
    Environments {
        label: read.namespace_label.as_ref().map(|label| label.value.clone()),
        namespaces,
        map: read.map.clone().unwrap_or_default(),
    }
}

impl Environments {
    /// Whether more than the namespace's name is asked for.
    pub fn needs_labels(&self) -> bool {
        self.label.as_ref().is_some_and(|label| label != NAME_LABEL)
    }

    /// The environment that a channel means: what `map` says, else its own name.
    pub fn of_channel<'e>(&'e self, channel: &'e str) -> &'e str {
        self.map.get(channel).map_or(channel, String::as_str)
    }

    /// The environment of a namespace: its label where it has it, else its name.
    ///
    /// Of several globs the most specific holds (most characters that are no `*`), not the first: the API server keeps
    /// the keys of an object in no order.
    pub fn of_namespace<'e>(&'e self, namespace: Option<&'e str>, labels: Option<&'e Labels>) -> Environment<'e> {
        let Some(namespace) = namespace else {
            return Environment::Unknown;
        };
        match (&self.label, labels) {
            (Some(label), _) if label == NAME_LABEL => return Environment::Known(namespace),
            (Some(_), None) => return Environment::LabelsUnknown,
            (Some(label), Some(labels)) => {
                if let Some(environment) = labels.get(label) {
                    return Environment::Known(environment);
                }
            }
            (None, _) => {}
        }
        let literal = |glob: &NameGlob| {
            let text = glob.as_str();
            (!text.contains('*'), text.bytes().filter(|byte| *byte != b'*').count())
        };
        let matching = || self.namespaces.iter().filter(|(glob, _)| glob.matches(namespace));
        let Some(most) = matching().map(|(glob, _)| literal(glob)).max() else {
            return Environment::Unknown;
        };
        let mut best = matching().filter(|(glob, _)| literal(glob) == most).map(|(_, name)| name.as_str());
        let first = best.next().unwrap_or_default();
        match best.find(|other| *other != first) {
            Some(other) => Environment::Ambiguous(first, other),
            None => Environment::Known(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Environments, Labels};
    use crate::image::NameGlob;
    use crate::policy::{PolicySet, Settings};

    fn environments(label: Option<&str>, namespaces: &[(&str, &str)]) -> Environments {
        let namespaces = namespaces.iter().map(|(glob, name)| (NameGlob::parse(glob).unwrap(), (*name).to_owned()));
        Environments {
            label: label.map(str::to_owned),
            namespaces: namespaces.collect(),
            map: [("stage".to_owned(), "staging".to_owned())].into(),
        }
    }

    #[test]
    fn the_most_specific_glob_holds_whatever_the_order() {
        let mut list = vec![("*", "dev"), ("*-prod", "prod"), ("shop-prod", "shop"), ("a-*", "a")];
        for _ in 0..2 {
            let environments = environments(None, &list);
            let of = |namespace| environments.of_namespace(Some(namespace), None);
            assert_eq!(of("x"), Environment::Known("dev"));
            assert_eq!(of("pay-prod"), Environment::Known("prod"));
            assert_eq!(of("a-prod"), Environment::Known("prod"), "five characters against two");
            assert_eq!(of("shop-prod"), Environment::Known("shop"));
            list.reverse();
        }
    }

    #[test]
    fn globs_of_one_weight_that_disagree_say_nothing() {
        let of = |second| environments(None, &[("*-prod", "prod"), ("shop-*", second)]);
        let disagree = of("shop");
        assert!(matches!(disagree.of_namespace(Some("shop-prod"), None), Environment::Ambiguous(..)));
        assert_eq!(of("prod").of_namespace(Some("shop-prod"), None), Environment::Known("prod"));
        assert_eq!(of("prod").of_namespace(Some("other"), None), Environment::Unknown);
        assert_eq!(of("prod").of_namespace(None, None), Environment::Unknown);
    }

    #[test]
    fn the_label_comes_first_and_the_name_only_where_it_is_known_to_be_absent() {
        let environments = environments(Some("environment"), &[("*", "dev")]);
        let with: Labels = [("environment".to_owned(), "prod".to_owned())].into();
        assert_eq!(environments.of_namespace(Some("x"), Some(&with)), Environment::Known("prod"));
        assert_eq!(environments.of_namespace(Some("x"), Some(&Labels::new())), Environment::Known("dev"));
        assert_eq!(environments.of_namespace(Some("x"), None), Environment::LabelsUnknown);
        assert_eq!((environments.of_channel("stage"), environments.of_channel("prod")), ("staging", "prod"));
    }

    #[test]
    fn only_hosts_that_rules_spell_out_are_asked_and_labels_only_where_an_environment_needs_them() {
        let text = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: a}\nspec:\n  mode: enforce\n  \
            namespaces: {exclude: [other]}\n  rules:\n    - {images: [b.example.com/x, a.example.com/y]}\n    \
            - {images: [mixed.example.com/x, '*.open.example.com/x']}\n    - {images: ['**'], channel: ";
        let compile = |env: &str| {
            let text = format!("{text}{{sameDigestAs: none, env: {env}}}}}\n");
            PolicySet::compile(&[("a.yaml", text)], Settings::default()).unwrap()
        };
        let by_label = compile("{namespaceLabel: environment}");
        assert_eq!(by_label.hosts().into_iter().collect::<Vec<_>>(), ["a.example.com", "b.example.com"]);
        assert!(by_label.needs_labels("shop") && !by_label.needs_labels("other"));
        assert!(!compile("{namespaces: {'*': dev}}").needs_labels("shop"));
        assert!(!compile("{namespaceLabel: kubernetes.io/metadata.name}").needs_labels("shop"));
    }
}
