//! The ids of findings in one table: code, check, title and remedy; and the checks that they belong to.

/// The checks that policies, exceptions and metrics name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// Is it an image reference, and none of the trick shapes?
    Reference,
    /// Does a rule name its registry and repository?
    Registry,
    /// Is its tag of an allowed class?
    Tags,
    /// Do tag and digest agree, and is a digest there where one is required?
    Digest,
    /// Does a channel tag carry an approved build, in its own environment?
    Channel,
    /// Has an immutable tag moved?
    Moved,
    /// Is it in the release that governs the namespace?
    Release,
    /// Do its labels have the demanded values?
    Labels,
    /// Does its revision label agree with its tag?
    Revision,
    /// Does its version label agree with its tag?
    Version,
    /// Is it there for the demanded platforms?
    Platforms,
    /// Is it not too old?
    Age,
    /// Is its base image allowed?
    BaseImages,
    /// Are there too many images, or too long ones?
    Limits,
    /// Does a policy cover the namespace?
    Policy,
    /// Is the object of a kind that a table knows?
    Kind,
    /// Did we fail ourselves?
    Internal,
}

impl Check {
    /// Those that a rule decides, which its `modes` may name.
    pub(crate) const OF_RULES: [Check; 11] = [
        Check::Tags,
        Check::Digest,
        Check::Channel,
        Check::Moved,
        Check::Release,
        Check::Labels,
        Check::Revision,
        Check::Version,
        Check::Platforms,
        Check::Age,
        Check::BaseImages,
    ];

    /// Its name in policies, exceptions, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Check::Reference => "reference",
            Check::Registry => "registry",
            Check::Tags => "tags",
            Check::Digest => "digest",
            Check::Channel => "channel",
            Check::Moved => "moved",
            Check::Release => "release",
            Check::Labels => "labels",
            Check::Revision => "revision",
            Check::Version => "version",
            Check::Platforms => "platforms",
            Check::Age => "age",
            Check::BaseImages => "baseImages",
            Check::Limits => "limits",
            Check::Policy => "policy",
            Check::Kind => "kind",
            Check::Internal => "internal",
        }
    }
}

/// Every finding that this build can make. The numbers are for ever; see docs/findings.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingId {
    /// Not a valid image reference.
    Tw100,
    /// A refused shape: it parses, but is a trap.
    Tw101,
    /// No rule names this registry or repository.
    Tw110,
    /// The tag's class is not allowed.
    Tw120,
    /// A digest is required, and there is none.
    Tw121,
    /// More images, or a longer reference, than the limits allow.
    Tw197,
    /// No policy covers the namespace.
    Tw198,
    /// A created object of a kind that no table knows.
    Tw199,
    /// Tag and digest disagree.
    Tw200,
    /// A channel tag carries no approved build.
    Tw201,
    /// A channel does not belong to this environment, or the environment is unknown.
    Tw202,
    /// An immutable tag has moved.
    Tw203,
    /// The repository is not in the governing release.
    Tw300,
    /// Digest or tag differs from the release.
    Tw301,
    /// No release governs the namespace.
    Tw302,
    /// Images of one object belong to different releases.
    Tw303,
    /// A label is absent, or has another value than demanded.
    Tw400,
    /// The revision label does not agree with the tag.
    Tw401,
    /// The version label does not agree with the tag.
    Tw402,
    /// A platform is missing, or is not the one that the tag names.
    Tw403,
    /// The image is too old, or does not say how old it is.
    Tw404,
    /// The base image is not allowed, or not named.
    Tw405,
    /// Undecided: the registry was not reached, or our own limits forbade to ask.
    Tw900,
    /// Undecided: not found, or no access.
    Tw901,
    /// Undecided: rate limited.
    Tw902,
    /// Undecided: the registry broke the protocol.
    Tw903,
    /// Our own failure.
    Tw999,
}

impl FindingId {
    /// All of them, in order.
    pub const ALL: [FindingId; 27] = [
        FindingId::Tw100,
        FindingId::Tw101,
        FindingId::Tw110,
        FindingId::Tw120,
        FindingId::Tw121,
        FindingId::Tw197,
        FindingId::Tw198,
        FindingId::Tw199,
        FindingId::Tw200,
        FindingId::Tw201,
        FindingId::Tw202,
        FindingId::Tw203,
        FindingId::Tw300,
        FindingId::Tw301,
        FindingId::Tw302,
        FindingId::Tw303,
        FindingId::Tw400,
        FindingId::Tw401,
        FindingId::Tw402,
        FindingId::Tw403,
        FindingId::Tw404,
        FindingId::Tw405,
        FindingId::Tw900,
        FindingId::Tw901,
        FindingId::Tw902,
        FindingId::Tw903,
        FindingId::Tw999,
    ];

