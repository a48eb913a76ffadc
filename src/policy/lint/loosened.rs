//! Settings that let in more than they seem to: TW814 to TW817.

use super::images::{Images, shown};
use super::namespaces::Places;
use super::{Lint, LintCode};
use crate::policy::Check;
use crate::policy::file::{Mode, OnUnresolved, Pinned, SameDigestAs};

pub(super) fn report(images: &Images, places: &Places, lint: &mut Lint<'_>) {
    unmatched(images, places, lint);
    for (_, written, _) in lint.reachable(images) {
        let on_unresolved = written.on_unresolved.as_ref().filter(|value| value.value != OnUnresolved::Deny);
        if let Some(value) = on_unresolved {
            let what = format!("'onUnresolved: {}' lets in what could not be decided", value.value.name());
            let warning = lint.warn(LintCode::Tw815, &value.span, what);
            warning.label = Some("whoever slows the registry down skips what is asked of it".to_owned());
            warning.help.push(
                "write 'deny', or leave the key out; a registry that is down holds by its last answers".to_owned(),
            );
        }
        let Some(channel) = written.channel.as_ref().map(|channel| &channel.value) else { continue };
        if let Some(SameDigestAs::None(span)) = &channel.same_digest_as {
            let what = "'sameDigestAs: none' lets in any build under a channel's name";
            let warning = lint.warn(LintCode::Tw816, span, what);
            warning.label = Some("nobody asks which build a channel carries".to_owned());
            warning
                .help
                .push("name the classes whose builds may be promoted, [release] say, or leave the key out".to_owned());
        }
        if let Some(pinned) = channel.pinned.as_ref().filter(|pinned| pinned.value == Pinned::Approved) {
            let what = "'pinned: approved' lets in builds that a channel carried before";
            let warning = lint.warn(LintCode::Tw817, &pinned.span, what);
            warning.label =
                Some("any release of the repository passes as `env-x@digest`, also a withdrawn one".to_owned());
            warning
                .help
                .push("write 'current', or delete the release tags of builds that must not come back".to_owned());
        }
    }
}

/// `unmatched: allow` in a policy that enforces: the rules bind only those who use their registries.
fn unmatched(images: &Images, places: &Places, lint: &mut Lint<'_>) {
    let Some(written) = &lint.spec().unmatched else { return };
    if !lint.policy.allow_unmatched || places.strictest(lint, None, Check::Registry) < Mode::Enforce {
        return;
    }
    // Where the rules name every image, the key has no effect.
    let Some(example) = images.unmatched(lint) else { return };
    let witness = format!("`{}` is let in with any tag, because no rule names it", shown(example));
    let warning =
        lint.warn(LintCode::Tw814, &written.span, "'unmatched: allow' lets in every image that no rule names");
    warning.label = Some("in a policy that enforces".to_owned());
    warning.help.push(witness);
    warning.help.push(
        "leave the key out, or add a last rule with images: [\"**\"] that says what is asked of the others".to_owned(),
    );
}
