//! Waiting for a condition under a deadline: the only place of the suite that lets time pass.

use std::thread;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(40);

/// Polls `condition` until it holds a value, and fails the test after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {} s for: {what}", limit.as_secs());
        thread::sleep(EVERY);
    }
}

/// [`until`] for a condition that is true or false.
#[track_caller]
pub fn until_true(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    until(what, limit, || condition().then_some(()));
}

/// Long enough for anything that happens by itself on a loaded machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);
