//! What a connection is doing, as its time-outs need to know it.
//!
//! hyper's own header time-out also runs while a kept-alive connection waits for its next request, so that it would
//! close after 5 s what the API server keeps for 90 s. Here a head's time runs from its first byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Shared by a connection's socket, its requests and its driver. Times are milliseconds since it began, plus one;
/// zero is "not".
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Heads are only told apart on HTTP/1; HTTP/2 has frames of its own between requests.
    heads: bool,
    head_began: AtomicU64,
    last_answer: AtomicU64,
    in_flight: AtomicU32,
    closing: AtomicBool,
}

/// How long a connection may still do what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Its requests have deadlines of their own.
    Busy,
    /// A head must be complete by then.
    Head(Instant),
    /// A request must begin by then.
    Idle(Instant),
}

impl Activity {
    /// Of a new HTTP/1 connection; its first head is due at once.
    pub fn http1() -> Arc<Self> {
        Self::new(true)
    }

    /// Of a new HTTP/2 connection.
    pub fn http2() -> Arc<Self> {
        Self::new(false)
    }

    fn new(heads: bool) -> Arc<Self> {
        Arc::new(Activity {
            began: Instant::now(),
            heads,
            head_began: AtomicU64::new(u64::from(heads)),
            last_answer: AtomicU64::new(1),
            in_flight: AtomicU32::new(0),
            closing: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn at(&self, mark: u64) -> Instant {
        self.began + Duration::from_millis(mark.saturating_sub(1))
    }

    fn bytes_came(&self) {
        if self.heads && self.in_flight.load(Ordering::Relaxed) == 0 && self.head_began.load(Ordering::Relaxed) == 0 {
            self.head_began.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A request's head is complete; it is in flight while the guard lives.
    pub fn request(self: &Arc<Self>) -> RequestGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head_began.store(0, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    /// The next answer is the last one.
    pub fn close_after_answer(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether an answer is to say that it is the last one.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// What the connection is waiting for, and until when.
    pub fn due(&self, header: Duration, idle: Duration) -> Due {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Due::Busy;
        }
        match self.head_began.load(Ordering::Relaxed) {
            0 => Due::Idle(self.at(self.last_answer.load(Ordering::Relaxed)) + idle),
            began => Due::Head(self.at(began) + header),
        }
    }
}

/// While it lives, a request is in flight.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<Activity>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.last_answer.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that tells when bytes come.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub stream: S,
    pub activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, Due};
    use std::time::Duration;

    const HEADER: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(120);

    #[test]
    fn a_head_has_its_time_from_its_first_byte_and_an_idle_connection_the_longer_one() {
        let activity = Activity::http1();
        let start = activity.began;
        assert_eq!(activity.due(HEADER, IDLE), Due::Head(start + HEADER), "the first head is due at once");
        let request = activity.request();
        activity.bytes_came();
        assert_eq!(activity.due(HEADER, IDLE), Due::Busy, "bytes of a body");
        drop(request);
        let Due::Idle(due) = activity.due(HEADER, IDLE) else { panic!("idle after an answer") };
        assert!(due >= start + IDLE);
        activity.bytes_came();
        let first = activity.due(HEADER, IDLE);
        assert!(matches!(first, Due::Head(due) if due >= start + HEADER));
        activity.bytes_came();
        assert_eq!(activity.due(HEADER, IDLE), first, "further bytes win no time");
    }

    #[test]
    fn http2_frames_between_requests_are_no_heads() {
        let activity = Activity::http2();
        activity.bytes_came();
        assert_eq!(activity.due(HEADER, IDLE), Due::Idle(activity.began + IDLE));
    }
}
