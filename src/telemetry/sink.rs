//! The way of log lines to standard error: into a bounded buffer at once, and out of it by a thread of its own.
//!
//! Nobody who logs waits for whoever reads: lines that do not fit are dropped whole, counted, and told of later. See
//! docs/decisions/0051-log-writer.md.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of lines that may wait; as many again may be on their way out.
const CAPACITY: usize = 2 * 1024 * 1024;
/// With so many waiting the writer gathers no longer.
const MANY: usize = CAPACITY / 2;
/// Bytes of each of the two buffers that are never given back.
const KEPT: usize = 64 * 1024;
/// How long the writer lets lines gather after the first: so often is it woken at most, and so much later is a line read.
const GATHER: Duration = Duration::from_millis(10);

/// Takes whole lines, as an [`io::Write`] whose every call is one line.
#[derive(Debug)]
pub(super) struct Sink {
    waiting: Mutex<Waiting>,
    /// Tells the writer that there is something to do.
    work: Condvar,
    /// Tells those who flush that something is out.
    out: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    lines: Vec<u8>,
    writer: Writer,
    /// Lines that were dropped since the log told of dropped ones.
    untold: u64,
    /// Bytes that were ever taken.
    taken: u64,
    /// Of these, bytes that are out, or lost because they could not be written.
    out: u64,
    /// Callers that wait for that.
    flushing: usize,
}

/// What the writer does, as far as those who log have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Waits for a line.
    Idle,
    /// Waits for more lines.
    Gathering,
    /// Has been woken, or writes: it looks at what waits before it rests again.
    Busy,
}

impl Sink {
    /// A sink, and the thread that empties it into `out`. `tell` is called, on that thread, with the number of lines that
    /// were dropped, once there is room for a line that says so.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(out: impl Write + Send + 'static, tell: impl Fn(u64) + Send + 'static) -> io::Result<Arc<Self>> {
        let waiting =
            Waiting { lines: Vec::with_capacity(KEPT), writer: Writer::Busy, untold: 0, taken: 0, out: 0, flushing: 0 };
        let sink = Arc::new(Sink {
            waiting: Mutex::new(waiting),
            work: Condvar::new(),
            out: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let run = Arc::clone(&sink);
        thread::Builder::new().name("log".to_owned()).spawn(move || run.run(out, tell))?;
        Ok(sink)
    }

    /// Lines that were dropped so far: there was no room, or they could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all that was logged is out, but no longer than `limit`. Says whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let began = Instant::now();
        // A second time for the line on dropped ones, which the first may have given room.
        self.wait_until_out(limit) && self.wait_until_out(limit.saturating_sub(began.elapsed()))
    }

    fn wait_until_out(&self, limit: Duration) -> bool {
        let mut waiting = self.waiting();
        let taken = waiting.taken;
        waiting.flushing += 1;
        self.work.notify_one();
        let (mut waiting, waited) = self
            .out
            .wait_timeout_while(waiting, limit, |waiting| waiting.out < taken)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.flushing -= 1;
        !waited.timed_out()
    }

