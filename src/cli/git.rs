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

/// What tells git of one repository, as `git rev-parse --local-env-vars` (git 2.39) prints it. A hook has some of these for its own
/// repository, and the paths of a check may lie in another; others (objects from elsewhere, settings) would let whoever sets
/// them say what a revision held.
const LOCAL: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// A git command, in a folder.
pub(super) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.quotePath=false"]).args(arguments);
    LOCAL.iter().for_each(|variable| {
        command.env_remove(variable);
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_that_names_a_repository_is_taken_away() {
        let printed = git(Path::new("."), &["rev-parse", "--local-env-vars"]).unwrap();
        let missing: Vec<_> = text(&printed).lines().filter(|name| !LOCAL.contains(name)).map(str::to_owned).collect();
        assert_eq!((missing.as_slice(), printed.is_empty()), ([].as_slice(), false));
        let command = command(Path::new("."), &["status"]);
        for name in LOCAL {
            assert!(command.get_envs().any(|(key, value)| key == name && value.is_none()), "{name}");
        }
    }
}
