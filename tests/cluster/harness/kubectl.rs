//! kubectl as a person runs it, and what it printed.

use super::wait::{PATIENCE, until};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// kubectl as one user, in one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) home: PathBuf,
    pub(super) namespace: Option<String>,
}

/// What a run of kubectl printed and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    command: String,
    success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error: warnings and refusals.
    pub stderr: String,
}

impl Kubectl {
    /// The same user elsewhere.
    pub fn within(&self, namespace: &str) -> Self {
        Kubectl { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    #[must_use = "say whether it should have been accepted or refused"]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, "")
    }

    /// Runs with `input` on standard input, for `-f -`.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Outcome {
        Outcome::of(&mut self.command(arguments), &format!("kubectl {}", arguments.join(" ")), input)
    }

    /// A run that has not started yet, for whoever wants to change its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("HOME", &self.home) // the discovery cache
            .env_remove("KUBECONFIG");
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(arguments);
        command
    }

    /// Creates objects as they are: `kubectl create -f -`.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn create(&self, object: &serde_json::Value) -> Outcome {
        self.run_with(&["create", "-f", "-"], &object.to_string())
    }

    /// Applies objects on the client side: `kubectl apply -f -`.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn apply(&self, object: &serde_json::Value) -> Outcome {
        self.run_with(&["apply", "-f", "-"], &object.to_string())
    }

    /// Replaces an object: `kubectl replace -f -`, a plain PUT. Where a controller writes the object's status at the same
    /// moment the API server asks for another try.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn replace(&self, object: &serde_json::Value) -> Outcome {
        until("an update that meets no other", PATIENCE, || {
            let outcome = self.run_with(&["replace", "--validate=false", "-f", "-"], &object.to_string());
            (!outcome.stderr.contains("Error from server (Conflict)")).then_some(outcome)
        })
    }

    /// One object as the API server has it, or none.
    pub fn get(&self, what: &str) -> Option<serde_json::Value> {
        let outcome = self.run(&["get", what, "-o", "json", "--ignore-not-found"]);
        let text = outcome.accepted().stdout;
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("kubectl prints JSON"))
    }
}

impl Outcome {
    /// Runs a program to its end with `input` on standard input; `shown` is what messages call it.
    pub fn of(command: &mut Command, shown: &str, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown} does not start: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = input.to_owned();
        // On a thread of its own: the program may print before it has read everything. It may also end
        // without reading, which is no failure of ours.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().expect("a child can be waited for");
        writer.join().expect("the writer does not panic");
        Outcome {
            command: shown.to_owned(),
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn succeeded(&self) -> bool {
        self.success
    }

    /// Fails the test unless kubectl succeeded.
    #[track_caller]
    pub fn accepted(self) -> Self {
        assert!(self.success, "should have been accepted: {self}");
        self
    }

    /// Fails the test unless kubectl failed.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(!self.success, "should have been refused: {self}");
        self
    }

    /// Fails the test unless `text` is in what kubectl wrote to standard error.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "does not say {text:?}: {self}");
        self
    }

    /// Fails the test if `text` is in what kubectl wrote to standard error.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "says {text:?}: {self}");
        self
    }

    /// Refused by our verdict, not by the webhook being unreachable.
    #[track_caller]
    pub fn denied(self) -> Self {
        self.refused().says("tagwarden denied ")
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.stdout, self.stderr)
    }
}
