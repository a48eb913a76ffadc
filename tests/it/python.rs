//! The Python programs that tests use: those of tests/python/requirements.txt.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// One of them, to be run.
pub fn program(name: &str) -> Command {
    let folder = std::env::var_os("TAGWARDEN_PYTHON")
        .expect("run 'make test', or set TAGWARDEN_PYTHON to the folder that tests/python/build.sh prints");
    Command::new(PathBuf::from(folder).join(name))
}

/// Runs a few lines of Python on a text; what they print.
pub fn run(lines: &str, arguments: &[&str], input: &str) -> String {
    let mut command = program("python");
    command.arg("-c").arg(lines).args(arguments).env("PYTHONIOENCODING", "utf-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that fails early reads no further: what it says is what counts.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
