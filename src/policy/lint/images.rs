//! Which rule decides which images: rules that none reaches (TW801), globs that earlier ones shadow (TW802).

use super::{Lint, LintCode, listed};
use crate::document::Span;
use crate::image::{Cells, Domain, ImageGlob, Reference};
use crate::policy::file::Text;
use crate::policy::show::{IMAGE_BYTES, printable};

/// The image names that a policy's globs tell apart.
pub(super) struct Images {
    /// Under the globs of all rules, in their order, and then those of the exceptions.
    cells: Cells,
    /// For each rule whether some image reaches it, as far as is known; true where that is not decided.
    reached: Vec<bool>,
    /// For each glob of the rules the same.
    glob_reached: Vec<bool>,
}

/// Who decides about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decided<'c> {
    /// The rule; none: no rule names it.
    pub rule: Option<usize>,
    /// Such an image.
    pub example: &'c str,
}

/// Where the globs of the rules stand, by their ids.
fn globs<'l>(lint: &Lint<'l>) -> Vec<(usize, &'l Text)> {
    let rules = lint.spec().rules.iter().enumerate();
    rules.flat_map(|(rule, written)| written.images.value.iter().map(move |text| (rule, text))).collect()
}

impl Images {
    pub fn of(lint: &mut Lint<'_>) -> Self {
        let of_rules = globs(lint);
        let read: Vec<ImageGlob> = of_rules.iter().filter_map(|(_, text)| ImageGlob::parse(&text.value).ok()).collect();
        let of_exceptions = lint.policy.exceptions.globs.iter().map(|(_, glob)| glob);
        let all = || read.iter().chain(of_exceptions.clone());
        let patterns: Vec<String> = all().map(ImageGlob::to_regex).collect();
        let samples: Vec<String> = all().map(ImageGlob::sample).collect();
        let cells = Cells::of(Domain::Names, &patterns, &samples);
        let mut glob_reached = vec![!cells.complete; of_rules.len()];
        for cell in &cells.list {
            if let Some(reached) = cell.matched.first().and_then(|&first| glob_reached.get_mut(first)) {
                *reached = true;
            }
        }
        if !cells.complete {
            lint.undecided(&lint.written.metadata.name.span, "which rules, globs and exceptions an image can reach");
        }
        let mut reached = vec![false; lint.policy.rules.len()];
        for ((rule, _), glob_reached) in of_rules.iter().zip(&glob_reached) {
            reached[*rule] |= glob_reached;
        }
        Images { cells, reached, glob_reached }
    }

    /// Whether an image reaches a rule, or that is not decided.
    pub fn reaches(&self, rule: usize) -> bool {
        self.reached.get(rule).copied().unwrap_or(true)
    }

    /// Whether all image names there are were looked at.
    pub fn complete(&self) -> bool {
        self.cells.complete
    }

    /// An image that no rule names, if there is one.
    pub fn unmatched(&self, lint: &Lint<'_>) -> Option<&str> {
        const USUAL: &str = "docker.io/library/nginx";
        let matches = |name: &str| lint.policy.images.first_match(name).is_some();
        let found = self.cells.list.iter().find(|cell| !matches(&cell.example))?;
        Some(if matches(USUAL) { &found.example } else { USUAL })
    }

    /// Who decides about the images that a glob of an exception (by its place among all of the policy) names.
    pub fn deciders<'c>(&'c self, lint: &'c Lint<'_>, glob: usize) -> impl Iterator<Item = Decided<'c>> {
        let rules = self.glob_reached.len();
        self.cells.with(rules + glob).map(move |cell| {
            let first = cell.matched.first().filter(|id| **id < rules);
            Decided { rule: first.map(|id| lint.policy.rule_of_glob[*id]), example: &cell.example }
        })
    }

    pub fn report(&self, lint: &mut Lint<'_>) {
        let globs = globs(lint);
        for (rule, written) in lint.spec().rules.iter().enumerate().filter(|(rule, _)| !self.reaches(*rule)) {
            let ids: Vec<usize> = (0..globs.len()).filter(|id| globs[*id].0 == rule).collect();
            let Some(shadow) = ids.iter().find_map(|id| self.shadow(lint, &globs, *id)) else { continue };
            let mut by: Vec<usize> = ids.iter().flat_map(|id| self.covers(*id)).map(|id| globs[id].0).collect();
            by.sort_unstable();
            by.dedup();
            let shown: Vec<&str> = by.iter().map(|rule| lint.policy.rules[*rule].shown.as_str()).collect();
            let decides = if shown.len() == 1 { "decides" } else { "decide" };
            let label = format!("{} {decides} every image it names", listed(&shown));
            let span: &Span = written.name.as_ref().map_or(&written.images.span, |name| &name.span);
            let message = format!("{} can never be reached", lint.policy.rules[rule].shown);
            let help = [shadow.witness, format!("put it above {}, or take it out", listed(&shown))];
            let warning = lint.warn(LintCode::Tw801, span, message);
            warning.label = Some(label);
            warning.help.extend(help);
        }
        for (id, (rule, text)) in globs.iter().enumerate() {
            if self.glob_reached[id] || !self.reaches(*rule) {
                continue;
            }
            let Some(shadow) = self.shadow(lint, &globs, id) else { continue };
            let message = format!("the glob \"{}\" can never decide", text.value);
            let warning = lint.warn(LintCode::Tw802, &text.span, message);
            warning.label = Some(format!("{} above it matches all of it", shadow.by));
            warning.help.push(shadow.witness);
            warning.help.push("take it out, or put it above".to_owned());
        }
    }

    /// Globs that are first where this one matches.
    fn covers(&self, id: usize) -> Vec<usize> {
        let mut first: Vec<usize> = self.cells.with(id).filter_map(|cell| cell.matched.first().copied()).collect();
        first.sort_unstable();
        first.dedup();
        first
    }

    /// What shadows a glob that is never first; none: it matches nothing at all.
    fn shadow(&self, lint: &Lint<'_>, globs: &[(usize, &Text)], id: usize) -> Option<Shadow> {
        let covers = self.covers(id);
        let sample = ImageGlob::parse(&globs[id].1.value).ok()?.sample();
        let example = match is_canonical(&sample) {
            true => sample,
            false => self.cells.with(id).next()?.example.clone(),
        };
        let first = lint.policy.images.first_match(&example)?;
        let owner = &lint.policy.rules[globs[first].0].shown;
        let witness = match globs[first].0 == globs[id].0 {
            true => format!("`{}` is already decided by \"{}\"", shown(&example), globs[first].1.value),
            false => format!("`{}` is already decided by {owner}, glob \"{}\"", shown(&example), globs[first].1.value),
        };
        let by: Vec<String> = covers.iter().map(|cover| format!("\"{}\"", globs[*cover].1.value)).collect();
        Some(Shadow { by: listed(&by), witness })
    }
}

struct Shadow {
    /// The globs, for texts.
    by: String,
    /// A case.
    witness: String,
}

/// Whether an image has this name as it stands.
fn is_canonical(name: &str) -> bool {
    let mut canonical = String::new();
    if let Ok(reference) = Reference::parse(name) {
        reference.write_name(&mut canonical);
    }
    canonical == name
}

/// An image name for texts.
pub(super) fn shown(name: &str) -> String {
    printable(name, IMAGE_BYTES)
}
