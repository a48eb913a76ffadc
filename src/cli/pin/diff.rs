//! The changes to a file as a unified diff, as `patch -p0` takes it.
//!
//! The edits are known, so nothing has to be compared.

use std::io::{self, Write};

use crate::cli::report::shown;
use crate::document::{Color, Edits, Span};

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// Some lines of the old text, by number from 0, and the lines that take their place.
struct Change<'t> {
    old: std::ops::Range<usize>,
    new: Vec<String>,
    text: &'t str,
}

/// Writes the diff of one file.
pub(super) fn write(name: &str, text: &str, edits: &Edits, color: Color, out: &mut dyn Write) -> io::Result<()> {
    let lines = lines_of(text);
    let changes = changes(text, &lines, edits);
    let paint = |code: &'static str| if color == Color::Always { (code, "\x1b[0m") } else { ("", "") };
    let (bold, plain) = paint("\x1b[1m");
    let name = shown(name);
    writeln!(out, "{bold}--- {name}{plain}\n{bold}+++ {name}{plain}")?;
    let mut shift = 0_isize;
    let mut at = 0;
    while at < changes.len() {
        let mut last = at;
        while changes.get(last + 1).is_some_and(|next| next.old.start <= changes[last].old.end + 2 * CONTEXT) {
            last += 1;
        }
        let hunk = &changes[at..=last];
        let from = hunk[0].old.start.saturating_sub(CONTEXT);
        let to = (changes[last].old.end + CONTEXT).min(lines.len());
        let grown: isize = hunk.iter().map(|change| change.new.len() as isize - change.old.len() as isize).sum();
        let (cyan, plain) = paint("\x1b[36m");
        let new_from = from.saturating_add_signed(shift) + 1;
        let new_count = (to - from).saturating_add_signed(grown);
        writeln!(out, "{cyan}@@ -{},{} +{new_from},{new_count} @@{plain}", from + 1, to - from)?;
        let mut line = from;
        for change in hunk {
            same(&lines[line..change.old.start], text, out)?;
            let (red, plain) = paint("\x1b[31m");
            for old in &lines[change.old.clone()] {
                show('-', &change.text[old.clone()], red, plain, out)?;
            }
            let (green, plain) = paint("\x1b[32m");
            for new in &change.new {
                show('+', new, green, plain, out)?;
            }
            line = change.old.end;
        }
        same(&lines[line..to], text, out)?;
        shift += grown;
        at = last + 1;
    }
    Ok(())
}

fn same(lines: &[Span], text: &str, out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| show(' ', &text[line.clone()], "", "", out))
}

/// One line. What could act on a terminal is escaped, but for tabs and the end of a line as it is.
fn show(sign: char, line: &str, begin: &str, end: &str, out: &mut dyn Write) -> io::Result<()> {
    let body = line.trim_end_matches(['\n', '\r']);
    let (line_end, more) = match &line[body.len()..] {
        "" => ("\n", "\\ No newline at end of file\n"),
        line_end => (line_end, ""),
    };
    let body: Vec<_> = body.split('\t').map(shown).collect();
    write!(out, "{begin}{sign}{}{end}{line_end}{more}", body.join("\t"))
}

/// The lines of a text, each with its end.
fn lines_of(text: &str) -> Vec<Span> {
    let mut at = 0;
    let line = |line: &str| {
        at += line.len();
        at - line.len()..at
    };
    text.split_inclusive('\n').map(line).collect()
}

/// The lines that edits touch, without those of them that stay as they are.
fn changes<'t>(text: &'t str, lines: &[Span], edits: &Edits) -> Vec<Change<'t>> {
    let number = |offset: usize| lines.partition_point(|line| line.end <= offset).min(lines.len().saturating_sub(1));
    let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
    for edit in edits.as_slice() {
        let block = number(edit.span.start)..number(edit.span.end) + 1;
        match blocks.last_mut() {
            Some(last) if block.start < last.end => last.end = last.end.max(block.end),
            _ => blocks.push(block),
        }
    }
    let change = |block: std::ops::Range<usize>| {
        let part = lines[block.start].start..lines[block.end - 1].end;
        let new = edits.apply_within(text, &part);
        let mut new: Vec<String> = new.split_inclusive('\n').map(str::to_owned).collect();
        let mut old = block;
        // A line that an edit only goes behind is no change of its own.
        while !old.is_empty() && new.first().is_some_and(|line| *line == text[lines[old.start].clone()]) {
            old.start += 1;
            new.remove(0);
        }
        Change { old, new, text }
    };
    blocks.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Edit;

    fn diff(text: &str, edits: &[(usize, &str)], color: Color) -> String {
        let mut all = Edits::default();
        edits.iter().for_each(|(at, new)| assert!(all.add(Edit { span: *at..*at, text: (*new).to_owned() })));
        let mut out = Vec::new();
        write("f", text, &all, color, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn changes_that_are_near_share_a_hunk() {
        let text = (0..20).map(|line| format!("{line:02}\n")).collect::<String>();
        let told = diff(&text, &[(2, "x"), (17, "y"), (47, "z")], Color::Never);
        let expected = "--- f\n+++ f\n@@ -1,9 +1,9 @@\n-00\n+00x\n 01\n 02\n 03\n 04\n-05\n+05y\n 06\n 07\n 08\n\
                        @@ -13,7 +13,7 @@\n 12\n 13\n 14\n-15\n+15z\n 16\n 17\n 18\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_line_that_is_put_in_moves_what_follows() {
        let text = (0..20).map(|line| format!("{line:02}\n")).collect::<String>();
        let told = diff(&text, &[(2, "\nnew"), (47, "z")], Color::Never);
        let expected = "--- f\n+++ f\n@@ -1,4 +1,5 @@\n 00\n+new\n 01\n 02\n 03\n@@ -13,7 +14,7 @@\n 12\n 13\n 14\n-15\n+15z\n 16\n 17\n 18\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn ends_of_lines_and_of_the_file_are_kept_and_nothing_acts_on_a_terminal() {
        assert_eq!(diff("a\r\n", &[(1, "x")], Color::Never), "--- f\n+++ f\n@@ -1,1 +1,1 @@\n-a\r\n+ax\r\n");
        let told = diff("\ta\u{1b}[2J", &[(6, "x")], Color::Never);
        let none = "\\ No newline at end of file\n";
        assert_eq!(told, format!("--- f\n+++ f\n@@ -1,1 +1,1 @@\n-\ta\\u{{1b}}[2J\n{none}+\ta\\u{{1b}}[2Jx\n{none}"));
        let colored = diff("a\n", &[(1, "x")], Color::Always);
        assert!(colored.contains("\x1b[31m-a\x1b[0m\n\x1b[32m+ax\x1b[0m\n"), "{colored:?}");
    }
}
