//! What works in a policy but is probably not meant, beside all that is wrong: the analysis behind `tagwarden lint`.
//!
//! Questions of overlap are decided, not guessed. `image::Cells` lists the image names, tags and namespaces that the
//! policy's globs and patterns tell apart, with an example of each; what becomes of an example is then asked of the same
//! code that judges in admission, and every text of a cell fares alike. So each warning can show a case.

mod classes;
mod code;
mod exceptions;
mod images;
mod loosened;
mod namespaces;
mod patterns;
mod tags;

pub use code::LintCode;

use super::Seconds;
use super::compile::{Policy, Rule, Settings, compile_file, no_policy};
use super::file::{self, PolicyDocument};
use crate::document::{Diagnostic, Severity, Source, Span};
use images::Images;
use namespaces::Places;
use patterns::Patterns;

/// What a set of policy files comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linted {
    /// How many policies have no error.
    pub policies: usize,
    /// Every error, in the order of the files; then warnings, and notes on what was not decided, in the order of the
    /// policies and of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and compiles all files as one set, as [`super::PolicySet::compile`] does, and looks at every policy that
/// compiles; the others do not keep it from that. `now` decides which exceptions have expired.
#[must_use]
pub fn lint<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)], settings: &Settings, now: Seconds) -> Linted {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source::new(name.as_ref(), text.as_ref())).collect();
    let (mut compiled, mut source_of, mut diagnostics) = (Vec::new(), Vec::new(), Vec::new());
    for source in &sources {
        compile_file(source, settings, &mut compiled, &mut diagnostics);
        source_of.resize(compiled.len(), source);
    }
    if compiled.is_empty() && diagnostics.is_empty() && !settings.allow_empty {
        diagnostics.push(no_policy(files.first().map(|(name, _)| name.as_ref())));
    }
    let sound: Vec<_> = compiled.iter().zip(&source_of).filter(|(one, _)| one.sound).collect();
    let all: Vec<&Policy> = sound.iter().map(|(one, _)| &one.policy).collect();
    let mut patterns = Patterns::default();
    for (one, source) in &sound {
        let mut lint =
            Lint { source, written: &one.written, policy: &one.policy, all: &all, settings, now, found: Vec::new() };
        lint.look(&mut patterns);
        lint.found.sort_by_key(|found| found.span.as_ref().map_or(0, |span| span.start));
        diagnostics.append(&mut lint.found);
    }
    Linted { policies: sound.len(), diagnostics }
}

/// One policy under the lens, and what was found.
struct Lint<'l> {
    source: &'l Source<'l>,
    written: &'l PolicyDocument,
    policy: &'l Policy,
    /// All policies of the set: whether a tag floats is asked of each.
    all: &'l [&'l Policy],
    settings: &'l Settings,
    now: Seconds,
    found: Vec<Diagnostic>,
}

impl<'l> Lint<'l> {
    fn look(&mut self, patterns: &mut Patterns) {
        let images = Images::of(self);
        let places = Places::of(self);
        images.report(self);
        // One cause, one warning: where the policy is never in force, nothing in it is.
        if places.report(self) {
            places.report_overrides(&images, self);
        }
        tags::report(&images, &places, patterns, self);
        classes::report(patterns, self);
        exceptions::report(&images, &places, self);
        loosened::report(&images, &places, self);
    }

    fn spec(&self) -> &'l file::Spec {
        &self.written.spec
    }

    /// Rules as written and as compiled, those left out that no image reaches: what else is odd about them matters not.
    fn reachable<'a>(
        &self,
        images: &'a Images,
    ) -> impl Iterator<Item = (usize, &'l file::Rule, &'l Rule)> + use<'a, 'l> {
        let rules = self.spec().rules.iter().zip(&self.policy.rules).enumerate();
        rules.filter(|(index, _)| images.reaches(*index)).map(|(index, (written, rule))| (index, written, rule))
    }

    /// Notes a warning and hands it back for a label and help.
    fn warn(&mut self, code: LintCode, span: &Span, message: impl Into<String>) -> &mut Diagnostic {
        self.note(Severity::Warning, code, span, message)
    }

    /// Notes that something was not decided.
    fn undecided(&mut self, span: &Span, what: &str) {
        let note = self.note(Severity::Note, LintCode::Tw800, span, format!("not decided: {what}"));
        note.label = Some("too large an automaton".to_owned());
        note.help.push("fewer `*` and smaller counts make it smaller".to_owned());
    }

    fn note(&mut self, severity: Severity, code: LintCode, span: &Span, message: impl Into<String>) -> &mut Diagnostic {
        let mut diagnostic = self.source.diagnostic(severity, span.clone(), message);
        diagnostic.code = Some(code.code().to_owned());
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }
}

/// `a`, `a and b`, `a, b and c`, `a, b and 3 more`.
fn listed<S: AsRef<str>>(items: &[S]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match shown.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] if shown.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        more => format!("{} and {} more", more[..SHOWN - 1].join(", "), more.len() - SHOWN + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn lists_read_as_sentences_do() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b and 2 more");
    }
}
