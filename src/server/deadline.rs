//! How long a review may take: what the API server says in its query, less a margin for the way of the answer.

use std::time::Duration;

use crate::config::parse_duration;

/// Where the query says nothing: the API server's own default.
const DEFAULT: Duration = Duration::from_secs(10);
/// The most that a webhook configuration can set.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// The time for a review with this query. The margin takes at most half of it.
///
/// # Errors
/// What is wrong with the query's `timeout`, as a sentence.
pub(super) fn allowance(query: Option<&str>, margin: Duration) -> Result<Duration, String> {
    let written = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("timeout="));
    let whole = match written {
        None => DEFAULT,
        Some(text) => match parse_duration(text) {
            Ok(Duration::ZERO) => return Err("the query's timeout leaves no time, write 'timeout=5s'".to_owned()),
            Ok(duration) => duration.min(LONGEST),
            Err(problem) => return Err(format!("the query's timeout is not a duration: {problem}")),
        },
    };
    Ok(whole.saturating_sub(margin).max(whole / 2))
}

#[cfg(test)]
mod tests {
    use super::allowance;
    use std::time::Duration;

    const MARGIN: Duration = Duration::from_millis(500);

    #[test]
    fn the_margin_is_taken_off_but_never_more_than_half() {
        for (query, milliseconds) in [
            (None, 9_500),
            (Some(""), 9_500),
            (Some("other=1"), 9_500),
            (Some("timeout=5s"), 4_500),
            (Some("a=b&timeout=1m30s"), 29_500),
            (Some("timeout=600ms"), 300),
            (Some("timeout=1s"), 500),
        ] {
            assert_eq!(allowance(query, MARGIN), Ok(Duration::from_millis(milliseconds)), "{query:?}");
        }
    }

    #[test]
    fn a_timeout_that_is_none_is_an_error() {
        for query in ["timeout=", "timeout=5", "timeout=-5s", "timeout=abc", "timeout=0s", "timeout=%35s"] {
            assert!(allowance(Some(query), MARGIN).is_err(), "{query}");
        }
    }
}
