//! A line for each finding, in columns.
//!
//! On a terminal cells are broken to its width; in a pipe lines are as long as they are, so that they can be searched and
//! cut.

use std::io::{self, Write};

use super::{Located, Report, plain, shown};
use crate::cli::Screen;
use crate::document::Color;
use crate::policy::Level;

const HEADINGS: [&str; 6] = ["LEVEL", "ID", "OBJECT", "CONTAINER", "IMAGE", "MESSAGE"];
/// Columns that a cell is not made narrower than; what may never be broken has none to give.
const NARROWEST: [usize; 6] = [usize::MAX, usize::MAX, 16, 9, 24, 24];
/// Between two columns.
const GAP: usize = 2;

/// Writes the findings and the summary.
pub(super) fn write(report: &Report, screen: Screen, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; 6]> = report.findings.iter().map(row).collect();
    if !rows.is_empty() {
        let widths = widths(&rows, screen.width);
        line(&HEADINGS.map(str::to_owned), widths, |_, text| bold(text, screen.color), out)?;
        for (row, located) in rows.iter().zip(&report.findings) {
            let level = located.finding.level;
            let paint =
                |column, text: &str| if column == 0 { colored(text, level, screen.color) } else { text.to_owned() };
            line(row, widths, paint, out)?;
        }
        writeln!(out)?;
    }
    plain::summary(report, out)?;
    out.flush()
}

fn row(located: &Located) -> [String; 6] {
    let finding = &located.finding;
    let subject = located.subject.as_ref();
    [
        finding.level.name().to_owned(),
        finding.id.code().to_owned(),
        located.object.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        subject
            .and_then(|subject| subject.container.as_deref())
            .map_or_else(|| "-".to_owned(), |name| shown(name).into_owned()),
        subject.map_or_else(|| "-".to_owned(), |subject| shown(&subject.image).into_owned()),
        shown(&finding.message).into_owned(),
    ]
}

/// The width of each column: that of its widest cell, the widest ones narrowed until all fit the terminal.
fn widths(rows: &[[String; 6]], terminal: Option<usize>) -> [usize; 6] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let Some(terminal) = terminal else { return widths };
    let available = terminal.saturating_sub(GAP * (widths.len() - 1));
    while widths.iter().sum::<usize>() > available {
        let can_give = |&column: &usize| widths[column] > NARROWEST[column];
        let Some(widest) = (0..widths.len()).filter(can_give).max_by_key(|&column| widths[column]) else { break };
        widths[widest] -= 1;
    }
    widths
}

/// One row, on as many lines as its highest cell has.
fn line(
    cells: &[String; 6],
    widths: [usize; 6],
    paint: impl Fn(usize, &str) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    let broken: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| pieces(cell, width)).collect();
    let height = broken.iter().map(Vec::len).max().unwrap_or_default();
    for number in 0..height {
        let mut text = String::new();
        // Blanks that nothing follows are not written.
        let mut blanks = 0;
        for (column, (pieces, width)) in broken.iter().zip(widths).enumerate() {
            let piece = pieces.get(number).map_or("", String::as_str);
            if !piece.is_empty() {
                text.extend(std::iter::repeat_n(' ', blanks));
                text.push_str(&paint(column, piece));
                blanks = 0;
            }
            blanks += width.saturating_sub(piece.chars().count()) + GAP;
        }
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// A text in pieces of at most `width` characters: broken at a space where there is one, else behind what parts the
/// names in an image, else anywhere.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let space = rest[..=width].iter().rposition(|&c| c == ' ').filter(|&at| at > 0);
        let part = rest[..width].iter().rposition(|c| matches!(c, '/' | ':' | '@'));
        let (at, skip) = match (space, part) {
            (Some(at), _) => (at, 1),
            (None, Some(at)) => (at + 1, 0),
            (None, None) => (width, 0),
        };
        pieces.push(rest[..at].iter().collect());
        rest.drain(..at + skip);
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

/// The colours of diagnostics.
fn colored(text: &str, level: Level, color: Color) -> String {
    let code = match level {
        Level::Error => 91,
        Level::Warning => 33,
        Level::Note => 92,
    };
    match color {
        Color::Never => text.to_owned(),
        Color::Always => format!("\u{1b}[1m\u{1b}[{code}m{text}\u{1b}[0m"),
    }
}

fn bold(text: &str, color: Color) -> String {
    match color {
        Color::Never => text.to_owned(),
        Color::Always => format!("\u{1b}[1m{text}\u{1b}[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: &[[&str; 6]], terminal: Option<usize>) -> String {
        let rows: Vec<_> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        let widths = widths(&rows, terminal);
        let mut out = Vec::new();
        line(&HEADINGS.map(str::to_owned), widths, |_, text| text.to_owned(), &mut out).unwrap();
        rows.iter().for_each(|row| line(row, widths, |_, text| text.to_owned(), &mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    const ROWS: [[&str; 6]; 2] = [
        [
            "error",
            "TW120",
            "Deployment shop-prod/checkout",
            "api",
            "registry.example.com/acme/api:latest",
            "latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)",
        ],
        ["note", "TW198", "Pod a/b", "-", "-", "no policy covers the namespace a"],
    ];

    #[test]
    fn in_a_pipe_a_finding_is_a_line() {
        insta::assert_snapshot!(printed(&ROWS, None), @r"
        LEVEL  ID     OBJECT                         CONTAINER  IMAGE                                 MESSAGE
        error  TW120  Deployment shop-prod/checkout  api        registry.example.com/acme/api:latest  latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
        note   TW198  Pod a/b                        -          -                                     no policy covers the namespace a
        ");
    }

    #[test]
    fn on_a_terminal_cells_are_broken_to_its_width() {
        let text = printed(&ROWS, Some(100));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text, @r"
        LEVEL  ID     OBJECT                   CONTAINER  IMAGE                     MESSAGE
        error  TW120  Deployment               api        registry.example.com/     latest is a floating
                      shop-prod/checkout                  acme/api:latest           tag; rule first-party
                                                                                    accepts release
                                                                                    (v1.2.3), commit (7-40
                                                                                    hex)
        note   TW198  Pod a/b                  -          -                         no policy covers the
                                                                                    namespace a
        ");
    }

    #[test]
    fn nothing_is_lost_however_narrow_the_terminal_is() {
        let text = printed(&ROWS, Some(1));
        for word in ["error", "TW120", "shop-prod", "floating", "rule"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(pieces("abc de", 4), ["abc", "de"]);
        assert_eq!(pieces("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(pieces(" abc", 3), [" ab", "c"]);
    }
}
