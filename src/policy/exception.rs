//! Exceptions: named violations that are let in until a day, by one evaluator and one clock.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{Check, Seconds};
use crate::image::{GlobSet, ImageGlob, NameGlob, Reference};

/// A compiled exception.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    pub id: String,
    pub namespaces: Vec<NameGlob>,
    pub checks: Vec<Check>,
    /// As written, for texts.
    pub expires: String,
    /// The first second at which it does not exist any more.
    pub end: Seconds,
}

/// All exceptions of one policy; their globs are one automaton.
#[derive(Clone, Debug)]
pub(crate) struct Exceptions {
    pub list: Vec<Exception>,
    /// Each glob with the exception it belongs to; the index is the pattern's id.
    pub globs: Vec<(usize, ImageGlob)>,
    pub automaton: GlobSet,
}

impl Exceptions {
    /// The first exception that excuses a violation of `check` by this image in this namespace at this time.
    ///
    /// `name` is the canonical `registry/repository`. A cluster-scoped object has no namespace that an exception
    /// could name.
    pub fn excuse(
        &self,
        check: Check,
        namespace: Option<&str>,
        reference: &Reference<'_>,
        name: &str,
        now: Seconds,
    ) -> Option<&Exception> {
        let namespace = namespace?;
        let mut first = None;
        self.automaton.all_matches(name, |id| {
            let (index, glob) = &self.globs[id];
            if names(glob, reference) && first.is_none_or(|known| *index < known) && {
                let exception = &self.list[*index];
                now < exception.end
                    && exception.checks.contains(&check)
                    && exception.namespaces.iter().any(|glob| glob.matches(namespace))
            } {
                first = Some(*index);
            }
        });
        first.map(|index| &self.list[index])
    }
}

/// Whether the exact tag or digest at the end of the glob, if any, is that of the reference.
fn names(glob: &ImageGlob, reference: &Reference<'_>) -> bool {
    let tag_fits = glob.tag().is_none_or(|tag| reference.tag() == Some(tag));
    let digest_fits = glob.digest().is_none_or(|digest| reference.digest().is_some_and(|d| d.as_str() == digest));
    tag_fits && digest_fits
}

/// Reads `expires`: a date (its last second, UTC, is the exception's last) or an RFC 3339 moment (the first one
/// without it). Returns the first second at which the exception does not exist any more.
pub(crate) fn end_of(expires: &str) -> Option<Seconds> {
    if let Ok(date) = expires.parse::<Date>()
        && expires.len() == "2026-12-31".len()
    {
        let next_day = date.checked_add(1.day()).ok()?;
        return next_day.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp().as_second());
    }
    // A moment without an offset would be somebody's local time.
    expires.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn a_date_ends_with_its_day_and_a_moment_at_itself() {
        assert_eq!(end_of("1970-01-01"), Some(86_400));
        assert_eq!(end_of("1970-01-01T00:00:10Z"), Some(10));
        assert_eq!(end_of("1970-01-01T02:00:10+02:00"), Some(10));
    }

    #[test]
    fn what_is_no_day_and_no_moment_is_refused() {
        for text in ["", "soon", "2026-13-01", "2026-02-30", "2026-12", "1970-01-01T00:00:10", "20261231", "9999-12-31"]
        {
            assert_eq!(end_of(text), None, "{text}");
        }
    }
}
