//! Tag classes: what a tag's text alone says about it.

/// The built-in classes, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// `vX.Y.Z`, no leading zeros.
    Release,
    /// `vX.Y.Z-<identifiers>`, by the rules of Semantic Versioning 2.0.0, item 9: identifiers of letters, digits and
    /// dashes, joined by dots, none empty, a numeric one without leading zeros (`v1.2.3-01` is none).
    Prerelease,
    /// Release or prerelease, `v` optional.
    Semver,
    /// 7 to 40 lower-case hex digits.
    Commit,
    /// `git-` and 40 lower-case hex digits.
    GitCommit,
    /// `env-<name>`, the name `[A-Za-z0-9_]+(-[A-Za-z0-9_]+)*`.
    Channel,
    /// `latest` in any case; also what a reference gets that has neither tag nor digest.
    Latest,
    /// A word that names a moving target, in any case: `main`, `stable` and so on.
    Floating,
    /// A reference with a digest and no tag.
    Digest,
}

impl Class {
    /// All, in order.
    pub const ALL: [Class; 9] = [
        Class::Release,
        Class::Prerelease,
        Class::Semver,
        Class::Commit,
        Class::GitCommit,
        Class::Channel,
        Class::Latest,
        Class::Floating,
        Class::Digest,
    ];

    /// As policies write it, `git-commit` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Class::Release => "release",
            Class::Prerelease => "prerelease",
            Class::Semver => "semver",
            Class::Commit => "commit",
            Class::GitCommit => "git-commit",
            Class::Channel => "channel",
            Class::Latest => "latest",
            Class::Floating => "floating",
            Class::Digest => "digest",
        }
    }

    /// Its name back.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// An example of it for denials: `v1.2.3`, `7-40 hex`, `env-<name>`.
    pub fn example(self) -> &'static str {
        match self {
            Class::Release => "v1.2.3",
            Class::Prerelease => "v1.2.3-rc.1",
            Class::Semver => "1.2.3",
            Class::Commit => "7-40 hex",
            Class::GitCommit => "git-<40 hex>",
            Class::Channel => "env-<name>",
            Class::Latest => "latest",
            Class::Floating => "main, stable, ...",
            Class::Digest => "@sha256:<64 hex>",
        }
    }

    /// Whether tags of it move.
    pub fn is_floating(self) -> bool {
        matches!(self, Class::Channel | Class::Latest | Class::Floating)
    }
}

/// A set of built-in classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(pub(crate) u16);

impl Classes {
    /// Whether it holds `class`.
    pub fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u16) != 0
    }

    /// The set with `class` taken out.
    #[must_use]
    pub fn without(self, class: Class) -> Classes {
        Classes(self.0 & !(1 << class as u16))
    }

    /// The set with `class` put in.
    #[must_use]
    pub fn with(self, class: Class) -> Classes {
        Classes(self.0 | (1 << class as u16))
    }

    /// In order.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }

    /// No class at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Tags of the class `floating`, in lower case.
pub const FLOATING_WORDS: [&str; 12] =
    ["latest", "head", "canary", "edge", "nightly", "stable", "main", "master", "dev", "develop", "trunk", "snapshot"];

/// Suffixes that name an architecture, each after a dash.
pub(super) const ARCHITECTURES: [&str; 7] = ["amd64", "arm64", "arm-v7", "ppc64le", "s390x", "386", "riscv64"];

/// What the text of a tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFacts<'a> {
    /// Built-in classes of the tag.
    pub classes: Classes,
    /// An architecture suffix that was taken off, without its dash: `amd64`.
    pub arch: Option<&'a str>,
    /// The `<name>` of a channel tag `env-<name>`, compared exactly.
    pub env: Option<&'a str>,
}

impl<'a> TagFacts<'a> {
    /// Classifies a tag's text; depends on nothing else.
    ///
    /// An architecture suffix is taken off before versions, commits and channels are tried, so `v1.2.3-amd64` is a
    /// release, and `env-amd64` no channel. `latest` and the floating words are compared whole.
    pub fn of(tag: &'a str) -> Self {
        let (base, arch) = split_architecture(tag);
        let mut classes = version_classes(base);
        if is_hex(base) && (7..=40).contains(&base.len()) {
            classes = classes.with(Class::Commit);
        }
        if base.strip_prefix("git-").is_some_and(|hex| hex.len() == 40 && is_hex(hex)) {
            classes = classes.with(Class::GitCommit);
        }
        let env = base.strip_prefix("env-").filter(|name| is_channel_name(name));
        if env.is_some() {
            classes = classes.with(Class::Channel);
        }
        if tag.eq_ignore_ascii_case("latest") {
            classes = classes.with(Class::Latest);
        }
        if FLOATING_WORDS.iter().any(|word| tag.eq_ignore_ascii_case(word)) {
            classes = classes.with(Class::Floating);
        }
        TagFacts { classes, arch, env }
    }

    /// Of a reference without a tag but with a digest: class `digest`.
    pub fn digest_only() -> Self {
        TagFacts { classes: Classes::default().with(Class::Digest), arch: None, env: None }
    }
}

fn split_architecture(tag: &str) -> (&str, Option<&str>) {
    for architecture in ARCHITECTURES {
        if let Some(base) = tag.strip_suffix(architecture).and_then(|front| front.strip_suffix('-'))
            && !base.is_empty()
        {
            return (base, Some(&tag[base.len() + 1..]));
        }
    }
    (tag, None)
}