    fn take(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        let before = waiting.lines.len();
        let after = before + line.len();
        if after > CAPACITY {
            waiting.untold += 1;
            drop(waiting);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(line);
        waiting.taken += line.len() as u64;
        let wakes = match waiting.writer {
            Writer::Idle => true,
            Writer::Gathering => after >= MANY,
            Writer::Busy => false,
        };
        if wakes {
            waiting.writer = Writer::Busy;
            drop(waiting);
            self.work.notify_one();
        }
    }

    /// The writer's whole life.
    fn run(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let mut batch = Vec::with_capacity(KEPT);
        let mut told = Told::Possible;
        loop {
            let untold = self.gather(&mut batch, told);
            if untold > 0 {
                tell(untold);
            }
            if let Some(lost) = write(&mut out, &batch) {
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                self.waiting().untold += lost;
                told = Told::Impossible;
            } else if !batch.is_empty() {
                told = Told::Possible;
            }
            self.written(batch.len());
            // A burst leaves no large buffer behind, and a steady load does not make one anew each time.
            let unused = batch.len() < batch.capacity() / 4;
            batch.clear();
            if unused {
                batch.shrink_to(KEPT.max(batch.capacity() / 2));
            }
        }
    }

    /// Waits for lines and puts them into the empty `batch`, or for dropped ones that can be told of: gives their number.
    fn gather(&self, batch: &mut Vec<u8>, told: Told) -> u64 {
        let mut waiting = self.waiting();
        let tells = |waiting: &Waiting| told == Told::Possible && waiting.untold > 0;
        waiting.writer = Writer::Idle;
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !tells(waiting);
        waiting = self.work.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        waiting.writer = Writer::Gathering;
        let gathers = |waiting: &mut Waiting| waiting.flushing == 0 && waiting.lines.len() < MANY;
        let waited = self.work.wait_timeout_while(waiting, GATHER, gathers);
        waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        waiting.writer = Writer::Busy;
        mem::swap(&mut waiting.lines, batch);
        if tells(&waiting) { mem::take(&mut waiting.untold) } else { 0 }
    }

    fn written(&self, bytes: usize) {
        let mut waiting = self.waiting();
        waiting.out += bytes as u64;
        if waiting.flushing > 0 {
            self.out.notify_all();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics with the lock held; if it did, what waits would still be lines.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each call is one line: that is how tracing's layer writes.
impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a line on dropped ones has a chance to be read. After a failure it has none until something was written: it
/// would fail as well, be dropped, and call for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Possible,
    Impossible,
}

/// Writes all of it. Where that fails: how many lines are lost.
fn write(out: &mut impl Write, mut bytes: &[u8]) -> Option<u64> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => break,
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares standard error with us may have made it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    let lost = memchr::memchr_iter(b'\n', bytes).count() as u64;
    (!bytes.is_empty()).then_some(lost)
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, GATHER, Sink};
    use std::io::{self, Read as _, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Gives what is written to the other end of a channel, call by call; or fails, while it is told to.
    struct Out {
        pieces: Sender<Vec<u8>>,
        fails: Arc<Mutex<bool>>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if *self.fails.lock().unwrap() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let _ = self.pieces.send(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bed {
        sink: Arc<Sink>,
        pieces: Receiver<Vec<u8>>,
        fails: Arc<Mutex<bool>>,
        told: Receiver<u64>,
    }

    fn bed() -> Bed {
        let (sender, pieces) = channel();
        let (tell, told) = channel();
        let fails = Arc::new(Mutex::new(false));
        let out = Out { pieces: sender, fails: Arc::clone(&fails) };
        let sink = Sink::start(out, move |lines| tell.send(lines).unwrap_or_default()).unwrap();
        Bed { sink, pieces, fails, told }
    }

    fn log(mut sink: &Sink, line: &str) {
        sink.write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn a_line_comes_out_by_itself_and_a_burst_in_one_piece() {
        let bed = bed();
        let began = Instant::now();
        log(&bed.sink, "first\n");
        assert_eq!(bed.pieces.recv_timeout(PATIENCE).unwrap(), b"first\n");
        assert!(began.elapsed() >= GATHER / 2, "lines are given time to gather");
        let burst: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        burst.split_inclusive('\n').for_each(|line| log(&bed.sink, line));
        let mut read = Vec::new();
        let mut pieces = 0;
        while read.len() < burst.len() {
            read.extend(bed.pieces.recv_timeout(PATIENCE).unwrap());
            pieces += 1;
        }
        assert_eq!(String::from_utf8(read).unwrap(), burst, "all of it, in order");
        assert!(pieces < 100, "{pieces} pieces of 1000 lines");
    }

    #[test]
    fn a_flush_waits_for_what_was_logged() {
        let bed = bed();
        for number in 0..50 {
            log(&bed.sink, &format!("{number}\n"));
            assert!(bed.sink.flush(PATIENCE));
            assert_eq!(bed.pieces.try_recv().unwrap(), format!("{number}\n").as_bytes());
        }
        assert!(bed.sink.flush(PATIENCE), "of nothing");
    }

    /// A real pipe that nobody reads.
    #[test]
    fn whoever_logs_never_waits_and_what_does_not_fit_is_dropped_whole_and_told_of() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (tell, told) = channel();
        let sink = Sink::start(writer, move |lines| tell.send(lines).unwrap_or_default()).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let logged = 3 * CAPACITY / line.len();
        (0..logged).for_each(|_| log(&sink, &line));
        let dropped = sink.dropped();
        assert!(dropped > 0, "three times as much as waits does not fit");
        assert!(!sink.flush(Duration::from_millis(30)), "nobody reads, and the flush has a limit");

        let mut bytes = vec![0; (logged - usize::try_from(dropped).unwrap()) * line.len()];
        reader.read_exact(&mut bytes).unwrap();
        assert!(bytes.split_inclusive(|byte| *byte == b'\n').all(|read| read == line.as_bytes()), "lines are whole");
        let mut sum = 0;
        while sum < dropped {
            sum += told.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!(sum, dropped);
        log(&sink, &line);
        assert!(sink.flush(PATIENCE), "there is room again");
        assert_eq!(sink.dropped(), dropped);
    }

    #[test]
    fn what_cannot_be_written_is_dropped_and_told_of_once_something_can() {
        let bed = bed();
        *bed.fails.lock().unwrap() = true;
        log(&bed.sink, "one\ntwo\n");
        assert!(bed.sink.flush(PATIENCE), "it is out, if lost");
        log(&bed.sink, "three\n");
        assert!(bed.sink.flush(PATIENCE));
        assert_eq!(bed.sink.dropped(), 3);
        assert!(bed.told.try_recv().is_err(), "it would be lost as well");
        *bed.fails.lock().unwrap() = false;
        log(&bed.sink, "four\n");
        assert_eq!(bed.pieces.recv_timeout(PATIENCE).unwrap(), b"four\n");
        assert_eq!(bed.told.recv_timeout(PATIENCE).unwrap(), 3);
    }

    #[test]
    fn a_burst_leaves_no_large_buffers_behind() {
        let bed = bed();
        let line = format!("{}\n", "x".repeat(999));
        let capacity = || bed.sink.waiting().lines.capacity();
        (0..1500).for_each(|_| log(&bed.sink, &line));
        assert!(bed.sink.flush(PATIENCE));
        for _ in 0..20 {
            log(&bed.sink, &line);
            assert!(bed.sink.flush(PATIENCE));
        }
        assert!(capacity() <= super::KEPT, "{}", capacity());
    }
}
