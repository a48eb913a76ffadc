//! Child processes that never outlive the suite, however it ends.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;

/// A shell that holds the other end of a pipe to us. When the pipe closes, because the suite ended,
/// panicked or was killed, it kills the processes named to it and removes the suite's folder.
///
/// The shared cluster lives in a static, which Rust never drops, and a drop guard would not survive
/// SIGKILL anyway.
#[derive(Debug)]
pub struct Watchdog {
    pipe: Mutex<ChildStdin>,
}

/// Reads `+PID` and `-PID` until the end of its input.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
alive=" "
while read -r line; do
  pid=${line#?}
  case $line in
    +*) alive="$alive$pid " ;;
    -*) alive="${alive%% $pid *} ${alive#* $pid }" ;;
  esac
done
for pid in $alive; do kill -KILL "$pid" 2>/dev/null; done
rm -rf "$1"
"#;

impl Watchdog {
    /// Starts the shell; `folder` is removed at the end.
    #[expect(clippy::zombie_processes, reason = "it ends after us, by design")]
    pub fn start(folder: &Path) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh starts");
        let pipe = child.stdin.take().expect("stdin is piped");
        Watchdog { pipe: Mutex::new(pipe) }
    }

    fn tell(&self, sign: char, pid: u32) {
        let mut pipe = self.pipe.lock().expect("no test panics while it writes");
        writeln!(pipe, "{sign}{pid}").expect("the watchdog reads until we end");
    }
}

/// A process of ours with its output in a file; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: &'static Watchdog,
    reaped: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both of its outputs in `log`.
    pub fn start(command: &mut Command, log: &Path, watchdog: &'static Watchdog) -> Self {
        let out = File::create(log).expect("the log file can be made");
        let err = out.try_clone().expect("the log file can be shared");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        watchdog.tell('+', child.id());
        Process { child, watchdog, reaped: None }
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill -{name} found no process {}", self.child.id());
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.reaped.is_none() {
            self.reaped = self.child.try_wait().expect("a child can be waited for");
            if self.reaped.is_some() {
                self.watchdog.tell('-', self.child.id());
            }
        }
        self.reaped
    }

    /// Ends it at once, as a lost node would.
    pub fn kill(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // It may end by itself in between; either way it is gone after the wait.
        let _ = self.child.kill();
        self.reaped = self.child.wait().ok();
        self.watchdog.tell('-', self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
