//! Tables as aligned text that is Markdown as well, and numbers as people read them.

use crate::measure::{Group, Spread};
use crate::say;

/// Rows of cells under a head; the first column is text, the others are numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
    columns_of_text: usize,
}

impl Table {
    pub fn new(head: &[&str], columns_of_text: usize) -> Self {
        Table { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], columns_of_text }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Says it all, and an empty line.
    pub fn say(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0).max(4))
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                let text = column < self.columns_of_text;
                if text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            say(&format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, &width)| match column < self.columns_of_text {
                    true => "-".repeat(width),
                    false => format!("{}:", "-".repeat(width - 1)),
                });
                say(&format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
            }
        }
        say("");
    }
}

/// All groups as one table: a row for each member.
pub fn of_groups(groups: &[Group<'_>]) -> Table {
    let head = [
        "review",
        "protocol",
        "server",
        "reviews/s",
        "beside",
        "least",
        "median",
        "greatest",
        "p50",
        "p99",
        "CPU s/10k",
        "CPU beside",
        "busy",
        "MiB",
    ];
    let mut table = Table::new(&head, 3);
    for group in groups {
        for member in &group.members {
            let base = member.against.and_then(|base| group.members.get(base));
            let ratio = group.ratio(member, |run| run.rate);
            let part = |value: fn(Spread) -> f64| ratio.map(|ratio| format!("{:.2}", value(ratio)));
            let cpu = group.ratio(member, |run| run.cpu).map(|ratio| format!("{:.2}", ratio.median));
            let last = member.runs.last().map_or(0, |run| run.resident);
            table.row([
                group.title.clone(),
                group.protocol.name().to_owned(),
                member.name.clone(),
                whole(member.median(|run| run.rate)),
                base.map_or_else(|| "-".to_owned(), |base| base.name.clone()),
                or_dash(part(|ratio| ratio.least)),
                or_dash(part(|ratio| ratio.median)),
                or_dash(part(|ratio| ratio.greatest)),
                time(member.median(|run| run.p50)),
                time(member.median(|run| run.p99)),
                format!("{:.3}", member.median(|run| run.cpu)),
                or_dash(cpu),
                format!("{:.2}", member.median(|run| run.busy)),
                mebibytes(last),
            ]);
        }
    }
    table
}

pub fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

/// A number without a fraction.
pub fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// Seconds as microseconds or milliseconds.
pub fn time(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.0} µs", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}

/// KiB as MiB.
pub fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{}", kibibytes / 1024, kibibytes % 1024 * 10 / 1024)
}
