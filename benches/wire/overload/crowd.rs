//! Many clients at one time, each with a review of its own, which h2load cannot send.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

use super::far::AWAY;
use crate::reviews::of_images;
use crate::scene::Scene;
use crate::server::Server;

/// `limits.requests`: reviews at work.
pub const WORKING: usize = 8;
/// Eight times as many may wait for registries, and those at work are kept where these are full: the most at one time.
pub const PLACES: usize = WORKING * 9;

/// What they saw, in seconds, sorted.
#[derive(Default)]
pub struct Crowd {
    pub decided: Vec<f64>,
    pub refused: Vec<f64>,
    /// How long it took in all.
    pub seconds: f64,
}

/// Images that were asked for so far: each review is of another.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// That many clients for so long; each sends a review, waits for its answer and sends the next. Whoever is refused waits
/// as long as a review takes.
pub fn crowd(scene: &Scene, server: &Server, clients: usize, length: Duration) -> anyhow::Result<Crowd> {
    let began = Instant::now();
    let mut crowd = thread::scope(|scope| {
        let client = || client(scene, server, began + length);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().try_fold(Crowd::default(), |mut all, thread| {
            let one = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            all.decided.extend(one.decided);
            all.refused.extend(one.refused);
            anyhow::Ok(all)
        })
    })?;
    crowd.seconds = began.elapsed().as_secs_f64();
    crowd.decided.sort_by(f64::total_cmp);
    crowd.refused.sort_by(f64::total_cmp);
    Ok(crowd)
}

fn client(scene: &Scene, server: &Server, end: Instant) -> anyhow::Result<Crowd> {
    let mut seen = Crowd::default();
    let mut session = scene.client.session(server.webhook)?;
    while Instant::now() < end {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let review = of_images(&scene.many(number..number + 1))?;
        let sent = Instant::now();
        let (status, body) = session.post(review.as_bytes())?;
        let took = sent.elapsed().as_secs_f64();
        match status {
            200 if body.contains("\"allowed\":true") => seen.decided.push(took),
            429 => {
                seen.refused.push(took);
                thread::sleep(AWAY);
            }
            _ => bail!("a review that is fine got {status}: {body}; the server said last: {}", server.last_words()),
        }
    }
    Ok(seen)
}
