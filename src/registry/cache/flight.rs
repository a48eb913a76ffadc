//! Flights: one request a key at a time, that nobody's impatience can end, and fresh ones at most once a second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Key, Outcome};
use crate::policy::Age;
use crate::registry::failure::{Failure, FailureKind};

/// Between two fresh requests of one key.
pub(in crate::registry) const PAUSE: Duration = Duration::from_secs(1);

/// Slots that are never tidied; above, those of the past are taken out when they are half of all.
const TIDY_ABOVE: usize = 1024;

/// The flights that are under way, and when the latest of each key began.
#[derive(Debug, Default)]
pub(in crate::registry) struct Flights {
    slots: Mutex<Slots>,
    /// Numbers asking, starting and landing in one order.
    sequence: AtomicU64,
}

#[derive(Debug, Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    tidied: usize,
}

#[derive(Debug)]
struct Slot {
    /// The latest.
    flight: Arc<Flight>,
    began: Instant,
    /// When it landed, in the order of `sequence`.
    landed: Option<u64>,
}

/// A request under way.
#[derive(Debug)]
pub(in crate::registry) struct Flight {
    ticket: u64,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// Who asks for a flight.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry) struct Ticket {
    /// Whether one that is under way will do.
    pub age: Age,
    /// When the question came up.
    pub asked: u64,
    /// When memory was looked at last.
    pub looked: u64,
}

/// What to do for an answer.
#[derive(Debug)]
pub(in crate::registry) enum Turn {
    /// Wait for this one.
    Join(Arc<Flight>),
    /// There was a request too short ago: ask again then.
    Wait(Instant),
    /// One has landed since memory was looked at: look again.
    Look,
    /// Nobody is asking: get leave to, and come with a `begin`.
    Begin,
}

/// The duty to end a flight. Dropped without, those who wait are told that it broke off.
#[derive(Debug)]
pub(in crate::registry) struct Landing {
    flights: Arc<Flights>,
    key: Key,
    ticket: u64,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// The next number of the one order of events.
    pub fn tick(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the asker has to do. Where a flight has to begin, `begin` starts it; it must not block.
    pub fn turn<B: FnOnce(Landing)>(self: &Arc<Self>, key: &Key, ticket: Ticket, begin: Option<B>) -> Turn {
        let mut slots = self.lock();
        if let Some(slot) = slots.by_key.get(key) {
            // One that began after the question will do for it even when it has landed: memory may have had no room for it.
            let flying = slot.landed.is_none() && ticket.age == Age::Remembered;
            if flying || slot.flight.began_after(ticket.asked) {
                return Turn::Join(slot.flight.clone());
            }
            let next = slot.began + PAUSE;
            match ticket.age {
                Age::Now if Instant::now() < next => return Turn::Wait(next),
                Age::Remembered if slot.landed > Some(ticket.looked) => return Turn::Look,
                _ => {}
            }
        }
        let Some(begin) = begin else { return Turn::Begin };
        let (sender, outcome) = watch::channel(None);
        // Taken under the lock, after the asker's: this flight begins after he asked.
        let flight = Arc::new(Flight { ticket: self.tick(), outcome });
        let landing = Landing { flights: self.clone(), key: key.clone(), ticket: flight.ticket, outcome: sender };
        let slot = Slot { flight: flight.clone(), began: Instant::now(), landed: None };
        slots.by_key.insert(key.clone(), slot);
        slots.tidy();
        drop(slots);
        begin(landing);
        Turn::Join(flight)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Slots that are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }
}

impl Slots {
    /// Takes out what lies in the past, seldom enough that it costs nothing per flight.
    fn tidy(&mut self) {
        if self.by_key.len() < TIDY_ABOVE.max(self.tidied * 2) {
            return;
        }
        let now = Instant::now();
        self.by_key.retain(|_, slot| slot.landed.is_none() || now < slot.began + PAUSE);
        self.tidied = self.by_key.len();
    }
}

impl Flight {
    /// Whether it began after that moment of the order.
    pub fn began_after(&self, moment: u64) -> bool {
        self.ticket > moment
    }

    /// How it ends. To stop waiting does nothing to it.
    pub async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let ended = match outcome.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone(),
            Err(_) => None,
        };
        let broken =
            || Failure::new(FailureKind::Unreachable, "the lookup broke off; that is a fault of tagwarden's own");
        ended.unwrap_or_else(|| Err(Arc::new(broken())))
    }
}