    /// The one table of findings. Undecided ones belong to the check that needed the fact.
    const fn row(self) -> Row {
        match self {
            FindingId::Tw100 => Row(
                "TW100",
                Some(Check::Reference),
                "not a valid image reference",
                "write the reference right; the byte position says where it stops being one",
            ),
            FindingId::Tw101 => Row(
                "TW101",
                Some(Check::Reference),
                "a refused shape of image reference",
                "write the canonical name of the image; `use:` gives it where there is one",
            ),
            FindingId::Tw110 => Row(
                "TW110",
                Some(Check::Registry),
                "no rule names this registry or repository",
                "take the image from a registry that the rules name, or have a rule name it",
            ),
            FindingId::Tw120 => Row(
                "TW120",
                Some(Check::Tags),
                "the tag's class is not allowed",
                "deploy a tag that does not move, of a class that the message lists",
            ),
            FindingId::Tw121 => Row(
                "TW121",
                Some(Check::Digest),
                "a digest is required, and there is none",
                "write the digest beside the tag; if Pods are normally pinned on admission, see whether that webhook answers",
            ),
            FindingId::Tw197 => Row(
                "TW197",
                Some(Check::Limits),
                "more images, or a longer reference, than the limits allow",
                "split the object, or raise `limits` in the server's configuration",
            ),
            FindingId::Tw198 => Row(
                "TW198",
                Some(Check::Policy),
                "no policy covers the namespace",
                "have a policy cover the namespace; one without `namespaces` covers all",
            ),
            FindingId::Tw199 => Row(
                "TW199",
                Some(Check::Kind),
                "a created object of a kind that no table knows",
                "name the kind and the paths of its images in the configuration's `workloads`",
            ),
            FindingId::Tw200 => Row(
                "TW200",
                Some(Check::Digest),
                "tag and digest disagree",
                "find out which of the two is meant, and write that one",
            ),
            FindingId::Tw201 => Row(
                "TW201",
                Some(Check::Channel),
                "the channel tag carries no approved build",
                "move the channel to a build that was released, or give the build its release or commit tag",
            ),
            FindingId::Tw202 => Row(
                "TW202",
                Some(Check::Channel),
                "the channel does not belong to this environment",
                "deploy the channel of this environment, or have the namespace labelled",
            ),
            FindingId::Tw203 => Row(
                "TW203",
                Some(Check::Moved),
                "an immutable tag has moved",
                "find out who pushed over the tag; publish rebuilds under a new one",
            ),
            FindingId::Tw300 => Row(
                "TW300",
                Some(Check::Release),
                "the repository is not in the release that governs the namespace",
                "deploy what the release names, or have the image put into the release",
            ),
            FindingId::Tw301 => Row(
                "TW301",
                Some(Check::Release),
                "digest or tag differs from the release",
                "deploy the tag and digest of the release; `use:` gives them where they are known",
            ),
            FindingId::Tw302 => Row(
                "TW302",
                Some(Check::Release),
                "no release governs the namespace",
                "have the server's configuration name a release for the namespace, and see whether it is loaded",
            ),
            FindingId::Tw303 => Row(
                "TW303",
                Some(Check::Release),
                "images of one object belong to different releases",
                "take all images of the object from one release",
            ),
            FindingId::Tw400 => Row(
                "TW400",
                Some(Check::Labels),
                "a label is absent, or has another value than demanded",
                "build the image with the labels that the message names",
            ),
            FindingId::Tw401 => Row(
                "TW401",
                Some(Check::Revision),
                "the revision label does not agree with the tag",
                "build the image from the commit that its tag names, and label it with that",
            ),
            FindingId::Tw402 => Row(
                "TW402",
                Some(Check::Version),
                "the version label does not agree with the tag",
                "label the image with the version that its tag names",
            ),
            FindingId::Tw403 => Row(
                "TW403",
                Some(Check::Platforms),
                "a platform is missing, or is not the one that the tag names",
                "build the image for the platforms that the message names",
            ),
            FindingId::Tw404 => Row(
                "TW404",
                Some(Check::Age),
                "the image is too old, or does not say how old it is",
                "rebuild the image",
            ),
            FindingId::Tw405 => Row(
                "TW405",
                Some(Check::BaseImages),
                "the base image is not allowed, or not named",
                "build on a base image that the rule names, and label the image with it",
            ),
            FindingId::Tw900 => Row(
                "TW900",
                None,
                "undecided: the registry was not reached, or our limits forbade to ask",
                "try again; if it stays, look at the registry, the network to it, and the limits that the message names",
            ),
            FindingId::Tw901 => Row(
                "TW901",
                None,
                "undecided: not found, or no access",
                "see whether the tag exists, and give credentials that may read it",
            ),
            FindingId::Tw902 => Row(
                "TW902",
                None,
                "undecided: the registry limits our rate",
                "wait as long as the message says; configure credentials or a mirror",
            ),
            FindingId::Tw903 => Row(
                "TW903",
                None,
                "undecided: the registry broke the protocol",
                "look at what stands in front of the registry: a proxy or a login page is the usual cause",
            ),
            FindingId::Tw999 => Row(
                "TW999",
                Some(Check::Internal),
                "an internal failure",
                "try again, and report it with the request's id and the log line of the same id",
            ),
        }
    }

    /// Its code, `TW120`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// The check it belongs to; none for the undecided ones (TW90x), which belong to the check that needed the fact.
    #[must_use]
    pub const fn check(self) -> Option<Check> {
        self.row().1
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What to do about it, in a sentence; docs/findings.md says more.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        self.row().3
    }
}

/// Code, check, title and remedy of a finding.
struct Row(&'static str, Option<Check>, &'static str, &'static str);
