//! git, asked as a program: what a repository held.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The text of a file at a revision, as git itself names it: `main:releases/system.yaml`, from the top of the repository, or
/// `HEAD~1:./system.yaml`, from this folder. None: there is no such revision, or no such file in it.
///
/// # Errors
/// There is no git, or no repository around this folder.
pub(super) fn content(named: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let here = Path::new(".");
    git(here, &["rev-parse", "--git-dir"])
        .with_context(|| format!("'{named}' names a revision, and git cannot be asked"))?;
    let Ok(id) = git(here, &["rev-parse", "--verify", "--quiet", "--end-of-options", named]) else { return Ok(None) };
    Ok(git(here, &["cat-file", "blob", text(&id).trim()]).ok())
}

/// A git command, in a folder.
pub(super) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.quotePath=false"]).args(arguments);
    // A hook sets these for its own repository, and the paths of a check may lie in another.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    command
}

/// What git says.
///
/// # Errors
/// There is no git, or what it says is wrong.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = match command(folder, arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no git on the PATH"),
        Err(error) => return Err(error).context("cannot run git"),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = text(&output.stderr);
    bail!("git {} says: {}", arguments[0], said.lines().next().unwrap_or("nothing"))
}

/// What it says as text.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
