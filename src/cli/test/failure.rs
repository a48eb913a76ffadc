//! A failed case told as a compiler tells an error: what was expected, where that is written, and how to see it again.

use std::path::Path;

use super::load::{Loaded, tidied};
use super::{Outcome, Report};
use crate::cli::files;
use crate::document::{Color, Diagnostic, Source, render};
use crate::policy::{Case, SeenFinding};

/// The whole text of a failure; none: the case passed.
pub(super) fn text(report: &Report, outcome: &Outcome, color: Color) -> Option<String> {
    let loaded = &report.files[outcome.file];
    let diagnostic = diagnostic(loaded, outcome)?;
    let mut text = render(&diagnostic, &loaded.text, color);
    let (red, green, end) = match color {
        Color::Never => ("", "", ""),
        Color::Always => ("\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"),
    };
    // Below the sign in front of the help, which stands behind the number of the line.
    let indent = " ".repeat(diagnostic.line.to_string().len() + 1);
    for difference in &outcome.differences {
        let (expected, seen) = (escaped(&difference.expected), escaped(&difference.seen));
        text.push_str(&format!("{indent}{red}- {}: {expected}{end}\n", difference.key));
        // Every message is told below, with what it belongs to.
        if difference.key != "message" {
            text.push_str(&format!("{indent}{green}+ {}: {seen}{end}\n", difference.key));
        }
    }
    for finding in &outcome.seen.findings {
        text.push_str(&format!("{indent}seen: {}\n", line(finding)));
    }
    Some(text)
}

/// What is wrong, at the first of the keys that expect something else.
pub(super) fn diagnostic(loaded: &Loaded, outcome: &Outcome) -> Option<Diagnostic> {
    let first = outcome.differences.first()?;
    let keys: Vec<&str> = outcome.differences.iter().map(|difference| difference.key).collect();
    let what = match first.key {
        "expect" => format!("expected {}, seen {}", first.expected, first.seen),
        _ => format!("{} not as expected", keys.join(", ")),
    };
    let label = match first.key {
        "message" => "no finding says this".to_owned(),
        _ => format!("seen: {}", escaped(&first.seen)),
    };
    let message = format!("{}: {what}", escaped(&outcome.name));
    let source = Source::new(&loaded.name, &loaded.text);
    let case = &loaded.file.cases[outcome.case];
    let diagnostic = source.error(first.span.clone(), message).label(label);
    let without = if loaded.file.has_settings { " (without the 'settings' of this file)" } else { "" };
    Some(diagnostic.help(format!("see every step{without}: {}", command(loaded, case))))
}

/// `TW120 tags, policy acme, rule first-party, mode enforce: latest is a floating tag`.
pub(super) fn line(finding: &SeenFinding) -> String {
    let policy = if finding.policy.is_empty() { String::new() } else { format!(", policy {}", finding.policy) };
    let rule = match &finding.rule {
        // A rule without a name is already called `rule 2`.
        Some(rule) if rule.starts_with("rule ") => format!(", {rule}"),
        Some(rule) => format!(", rule {rule}"),
        None => String::new(),
    };
    let exception = finding.exception.as_ref().map_or_else(String::new, |id| format!(", exception {id}"));
    let (id, check, mode) = (finding.id.code(), finding.check.name(), finding.mode.name());
    format!("{id} {check}{policy}{rule}{exception}, mode {mode}: {}", finding.message)
}

/// The command that shows how the verdict of a case comes about. Its clock is the machine's, and it knows no `settings`:
/// explain and check take those from a configuration file.
fn command(loaded: &Loaded, case: &Case) -> String {
    let verb = if case.image.is_some() { "explain" } else { "check" };
    let mut words = vec!["tagwarden".to_owned(), verb.to_owned()];
    let below = |path: &str| files::shown(&tidied(&loaded.folder.join(path)));
    let mut folders: Vec<String> = Vec::new();
    for policy in &loaded.file.policies {
        let path = loaded.folder.join(&policy.value);
        // The flag takes directories.
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")).to_owned() };
        let shown = files::shown(&tidied(&folder));
        let shown = if shown.is_empty() { ".".to_owned() } else { shown };
        if !folders.contains(&shown) {
            folders.push(shown);
        }
    }
    words.extend(folders.into_iter().flat_map(|folder| ["--policies".to_owned(), folder]));
    if let Some(config) = &loaded.file.config {
        words.extend(["--config".to_owned(), below(&config.value)]);
    }
    match loaded.file.has_registry() {
        true => words.extend(["--facts".to_owned(), loaded.name.clone()]),
        false => words.push("--offline".to_owned()),
    }
    if case.namespace.is_some() {
        words.extend(["--namespace".to_owned(), case.namespace().to_owned()]);
    }
    for (key, value) in loaded.file.labels_of(case.namespace()).into_iter().flatten() {
        words.extend(["--namespace-labels".to_owned(), format!("{key}={value}")]);
    }
    match (&case.image, &case.manifest) {
        (Some(image), _) => words.push(escaped(&image.value)),
        (None, Some(manifest)) => words.push(below(&manifest.value)),
        (None, None) => {}
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Text of a file of tests as a terminal may show it.
pub(super) fn escaped(text: &str) -> String {
    crate::cli::report::shown(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_for_a_shell_where_they_must_be() {
        assert_eq!(quoted("r.example.com/a:v1@sha256:0"), "r.example.com/a:v1@sha256:0");
        assert_eq!(quoted("a b$(c)"), "'a b$(c)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
