//! The counts that were written down, and what has become of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// By how many percent a count may differ. The seeds of hash maps and the C library's own version move a count by less
/// than one.
const TOLERANCE: u64 = 5;

/// Instructions of one call, by the name of what is called.
pub struct Baseline(BTreeMap<String, u64>);

/// What a comparison came to.
pub struct Compared {
    /// A line for each count, and below them what to do.
    pub text: String,
    /// No count has grown, and the names are those of the baseline.
    pub passes: bool,
}

impl From<Vec<(String, u64)>> for Baseline {
    fn from(counts: Vec<(String, u64)>) -> Self {
        Baseline(counts.into_iter().collect())
    }
}

impl Baseline {
    /// # Errors
    /// It is no JSON object of numbers.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Baseline)
    }

    /// As it is kept: one line for each count, in the order of the names.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(name, count)| format!("  {name:?}: {count}")).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Compares what was counted now.
    pub fn compare(&self, counts: &[(String, u64)]) -> Compared {
        let (mut text, mut worse, mut better) = (String::new(), false, false);
        let _ = writeln!(text, "{:<44} {:>12} {:>12}", "instructions of one call", "baseline", "now");
        for (name, now) in counts {
            let Some(before) = self.0.get(name) else {
                let _ = writeln!(text, "{name:<44} {:>12} {now:>12}  UNKNOWN: the baseline does not have it", "");
                worse = true;
                continue;
            };
            let change = (*now as f64 / *before as f64 - 1.0) * 100.0;
            let (grown, shrunk) = (now * 100 > before * (100 + TOLERANCE), now * 100 < before * (100 - TOLERANCE));
            let verdict = match (grown, shrunk) {
                (true, _) => "  GROWN",
                (_, true) => "  less",
                _ => "",
            };
            let _ = writeln!(text, "{name:<44} {before:>12} {now:>12}  {change:+.1} %{verdict}");
            (worse, better) = (worse | grown, better | shrunk);
        }
        let counted: BTreeSet<&str> = counts.iter().map(|(name, _)| name.as_str()).collect();
        for (name, before) in self.0.iter().filter(|(name, _)| !counted.contains(name.as_str())) {
            let _ = writeln!(text, "{name:<44} {before:>12} {:>12}  MISSING: it is not counted any more", "");
            worse = true;
        }
        text.push_str(match (worse, better) {
            (true, _) => {
                "\na count has grown by more than 5 %, or is unknown, or missing: mend what made it so; where that is meant,\n\
                 `UPDATE_BASELINE=1 make bench-counts` writes benches/baseline.json, to be committed with the reason"
            }
            (false, true) => {
                "\na count is more than 5 % below the baseline, which can be lowered: `UPDATE_BASELINE=1 make bench-counts`\n\
                 writes benches/baseline.json, to be committed with the change that made it so"
            }
            (false, false) => "\nall counts are those of the baseline, give or take 5 %",
        });
        Compared { text, passes: !worse }
    }
}
