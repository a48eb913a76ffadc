//! Reading a request's body within its bounds: its own, those of all bodies together, and its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

/// What is set aside for a body at first. A length that was only declared has sent nothing yet.
const FIRST_CAPACITY: usize = 64 << 10;

/// Bytes that all bodies in flight may have together.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Sets bytes aside until the reservation is dropped; none where there are not as many left.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { left: Arc::clone(&self.left), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }
}

/// Bytes set aside.
#[derive(Debug)]
pub(super) struct Reservation {
    left: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reservation {
    fn grow(&mut self, more: usize) -> bool {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(more)).is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than one may be.
    TooLarge,
    /// All bodies together would be.
    NoRoom,
    /// It did not come in time.
    TooSlow,
    /// It ended in the middle.
    Broken,
}

/// Reads a body of at most `limit` bytes. Whoever gets the bytes keeps the reservation as long as them.
pub(super) async fn read(
    body: &mut Body,
    limit: usize,
    budget: &Budget,
    deadline: Instant,
) -> Result<(Bytes, Reservation), Unread> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(Unread::TooLarge);
    }
    let mut reservation = budget.reserve(declared).ok_or(Unread::NoRoom)?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut length = 0;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Unread::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > limit {
            return Err(Unread::TooLarge);
        }
        let beyond = length.saturating_sub(reservation.bytes);
        if !reservation.grow(beyond) {
            return Err(Unread::NoRoom);
        }
        if length == data.len() {
            // Most reviews come in one piece, which needs no copy.
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(declared.min(FIRST_CAPACITY).max(length));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    Ok((bytes, reservation))
}

/// Goes on reading what nobody wants, so that a client that is still sending sees the answer instead of a reset.
/// Ends with the connection, whose time-outs bound it.
pub(super) fn discard(mut body: Body, until: Instant) {
    tokio::spawn(async move {
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = timeout_at(until, rest).await;
    });
}

#[cfg(test)]
mod tests {
    use super::{Budget, Unread, read};
    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::time::Duration;
    use tokio::time::Instant;

    fn pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<Result<Bytes, Infallible>> =
            pieces.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        Body::from_stream(stream::iter(pieces))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_its_bytes_are_given_back() {
        let budget = Budget::new(10);
        let (bytes, reservation) = read(&mut pieces(&["abc", "", "def"]), 10, &budget, soon()).await.unwrap();
        assert_eq!(bytes, "abcdef");
        assert!(budget.reserve(5).is_none() && budget.reserve(4).is_some());
        drop(reservation);
        assert!(budget.reserve(10).is_some());
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_too_large_declared_or_not() {
        let budget = Budget::new(100);
        assert_eq!(read(&mut Body::from("abcdef"), 5, &budget, soon()).await.unwrap_err(), Unread::TooLarge);
        assert_eq!(read(&mut pieces(&["abc", "def"]), 5, &budget, soon()).await.unwrap_err(), Unread::TooLarge);
        assert!(read(&mut pieces(&["abc", "de"]), 5, &budget, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn where_all_bodies_together_leave_no_room_it_says_so() {
        let budget = Budget::new(5);
        assert_eq!(read(&mut Body::from("abcdef"), 10, &budget, soon()).await.unwrap_err(), Unread::NoRoom);
        assert_eq!(read(&mut pieces(&["abc", "def"]), 10, &budget, soon()).await.unwrap_err(), Unread::NoRoom);
        assert!(budget.reserve(5).is_some(), "given back");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let mut body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(read(&mut body, 10, &Budget::new(10), Instant::now()).await.unwrap_err(), Unread::TooSlow);
    }
}
