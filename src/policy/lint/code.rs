//! The codes of warnings: one table, documented in docs/lint.md.

/// Every warning that lint can give. The numbers are for ever; see docs/lint.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LintCode {
    /// A question was too large to be decided; a note, not a warning.
    Tw800,
    /// A rule that no image can reach.
    Tw801,
    /// A glob that earlier ones shadow.
    Tw802,
    /// An entry of `tags` that adds nothing to the earlier ones.
    Tw803,
    /// A tag class that nothing names.
    Tw804,
    /// A pattern of digits or dates only.
    Tw805,
    /// A pattern that matches every tag.
    Tw806,
    /// A pattern that lets in no tag.
    Tw807,
    /// An exception that has expired.
    Tw808,
    /// An exception without an end in sight.
    Tw809,
    /// An exception, or a part of one, that no image can meet.
    Tw810,
    /// A policy that no namespace can meet.
    Tw811,
    /// An override that cannot apply.
    Tw812,
    /// Tags that move are enforced upon, and not pinned.
    Tw813,
    /// What no rule names is let in by a policy that enforces.
    Tw814,
    /// Undecided facts are let in.
    Tw815,
    /// Channels are not compared with builds.
    Tw816,
    /// Earlier builds of a channel are let in.
    Tw817,
}

impl LintCode {
    /// All of them, in order.
    pub const ALL: [LintCode; 18] = [
        LintCode::Tw800,
        LintCode::Tw801,
        LintCode::Tw802,
        LintCode::Tw803,
        LintCode::Tw804,
        LintCode::Tw805,
        LintCode::Tw806,
        LintCode::Tw807,
        LintCode::Tw808,
        LintCode::Tw809,
        LintCode::Tw810,
        LintCode::Tw811,
        LintCode::Tw812,
        LintCode::Tw813,
        LintCode::Tw814,
        LintCode::Tw815,
        LintCode::Tw816,
        LintCode::Tw817,
    ];

    /// Code, title and remedy: the one table of codes.
    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            LintCode::Tw800 => {
                ("TW800", "not decided: too large", "write globs and patterns with fewer `*` and smaller counts")
            }
            LintCode::Tw801 => (
                "TW801",
                "a rule that can never be reached",
                "put the narrower rule above the wider one, or take it out",
            ),
            LintCode::Tw802 => (
                "TW802",
                "a glob that earlier ones shadow",
                "take the glob out, or put its rule above the one that shadows it",
            ),
            LintCode::Tw803 => (
                "TW803",
                "an entry of tags that adds nothing",
                "take the entry out, or narrow the one that swallows it",
            ),
            LintCode::Tw804 => (
                "TW804",
                "a tag class that is never used",
                "name the class, say 'floating: true' if its tags move, or take it out",
            ),
            LintCode::Tw805 => {
                ("TW805", "a pattern of digits or dates only", "ask for a version, or for a commit beside the date")
            }
            LintCode::Tw806 => ("TW806", "a pattern that matches every tag", "name tag classes, or leave 'tags' out"),
            LintCode::Tw807 => ("TW807", "a pattern that lets in no tag", "correct the pattern, or name the class"),
            LintCode::Tw808 => ("TW808", "an exception that has expired", "take it out, or have it granted anew"),
            LintCode::Tw809 => ("TW809", "an exception without an end in sight", "grant it for 180 days at most"),
            LintCode::Tw810 => ("TW810", "an exception that no image can meet", "take it out, or name what it is for"),
            LintCode::Tw811 => {
                ("TW811", "a policy that no namespace can meet", "loosen 'namespaces', or take the policy out")
            }
            LintCode::Tw812 => {
                ("TW812", "an override that cannot apply", "put it above the override that decides, or take it out")
            }
            LintCode::Tw813 => ("TW813", "tags that move, enforced and not pinned", "add 'pin: pods'"),
            LintCode::Tw814 => (
                "TW814",
                "unmatched images let in by a policy that enforces",
                "leave 'unmatched' out, or end with a rule for \"**\"",
            ),
            LintCode::Tw815 => ("TW815", "undecided facts let in", "leave 'onUnresolved' out"),
            LintCode::Tw816 => (
                "TW816",
                "channels that are not compared with builds",
                "name the classes whose builds may be promoted, or leave the key out",
            ),
            LintCode::Tw817 => ("TW817", "earlier builds of a channel let in", "write 'pinned: current'"),
        }
    }

    /// Its code, `TW801`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().1
    }

    /// What to do, in a few words.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        self.row().2
    }
}
