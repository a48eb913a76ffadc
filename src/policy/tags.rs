//! What a rule says of one image's tag: whether a class or pattern lets it in, and why not.

use super::compile::{OwnClasses, Policy, Rule, Tags};
use super::show::{IMAGE_BYTES, printable};
use crate::image::{Class, Classes, Reference, TagFacts};

/// One image's tag as one policy sees it.
pub(super) struct Tag<'i, 'a> {
    pub reference: &'i Reference<'a>,
    pub facts: &'i TagFacts<'a>,
    /// In any applicable policy.
    pub floating: bool,
    /// Ids of the policy's tag patterns that match.
    pub matched: &'i [usize],
}

impl Tag<'_, '_> {
    /// What is wrong with the tag under a rule, if anything is.
    pub fn violates(&self, policy: &Policy, rule: &Rule) -> Option<String> {
        let is_channel = self.is_channel(policy);
        let tag = self.reference.tag().unwrap_or_default();
        if tag.starts_with("env-") && !is_channel {
            return Some(format!("{} begins like a channel, but is none (env-<name>)", self.written()));
        }
        if !self.is_among(policy, &rule.tags) {
            return Some(self.describe(policy));
        }
        // Where no registry may be asked, a channel tag would pass unseen.
        (is_channel && !rule.channel.by_text && rule.channel.compare.is_none()).then(|| {
            format!(
                "{}, and whether it carries an approved build cannot be asked, because the rule does not spell its hosts out",
                self.describe(policy)
            )
        })
    }

    /// Whether the tag is among those: by its class, or by a pattern.
    pub fn is_among(&self, policy: &Policy, tags: &Tags) -> bool {
        let classes = built_in(self.facts, &policy.classes);
        match tags {
            Tags::NotFloating => !self.floating,
            Tags::Listed { classes: listed, patterns } => {
                let by_class = classes.iter().any(|class| listed.built_in.contains(class))
                    || listed.own.iter().any(|own| self.matched.contains(own));
                // `latest` and the other floating names are let in by the name of their class alone.
                let by_name_only = [Class::Latest, Class::Floating];
                let is_built_in = by_name_only.iter().any(|class| classes.contains(*class));
                // An own class that took over such a name took over its rule as well.
                if is_built_in || by_name_only.iter().any(|class| self.has_own(policy, class.name())) {
                    by_name_only.iter().any(|class| classes.contains(*class) && listed.built_in.contains(*class))
                        || (!is_built_in && by_class)
                } else {
                    by_class || patterns.iter().any(|id| self.matched.contains(id))
                }
            }
        }
    }

    /// Whether it is a channel tag to this policy.
    pub fn is_channel(&self, policy: &Policy) -> bool {
        built_in(self.facts, &policy.classes).contains(Class::Channel) || self.has_own(policy, Class::Channel.name())
    }

    /// Whether the tag is of no class that any policy knows: it may move then, for all that is known.
    pub fn is_unknown(&self, policy: &Policy) -> bool {
        let own = policy.classes.list.len();
        built_in(self.facts, &policy.classes).is_empty() && !self.matched.iter().any(|id| *id < own)
    }

    /// Whether an own class of this name matches.
    fn has_own(&self, policy: &Policy, name: &str) -> bool {
        let own = &policy.classes.list;
        self.matched.iter().any(|&id| own.get(id).is_some_and(|class| class.name == name))
    }

    /// Whether the policy's `noExceptions` names one of its classes.
    pub fn never_excused(&self, policy: &Policy) -> bool {
        let classes = built_in(self.facts, &policy.classes);
        policy.no_exceptions.built_in.iter().any(|class| classes.contains(class))
            || policy.no_exceptions.own.iter().any(|own| self.matched.contains(own))
    }

    /// The tag as it was written.
    pub fn written(&self) -> String {
        printable(self.reference.tag().unwrap_or_default(), IMAGE_BYTES)
    }

    /// `latest is a floating tag`.
    fn describe(&self, policy: &Policy) -> String {
        if self.reference.tag_defaulted() {
            return "no tag is written, which means latest, a floating tag".to_owned();
        }
        if self.reference.tag().is_none() {
            return "only a digest is written".to_owned();
        }
        let tag = self.written();
        let own = self.matched.iter().find_map(|&id| policy.classes.list.get(id));
        let class = built_in(self.facts, &policy.classes).iter().next();
        match (own, class) {
            (Some(own), _) => format!("{tag} is a tag of class {}", own.name),
            (None, Some(Class::Latest | Class::Floating)) => format!("{tag} is a floating tag"),
            (None, Some(class)) => format!("{tag} is a {} tag", class.name()),
            (None, None) if self.floating => format!("{tag} is a floating tag"),
            (None, None) => format!("{tag} is a tag of no known class"),
        }
    }
}

/// Built-in classes, without those that the policy replaced.
pub(super) fn built_in(facts: &TagFacts<'_>, own: &OwnClasses) -> Classes {
    own.replaced.iter().fold(facts.classes, Classes::without)
}