impl Landing {
    /// The flight's place in the order.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// The key that it is for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Tells all who wait. Memory must know it by now: whoever asks next looks there.
    pub fn land(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut slots = self.flights.lock();
        let landed = self.flights.tick();
        // Of an earlier one nothing is kept: whoever waits for it has it.
        if let Some(slot) = slots.by_key.get_mut(&self.key).filter(|slot| slot.flight.ticket == self.ticket) {
            slot.landed = Some(landed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flights, Landing, PAUSE, TIDY_ABOVE, Ticket, Turn};
    use crate::policy::Age;
    use crate::registry::cache::{Key, KeyRef, Kind, Outcome};
    use crate::registry::credentials::Identity;
    use crate::registry::failure::{Failure, FailureKind};
    use std::sync::Arc;
    use tokio::time::advance;

    fn key(item: &str) -> Key {
        let name = "registry.example.com/acme/api";
        KeyRef { epoch: 0, kind: Kind::Digest, name, item, identity: Identity(0) }.to_key()
    }

    fn ask(flights: &Flights, age: Age) -> Ticket {
        Ticket { age, asked: flights.tick(), looked: flights.tick() }
    }

    fn outcome() -> Outcome {
        Err(Arc::new(Failure::new(FailureKind::Timeout, "no answer")))
    }

    fn begin(flights: &Arc<Flights>, item: &str, ticket: Ticket) -> Landing {
        let mut landing = None;
        let turn = flights.turn(&key(item), ticket, Some(|started| landing = Some(started)));
        assert!(matches!(turn, Turn::Join(_)), "{turn:?}");
        landing.unwrap()
    }

    fn turn(flights: &Arc<Flights>, ticket: Ticket) -> Turn {
        flights.turn(&key("v1"), ticket, None::<fn(Landing)>)
    }

    #[tokio::test(start_paused = true)]
    async fn one_flies_and_all_others_join() {
        let flights = Arc::new(Flights::default());
        let first = ask(&flights, Age::Remembered);
        assert!(matches!(turn(&flights, first), Turn::Begin));
        let landing = begin(&flights, "v1", first);
        let late = ask(&flights, Age::Remembered);
        let Turn::Join(flight) = turn(&flights, late) else { panic!("did not join") };
        assert!(flight.began_after(first.asked) && !flight.began_after(late.asked));
        let waiting = ask(&flights, Age::Remembered);
        landing.land(outcome());
        assert_eq!(flight.outcome().await.unwrap_err().kind, FailureKind::Timeout);
        assert!(matches!(turn(&flights, first), Turn::Join(_)), "it began after this question");
        assert!(matches!(turn(&flights, waiting), Turn::Look));
        assert!(matches!(turn(&flights, late), Turn::Look), "memory knows more than when it was looked at");
        assert!(matches!(turn(&flights, ask(&flights, Age::Remembered)), Turn::Begin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_answer_begins_after_the_question_and_a_second_after_the_last() {
        let flights = Arc::new(Flights::default());
        let old = begin(&flights, "v1", ask(&flights, Age::Remembered));
        let fresh = ask(&flights, Age::Now);
        let Turn::Wait(until) = turn(&flights, fresh) else { panic!("the old flight will not do") };
        advance(PAUSE).await;
        assert_eq!(until, tokio::time::Instant::now());
        let new = begin(&flights, "v1", fresh);
        assert!(matches!(turn(&flights, fresh), Turn::Join(flight) if flight.began_after(fresh.asked)));
        // That the old one lands now does not end the new one.
        old.land(outcome());
        assert!(matches!(turn(&flights, fresh), Turn::Join(_)));
        new.land(outcome());
        assert!(matches!(turn(&flights, fresh), Turn::Join(_)), "who waited for leave has its answer too");
        assert!(matches!(turn(&flights, ask(&flights, Age::Now)), Turn::Wait(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_that_breaks_off_is_a_failure_and_its_place_is_free() {
        let flights = Arc::new(Flights::default());
        let landing = begin(&flights, "v1", ask(&flights, Age::Remembered));
        let Turn::Join(flight) = turn(&flights, ask(&flights, Age::Remembered)) else { panic!("did not join") };
        drop(landing);
        assert_eq!(flight.outcome().await.unwrap_err().kind, FailureKind::Unreachable);
        assert!(matches!(turn(&flights, ask(&flights, Age::Remembered)), Turn::Begin));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_of_the_past_are_taken_out_and_those_in_use_stay() {
        let flights = Arc::new(Flights::default());
        let running = begin(&flights, "running", ask(&flights, Age::Remembered));
        for number in 0..10 * TIDY_ABOVE {
            begin(&flights, &format!("v{number}"), ask(&flights, Age::Remembered)).land(outcome());
            if number % 100 == 0 {
                advance(PAUSE).await;
            }
        }
        assert!(flights.len() <= TIDY_ABOVE, "{}", flights.len());
        let again = flights.turn(&key("running"), ask(&flights, Age::Remembered), None::<fn(Landing)>);
        assert!(matches!(again, Turn::Join(_)));
        drop(running);
    }
}
