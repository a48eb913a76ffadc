//! A circuit breaker: a registry that fails again and again is left alone for a while, then tried by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::failure::{Failure, FailureKind};

/// Failures in a row that open it.
const FAILURES: u32 = 5;

/// How long it stays open at first; twice as long each time the one that tries fails too.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest that it stays open.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One for each registry host.
#[derive(Debug, Default)]
pub(in crate::registry) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Set once there were too many.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// Somebody is out to try.
    probing: bool,
}

/// Leave to ask the registry. Dropped unsettled, nothing was learned.
#[derive(Debug)]
pub(in crate::registry) struct Pass {
    breaker: Arc<Breaker>,
    probe: bool,
}

impl Breaker {
    /// Leave to ask; while open to nobody, then to one.
    ///
    /// # Errors
    /// Unreachable: not asked, and when it will be.
    pub fn pass(self: &Arc<Self>) -> Result<Pass, Failure> {
        let mut state = self.lock();
        state.refusal()?;
        let probe = state.open.is_some();
        if let Some(open) = &mut state.open {
            open.probing = true;
        }
        drop(state);
        Ok(Pass { breaker: self.clone(), probe })
    }

    /// Whether [`Breaker::pass`] would fail, without taking anything.
    ///
    /// # Errors
    /// Those of [`Breaker::pass`].
    pub fn check(&self) -> Result<(), Failure> {
        self.lock().refusal()
    }

    /// Whether nothing is wrong: background work stays away otherwise.
    pub fn is_closed(&self) -> bool {
        self.lock().open.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self) -> Result<(), Failure> {
        let Some(open) = &self.open else { return Ok(()) };
        let left = open.until.saturating_duration_since(Instant::now());
        if left.is_zero() && !open.probing {
            return Ok(());
        }
        let when = match left.is_zero() {
            true => "it is being tried again now".to_owned(),
            false => format!("next try in {} s", left.as_millis().div_ceil(1000)),
        };
        let what = format!("not asked: it failed {} times in a row, {when}", self.failures);
        Err(Failure::new(FailureKind::Unreachable, what))
    }
}

impl Pass {
    /// What came of it: none where the registry answered, whatever it said.
    pub fn settle(self, failure: Option<FailureKind>) {
        let failed = matches!(failure, Some(FailureKind::Timeout | FailureKind::Unreachable | FailureKind::Tls));
        let mut state = self.breaker.lock();
        if !failed {
            *state = State::default();
            return;
        }
        if state.open.is_some() && !self.probe {
            // It set out before; that it fails too is no news.
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            let pause = state.open.as_ref().map_or(FIRST_PAUSE, |open| (open.pause * 2).min(LONGEST_PAUSE));
            state.open = Some(Open { until: Instant::now() + pause, pause, probing: false });
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe
            && let Some(open) = &mut self.breaker.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, FAILURES};
    use crate::registry::failure::FailureKind;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::advance;

    const DOWN: Option<FailureKind> = Some(FailureKind::Timeout);

    fn broken() -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..FAILURES {
            breaker.pass().unwrap().settle(DOWN);
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_says_when_it_tries_again() {
        let breaker = Arc::new(Breaker::default());
        for _ in 1..FAILURES {
            breaker.pass().unwrap().settle(DOWN);
        }
        assert!(breaker.check().is_ok() && breaker.is_closed());
        breaker.pass().unwrap().settle(Some(FailureKind::NotFoundOrNoAccess));
        for _ in 1..FAILURES {
            breaker.pass().unwrap().settle(DOWN);
        }
        assert!(breaker.check().is_ok(), "the answer in between did not count");
        breaker.pass().unwrap().settle(DOWN);
        let refused = breaker.pass().unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unreachable);
        assert_eq!(refused.what, "not asked: it failed 5 times in a row, next try in 1 s");
        assert!(!breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_the_others_wait_for_what_comes_of_it() {
        let breaker = broken();
        advance(Duration::from_secs(1)).await;
        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err() && breaker.check().is_err());
        probe.settle(None);
        assert!(breaker.pass().is_ok() && breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_fails_doubles_the_pause_up_to_a_bound() {
        let breaker = broken();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!(breaker.check().is_err(), "{seconds}");
            advance(Duration::from_millis(1)).await;
            breaker.pass().unwrap().settle(DOWN);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_leaves_room_for_the_next() {
        let breaker = broken();
        advance(Duration::from_secs(1)).await;
        drop(breaker.pass().unwrap());
        assert!(breaker.pass().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_set_out_before_change_nothing() {
        let breaker = Arc::new(Breaker::default());
        let out: Vec<_> = (0..64).map(|_| breaker.pass().unwrap()).collect();
        for pass in out {
            pass.settle(DOWN);
        }
        assert!(breaker.check().unwrap_err().what.ends_with("next try in 1 s"));
    }
}
