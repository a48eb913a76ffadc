//! Git, called as a program: in a folder that is named, and out of the hook that may have called us.

use std::path::Path;
use std::process::Command;

/// Git with these arguments in a folder.
pub(super) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.quotePath=false"]).args(arguments);
    // A hook sets these for its own repository, and the paths of a check may lie in another.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    command
}
