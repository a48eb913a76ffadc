//! Tag classes of a policy: those that nothing uses (TW804), and what their patterns match.

use super::patterns::Patterns;
use super::{Lint, LintCode};
use crate::image::Class;
use crate::policy::file::SameDigestAs;

pub(super) fn report(patterns: &mut Patterns, lint: &mut Lint<'_>) {
    let classes = lint.spec().tag_classes.iter().flat_map(|table| &table.0);
    for (index, (name, class)) in classes.enumerate() {
        if !is_used(lint, index, &name.value) {
            let warning =
                lint.warn(LintCode::Tw804, &name.span, format!("the tag class '{}' is never used", name.value));
            warning.label = Some("no rule names it, and its tags do not float".to_owned());
            let help = "name it in 'tags', 'sameDigestAs' or 'noExceptions', say 'floating: true' if its tags move, or take it out";
            warning.help.push(help.to_owned());
            continue;
        }
        patterns.report(&class.pattern, lint);
    }
}

/// Whether a class makes a difference: something names it, its tags float, or it stands in for a built-in class that
/// counts without being named.
fn is_used(lint: &Lint<'_>, index: usize, name: &str) -> bool {
    let spec = lint.spec();
    let by_tags = || spec.rules.iter().filter_map(|rule| rule.tags.as_ref()).flat_map(|tags| &tags.value);
    let by_channels = || {
        let channels = spec.rules.iter().filter_map(|rule| rule.channel.as_ref());
        channels.flat_map(|channel| match &channel.value.same_digest_as {
            Some(SameDigestAs::Classes(list)) => list.value.as_slice(),
            _ => &[],
        })
    };
    let by_exceptions = || spec.no_exceptions.iter().flatten();
    let is_named = by_tags().chain(by_channels()).chain(by_exceptions()).any(|text| text.value == name);
    let class = &lint.policy.classes.list[index];
    let floats = class.floating || Class::from_name(name).is_some_and(Class::is_floating);
    let approves = || {
        let compared = lint.policy.rules.iter().filter_map(|rule| rule.channel.compare.as_ref());
        compared.into_iter().any(|compare| compare.classes.own.contains(&index))
    };
    // Builds of the usual classes approve channels without being named; a class of another name does only if it is.
    is_named || floats || (Class::from_name(name).is_some() && approves())
}
