//! The coverage's threshold: a percentage, exact.

use std::str::FromStr;

use crate::cli::Exit;
use crate::policy::Coverage;

/// A percentage from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold(usize);

impl FromStr for Threshold {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%').unwrap_or(text).parse() {
            Ok(percent @ 0..=100) => Ok(Threshold(percent)),
            _ => Err("write a whole number from 0 to 100".to_owned()),
        }
    }
}

impl Threshold {
    /// Whether a coverage is below it.
    pub fn is_missed_by(self, coverage: &Coverage) -> bool {
        coverage.touched() * 100 < self.0 * coverage.total()
    }

    /// `80 %`.
    pub fn shown(self) -> String {
        format!("{} %", self.0)
    }
}

/// 1 where a threshold is missed.
pub(super) fn verdict(coverage: Option<&Coverage>, threshold: Option<Threshold>) -> Exit {
    match (coverage, threshold) {
        (Some(coverage), Some(threshold)) if threshold.is_missed_by(coverage) => Exit::Violation,
        _ => Exit::Clean,
    }
}

/// Of each thousand parts, how many are touched, rounded down: 999 are not all. Nothing to touch is all touched.
pub(super) fn permille(coverage: &Coverage) -> usize {
    (coverage.touched() * 1000).checked_div(coverage.total()).unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::Threshold;

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!("80".parse(), Ok(Threshold(80)));
        assert_eq!("100%".parse(), Ok(Threshold(100)));
        for bad in ["", "-1", "101", "9.5", "all"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
