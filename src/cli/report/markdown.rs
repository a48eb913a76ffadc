//! A comment for a pull or merge request, never longer than one may be: counts, a table, and what to do folded away.
//!
//! What stems from a manifest stands in code spans, where no markup, link or mention is read; the rest is escaped
//! character by character.

use std::io::{self, Write};

use super::problem::{Problem, Rule, Run, Site};
use super::{Report, count, plain, shown};
use crate::policy::Level;

/// Characters of a comment on GitHub; counted in bytes here, of which there are no fewer. GitLab takes more.
const LIMIT: usize = 65_536;
/// Bytes that the table may take; what to do about its rows takes more than they do.
const TABLE: usize = 24_000;
/// Bytes kept for what stands at the end.
const END: usize = 400;
/// Bytes of the lines that say what was not judged.
const SUMMARY: usize = 4_000;

/// Writes the comment; the gravest first, so that what is left out is the mildest.
pub(super) fn write(report: &Report, run: &Run, out: &mut dyn Write) -> io::Result<()> {
    let tally = report.tally();
    let mut problems: Vec<&Problem> = run.failures.iter().chain(&run.problems).collect();
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.level));

    let mut text = format!(
        "## Tagwarden: {} denied, {} undecided, {}, {} audited\n\n",
        tally.deny,
        tally.unresolved,
        count(tally.warn, "warning"),
        tally.audit
    );
    let mut summary = plain::summary_text(report)?;
    cut(&mut summary, SUMMARY);
    summary.lines().for_each(|line| text.push_str(&format!("{}<br>\n", plain_text(line))));
    if problems.is_empty() {
        return finish(&text, out);
    }
    text.push_str("\n| | id | object | image | place | message |\n| --- | --- | --- | --- | --- | --- |\n");
    let rows = fill(&mut text, problems.iter().map(|problem| row(problem, run)), TABLE);
    left_out(&mut text, problems.len() - rows, "rows");
    text.push_str("\n<details><summary>What to do</summary>\n\n");
    let details = fill(&mut text, problems.iter().map(|problem| details(problem, run)), LIMIT - END);
    left_out(&mut text, problems.len() - details, "findings");
    text.push_str("\n</details>\n");
    finish(&text, out)
}

fn finish(text: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Adds pieces as long as the whole has at most `limit` bytes; how many were added.
fn fill(text: &mut String, pieces: impl Iterator<Item = String>, limit: usize) -> usize {
    let mut added = 0;
    for piece in pieces {
        if text.len() + piece.len() > limit {
            return added;
        }
        text.push_str(&piece);
        added += 1;
    }
    added
}

fn left_out(text: &mut String, number: usize, what: &str) {
    if number > 0 {
        text.push_str(&format!("\n{number} more {what} are left out here; the job's other reports have them.\n"));
    }
}

/// Cuts a text at a line's end.
fn cut(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    let end = text.floor_char_boundary(limit);
    let end = text[..end].rfind('\n').unwrap_or(end);
    text.truncate(end);
    text.push_str("\n...\n");
}

fn row(problem: &Problem, run: &Run) -> String {
    let level = match problem.level {
        Level::Error => ":x: error",
        Level::Warning => ":warning: warning",
        Level::Note => ":information_source: note",
    };
    let id = rule(problem, run).map_or_else(|| plain_text(&problem.id), |rule| format!("[{}]({})", rule.id, rule.uri));
    let cell = |text: &Option<String>| text.as_deref().map_or_else(String::new, code);
    format!(
        "| {level} | {id} | {} | {} | {} | {} |\n",
        cell(&problem.object),
        cell(&problem.about),
        cell(&problem.site.as_ref().map(place)),
        plain_text(&problem.message)
    )
}

fn rule<'r>(problem: &Problem, run: &'r Run) -> Option<&'r Rule> {
    run.rules.iter().find(|rule| rule.id == problem.id)
}

fn details(problem: &Problem, run: &Run) -> String {
    let place = problem.site.as_ref().map_or_else(String::new, |site| format!(" {}", code(&place(site))));
    let mut text = format!("**{}**{place} {}\n", plain_text(&problem.id), plain_text(&problem.message));
    if let Some(rule) = rule(problem, run) {
        text.push_str(&format!("- {}\n", plain_text(rule.help)));
    }
    problem.details().for_each(|line| text.push_str(&format!("- {}\n", code(line))));
    text.push('\n');
    text
}

fn place(site: &Site) -> String {
    match site.region {
        Some(region) => format!("{}:{}", site.file, region.line),
        None => site.file.clone(),
    }
}

/// A code span, in a table or outside of one.
pub(in crate::cli) fn code(text: &str) -> String {
    let text = shown(text);
    // A bar ends a cell even in code, unless an odd number of backslashes is before it.
    let mut escaped = String::new();
    let mut backslashes = 0;
    for c in text.chars() {
        if c == '|' {
            escaped.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        escaped.push(c);
    }
    let longest = escaped.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A backtick would belong to the fence; of a blank at each end one is taken off again.
    let meets = |c| matches!(c, Some('`' | ' ') | None);
    let pad = if meets(escaped.chars().next()) || meets(escaped.chars().last()) { " " } else { "" };
    format!("{fence}{pad}{escaped}{pad}{fence}")
}

/// Text without any markup, link, mention or reference in it.
pub(in crate::cli) fn plain_text(text: &str) -> String {
    let mut escaped = String::new();
    let mut before = ' ';
    for c in shown(text).chars() {
        match c {
            // Hosts look for names and numbers after these when the markup was read already.
            '@' | '#' | '!' | '~' | '$' | '%' | '^' => escaped.push_str(&format!("&#{};\u{200b}", u32::from(c))),
            // Without its dot, `www.` is none that makes a link.
            '.' if before.eq_ignore_ascii_case(&'w') => escaped.push_str("&#46;"),
            ' ' | ',' | ';' | '-' | '(' | ')' | '/' | '\'' | '"' | '=' | '+' | '?' | '.' | '{' | '}' => escaped.push(c),
            c if c.is_ascii_punctuation() => escaped.push_str(&format!("&#{};", u32::from(c))),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_span_is_never_left() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code("a|b\\|c"), "`a\\|b\\\\\\|c`");
        assert_eq!(code("a\nb"), "`a\\nb`");
    }

    #[test]
    fn text_has_no_markup() {
        assert_eq!(plain_text("a <b> [c](d) *e* www.f.com"), "a &#60;b&#62; &#91;c&#93;(d) &#42;e&#42; www&#46;f.com");
        assert_eq!(plain_text("@acme/team #12"), "&#64;\u{200b}acme/team &#35;\u{200b}12");
        assert_eq!(plain_text("https://x|y"), "https&#58;//x&#124;y");
    }

    #[test]
    fn what_is_cut_ends_with_a_line() {
        let mut text = "one\ntwo\nthree\n".to_owned();
        cut(&mut text, 9);
        assert_eq!(text, "one\ntwo\n...\n");
    }
}
