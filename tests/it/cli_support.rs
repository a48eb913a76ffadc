//! Runs the real binary in a directory of its own and collects what it says.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::Parser as _;
use tagwarden::cli::{self, Cli, Exit, Progress, Surroundings};
use tagwarden::document::Color;

/// A scratch directory with files, and the binary run in it.
pub struct Scene {
    directory: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Scene {
    /// A directory with these files: path and text.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let scene = Scene { directory: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            scene.write(path, text.as_bytes());
        }
        scene
    }

    /// Writes a file, and the directories above it.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the binary without colour variables of the environment.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "")
    }

    /// The same with something on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A binary that does not read its input closes it: that is its right.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran::from(output)
    }

    /// The command with its three streams piped.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        command.args(arguments).current_dir(self.path());
        // Nobody's own credentials, and no proxy in front of loopback.
        command.env("HOME", self.path()).env_remove("DOCKER_CONFIG");
        for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
            command.env_remove(proxy);
        }
        outside_hooks(&mut command);
        command.env_remove("NO_COLOR").env_remove("FORCE_COLOR").env_remove("CLICOLOR_FORCE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Takes away what git tells its hooks, so that a test run from one does not write to the repository around it.
pub fn outside_hooks(command: &mut Command) -> &mut Command {
    ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"].into_iter().fold(command, Command::env_remove)
}

/// Runs git in a scene, as somebody, and without anybody's configuration.
pub fn git(scene: &Scene, arguments: &[&str]) {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(scene.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = outside_hooks(&mut command).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a verb within this process, at a time of our choosing.
pub fn run_at(now: i64, arguments: &[&str]) -> (Exit, String) {
    let mut out = Vec::new();
    let mut surroundings = Surroundings {
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut std::io::sink(),
        color: Color::Never,
        width: None,
        progress: Progress::Hidden,
        now,
    };
    let exit = cli::run(Cli::try_parse_from(arguments).unwrap(), &mut surroundings);
    (exit, String::from_utf8(out).unwrap())
}

/// Copies the binary to where somebody else may run it. Another process writes it: held open for writing by this one, the
/// file could pass into a child that another test starts just then, and not be run ("text file busy").
pub fn copy_binary(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tagwarden")).arg(to).status().unwrap();
    assert!(copied.success());
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().expect("the binary was not killed by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
