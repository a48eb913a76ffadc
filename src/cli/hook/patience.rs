//! Trying again: pauses that double, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long something is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    deadline: Instant,
    pause: Duration,
}

/// Whether there is time for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// There is.
    Yes,
    /// The deadline has passed.
    No,
}

impl Patience {
    /// From now on.
    pub fn of(limit: Duration) -> Self {
        Patience { deadline: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    /// Waits a while. The last pause ends with the deadline, so that there is one more try right before it.
    pub async fn again(&mut self) -> Again {
        if Instant::now() >= self.deadline {
            return Again::No;
        }
        // Both ends of the wait are fine.
        let _ = timeout_at(self.deadline, sleep(self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Again::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::{Again, Patience};
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end_with_the_deadline() {
        let begin = Instant::now();
        let mut patience = Patience::of(Duration::from_secs(20));
        let mut tries = Vec::new();
        while patience.again().await == Again::Yes {
            tries.push(begin.elapsed().as_millis());
        }
        assert_eq!(
            tries.iter().map(|at| at / 10 * 10).collect::<Vec<_>>(),
            [250, 750, 1750, 3750, 7750, 12750, 17750, 20000]
        );
    }
}