fn version_classes(tag: &str) -> Classes {
    let none = Classes::default();
    let (version, with_v) = match tag.strip_prefix('v') {
        Some(version) => (version, true),
        None => (tag, false),
    };
    let (core, prerelease) = match version.split_once('-') {
        Some((core, prerelease)) => (core, Some(prerelease)),
        None => (version, None),
    };
    let mut numbers = 0;
    for number in core.split('.') {
        if !is_number(number) {
            return none;
        }
        numbers += 1;
    }
    if numbers != 3 || prerelease.is_some_and(|identifiers| !identifiers.split('.').all(is_identifier)) {
        return none;
    }
    match (with_v, prerelease) {
        (false, _) => none.with(Class::Semver),
        (true, None) => none.with(Class::Semver).with(Class::Release),
        (true, Some(_)) => none.with(Class::Semver).with(Class::Prerelease),
    }
}

/// Decimal digits without leading zeros.
fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    let allowed = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    allowed && (!is_digits(text) || is_number(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_channel_name(name: &str) -> bool {
    name.split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(tag: &str) -> String {
        TagFacts::of(tag).classes.iter().map(Class::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_class_has_tags_and_near_misses() {
        let hex40 = "0123456789abcdef0123456789abcdef01234567";
        let cases = [
            ("v1.2.3", "release semver"),
            ("v0.0.0", "release semver"),
            ("v10.20.30", "release semver"),
            ("v99999999999999999999.0.0", "release semver"),
            ("1.2.3", "semver"),
            ("v01.2.3", ""),
            ("v1.02.3", ""),
            ("v1.2.03", ""),
            ("v1.2", ""),
            ("v1.2.3.4", ""),
            ("v1..3", ""),
            ("V1.2.3", ""),
            ("vv1.2.3", ""),
            ("v1.2.3_", ""),
            ("v1.2.3-rc.1", "prerelease semver"),
            ("1.2.3-rc.1", "semver"),
            ("v1.2.3-0", "prerelease semver"),
            ("v1.2.3--", "prerelease semver"),
            ("v1.2.3-a-b.c", "prerelease semver"),
            ("v1.2.3-0a", "prerelease semver"),
            ("v1.2.3-01", ""),
            ("v1.2.3-", ""),
            ("v1.2.3-a..b", ""),
            ("v1.2.3-a.", ""),
            ("v1.2.3-a_b", ""),
            ("0123abc", "commit"),
            ("1234567", "commit"),
            ("20240101", "commit"),
            (hex40, "commit"),
            ("012abc", ""),
            ("0123ABC", ""),
            ("0123abg", ""),
            (&format!("{hex40}0"), ""),
            (&format!("git-{hex40}"), "git-commit"),
            (&format!("git-{}", &hex40[1..]), ""),
            (&format!("git-{hex40}0"), ""),
            (&format!("git-{}", hex40.to_uppercase()), ""),
            ("git-0123abc", ""),
            ("env-prod", "channel"),
            ("env-Prod_1", "channel"),
            ("env-eu-west-1", "channel"),
            ("env-", ""),
            ("env", ""),
            ("env--prod", ""),
            ("env-prod-", ""),
            ("env-prod.1", ""),
            ("Env-prod", ""),
            ("latest", "latest floating"),
            ("LaTeSt", "latest floating"),
            ("latest1", ""),
            ("main", "floating"),
            ("NIGHTLY", "floating"),
            ("mainline", ""),
            ("alpine", ""),
            ("1.25", ""),
        ];
        for (tag, expected) in cases {
            assert_eq!(classes(tag), expected, "{tag}");
        }
        for word in FLOATING_WORDS {
            assert!(TagFacts::of(word).classes.contains(Class::Floating));
            assert!(TagFacts::of(&word.to_uppercase()).classes.contains(Class::Floating));
        }
    }

    #[test]
    fn architecture_suffixes_are_taken_off() {
        let cases = [
            ("v1.2.3-amd64", "release semver", Some("amd64")),
            ("v1.2.3-rc.1-arm64", "prerelease semver", Some("arm64")),
            ("1.2.3-arm-v7", "semver", Some("arm-v7")),
            ("0123abc-ppc64le", "commit", Some("ppc64le")),
            ("env-prod-s390x", "channel", Some("s390x")),
            ("v1.2.3-386", "release semver", Some("386")),
            ("v1.2.3-riscv64", "release semver", Some("riscv64")),
            ("v1.2.3-amd64-arm64", "prerelease semver", Some("arm64")),
            ("v1.2.3-amd65", "prerelease semver", None),
            ("v1.2.3-AMD64", "prerelease semver", None),
            ("v1.2.3amd64", "", None),
            ("env-amd64", "", Some("amd64")),
            ("latest-amd64", "", Some("amd64")),
            ("-amd64", "", None),
            ("amd64", "", None),
        ];
        for (tag, expected, arch) in cases {
            assert_eq!((&*classes(tag), TagFacts::of(tag).arch), (expected, arch), "{tag}");
        }
    }

    #[test]
    fn channels_capture_their_name() {
        assert_eq!(TagFacts::of("env-Prod").env, Some("Prod"));
        assert_eq!(TagFacts::of("env-eu-west-amd64").env, Some("eu-west"));
        assert_eq!(TagFacts::of("env-").env, None);
        assert_eq!(TagFacts::of("v1.2.3").env, None);
    }

    #[test]
    fn names_and_sets() {
        for class in Class::ALL {
            assert_eq!(Class::from_name(class.name()), Some(class));
            let set = Classes::default().with(class);
            assert!(set.contains(class) && !set.is_empty() && set.without(class).is_empty());
            assert_eq!(set.iter().collect::<Vec<_>>(), [class]);
        }
        assert_eq!(Class::from_name("Release"), None);
        assert_eq!(TagFacts::digest_only().classes.iter().collect::<Vec<_>>(), [Class::Digest]);
    }
}
