//! A review's place among those at work, which it leaves to others while it waits for a registry.

use std::pin::pin;
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many reviews may wait for each that may be at work. Bodies bound them as well: a waiting review keeps its own.
const WAITING_PER_REQUEST: usize = 8;

/// The places of all reviews.
pub(super) struct Places {
    working: Semaphore,
    waiting: Semaphore,
}

impl Places {
    /// `requests` places for reviews at work, and eight times as many for those that wait for a registry.
    pub fn new(requests: usize) -> Self {
        let waiting = requests.saturating_mul(WAITING_PER_REQUEST).min(Semaphore::MAX_PERMITS);
        Places { working: Semaphore::new(requests), waiting: Semaphore::new(waiting) }
    }

    /// A place, if one is free.
    pub fn take(&self) -> Option<Slot<'_>> {
        let working = self.working.try_acquire().ok()?;
        Some(Slot { places: self, working: Some(working) })
    }
}

/// One review's place; free again when it is dropped.
pub(super) struct Slot<'p> {
    places: &'p Places,
    working: Option<SemaphorePermit<'p>>,
}

impl Slot<'_> {
    /// Waits for `answer`. Where it is not there at once, the place goes to others: a registry that is silent must not
    /// keep reviews out that do not ask it. The review does not come back for it, since little is left to do. Where too
    /// many wait already, the place is kept, so that the next review is told to come back later.
    pub async fn aside<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Poll::Ready(answer) = futures_util::poll!(answer.as_mut()) {
            return answer;
        }
        let waiting = self.places.waiting.try_acquire();
        if waiting.is_ok() {
            self.working = None;
        }
        answer.await
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, WAITING_PER_REQUEST};
    use std::future::{pending, ready};

    #[tokio::test]
    async fn waiting_takes_no_place_until_too_many_wait() {
        let places = Places::new(1);
        let mut slot = places.take().unwrap();
        assert!(places.take().is_none());
        assert_eq!(slot.aside(ready(7)).await, 7);
        assert!(places.take().is_none(), "nothing was waited for");
        drop(slot);

        let wait = async || {
            let mut slot = places.take().unwrap();
            slot.aside(pending::<()>()).await;
        };
        let mut waiting = Vec::new();
        for _ in 0..WAITING_PER_REQUEST {
            let mut one = Box::pin(wait());
            assert!(futures_util::poll!(one.as_mut()).is_pending());
            waiting.push(one);
            assert!(places.take().is_some(), "the place is free");
        }
        let mut one_more = Box::pin(wait());
        assert!(futures_util::poll!(one_more.as_mut()).is_pending());
        assert!(places.take().is_none(), "it kept its place");
        drop(one_more);
        assert!(places.take().is_some());
        waiting.pop();
        let mut next = Box::pin(wait());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        assert!(places.take().is_some(), "who leaves makes room");
    }
}
