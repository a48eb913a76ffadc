//! A table of texts, for people.

use std::io::{self, Write};

/// Columns up to which a cell is filled up with blanks; a longer one moves the rest of its row alone.
const WIDEST: usize = 100;

/// Writes rows under each other, two blanks between their columns. The last column has no blanks behind it.
///
/// # Errors
/// Those of `out`.
pub(in crate::cli) fn columns<const N: usize>(rows: &[[String; N]], out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            line.push_str(cell);
            if at + 1 < N {
                line.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_stand_under_each_other_and_a_long_cell_moves_its_own_row() {
        let long = "x".repeat(70_000);
        let rows = [["a", "b", "c"], ["four", &long, "c"], ["\u{e9}", "two", &long]];
        let mut out = Vec::new();
        columns(&rows.map(|row| row.map(str::to_owned)), &mut out).unwrap();
        let text = format!("a     b    c\nfour  {long}  c\n\u{e9}     two  {long}\n");
        assert!(String::from_utf8(out).unwrap() == text);
    }
}
