//! What a git repository knows of a commit: whether it is there, and on a branch.
//!
//! Commits are an image's word. Only hex digits reach git, behind `--end-of-options`; nothing is fetched, and objects that
//! stand in for others are not looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::{files, git};
use crate::policy::printable;

/// A repository, and the branch on which commits must be.
pub(super) struct Repository {
    folder: PathBuf,
    /// As it was given, and the commit that it is at.
    branch: Option<(String, String)>,
    /// Its history is cut off: what is not found may be there all the same.
    shallow: bool,
}

/// What is known of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is there and, where a branch was named, on it.
    Yes,
    /// There is no such commit.
    Absent,
    /// It is there, and the branch does not lead to it.
    Elsewhere,
    /// The history is cut off, so nobody can say.
    CutOff,
}

impl Repository {
    /// The repository in a folder. Of a branch that the remote `origin` has, its state there counts: what was published.
    ///
    /// # Errors
    /// There is no git, no repository, or no such branch.
    pub fn open(folder: &Path, branch: Option<&str>) -> anyhow::Result<Self> {
        let shown = files::shown(folder);
        let shallow = said(folder, &["rev-parse", "--is-shallow-repository"])?;
        let shallow = shallow.with_context(|| format!("{shown} is in no git repository"))? == "true";
        let branch = match branch {
            None => None,
            Some(branch) => {
                if !is_branch(branch) {
                    bail!("'{}' is not the name of a branch", printable(branch, 120));
                }
                let full = if branch.starts_with("refs/") { vec![branch.to_owned()] } else { names(branch) };
                let mut at = None;
                for name in full {
                    let name = format!("{name}^{{commit}}");
                    at = at.or(said(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?);
                }
                let at = at.with_context(|| {
                    format!("{shown} has no branch '{branch}', and its remote 'origin' neither; fetch it first")
                })?;
                Some((branch.to_owned(), at))
            }
        };
        Ok(Repository { folder: folder.to_owned(), branch, shallow })
    }

    /// The branch, as it was given.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_ref().map(|(name, _)| name.as_str())
    }

    /// The address of the remote `origin`, if there is one.
    ///
    /// # Errors
    /// Git cannot be run.
    pub fn origin(&self) -> anyhow::Result<Option<String>> {
        said(&self.folder, &["config", "--get", "remote.origin.url"])
    }

    /// What is known of a commit. What is no commit's name is absent, and nobody is asked.
    ///
    /// # Errors
    /// Git cannot be run, or fails.
    pub fn knows(&self, commit: &str) -> anyhow::Result<Known> {
        if !is_commit(commit) {
            return Ok(Known::Absent);
        }
        let missing = if self.shallow { Known::CutOff } else { Known::Absent };
        let name = format!("{commit}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &name];
        let Some(full) = said(&self.folder, &arguments)? else { return Ok(missing) };
        // A branch or tag may be called like a commit.
        if !full.starts_with(commit) {
            return Ok(Known::Absent);
        }
        let Some((_, at)) = &self.branch else { return Ok(Known::Yes) };
        let output = run(&self.folder, &["merge-base", "--is-ancestor", &full, at])?;
        match output.status.code() {
            Some(0) => Ok(Known::Yes),
            Some(1) if self.shallow => Ok(Known::CutOff),
            Some(1) => Ok(Known::Elsewhere),
            _ => bail!("git merge-base says: {}", first_line(&output.stderr)),
        }
    }
}

/// Whether it is written as commits are: hex digits and nothing else.
pub(super) fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The full names that a branch may have, the published one first.
fn names(branch: &str) -> Vec<String> {
    ["refs/remotes/origin/", "refs/heads/"].iter().map(|place| format!("{place}{branch}")).collect()
}

/// Whether git takes it for a branch and nothing else: no revision expression (git-check-ref-format).
fn is_branch(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"~^:?*[\\".contains(&byte);
    (1..=250).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !["..", "@{", "//"].iter().any(|part| name.contains(part))
}

/// One line that git says; none where it says no.
fn said(folder: &Path, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let output = run(folder, arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
    Ok(output.status.success().then_some(text))
}

fn run(folder: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = git::command(folder, arguments);
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_NO_REPLACE_OBJECTS", "1").stdin(Stdio::null());
    match command.output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no git on the PATH"),
        Err(error) => Err(error).context("cannot run git"),
    }
}

fn first_line(bytes: &[u8]) -> String {
    printable(String::from_utf8_lossy(bytes).lines().next().unwrap_or("nothing"), 200)
}

#[cfg(test)]
mod tests {
    use super::is_branch;

    #[test]
    fn branches_are_names_and_no_expressions() {
        for name in ["main", "release/1.x", "feature-1", "refs/heads/main", "a@b"] {
            assert!(is_branch(name), "{name}");
        }
        for name in
            ["", "-x", "--all", "main~1", "main^", "a..b", "HEAD@{1}", "a:b", "a b", "a\n", "/a", "a/", "a//b", ".a"]
        {
            assert!(!is_branch(name), "{name}");
        }
    }
}
