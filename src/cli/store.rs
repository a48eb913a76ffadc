//! Writing a file back: by way of another one beside it, and only where nobody changed it meanwhile.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use super::files;
use super::outputs::take_place;
use crate::document::Diagnostic;

/// Puts `new` into the place of `old`. Links stay links, and permissions what they were.
///
/// # Errors
/// One sentence: it is no file that can be written, or holds something else than `old` by now. It is as it was then.
pub(super) fn replace(path: &Path, old: &str, new: &str) -> Result<(), Box<Diagnostic>> {
    let name = files::shown(path);
    written(path, old, new).map_err(|error| {
        let problem = Diagnostic::of_file(&name, format!("cannot be written: {}", files::reason(&error)));
        Box::new(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => problem.help("nothing was written; run it again"),
            _ => problem.help("nothing was written to it"),
        })
    })
}

fn written(path: &Path, old: &str, new: &str) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    let metadata = fs::metadata(&target)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
    }
    take_place(&target, |mut file, temporary| {
        file.write_all(new.as_bytes())?;
        // Whoever may write a file need not be allowed to give it away; then it is the writer's own.
        let _ = chown(temporary, Some(metadata.uid()), Some(metadata.gid()));
        file.set_permissions(metadata.permissions())?;
        file.sync_all()?;
        unchanged(&target, old)
    })
}

/// As late as can be, so that as little as can be is lost.
fn unchanged(target: &Path, old: &str) -> io::Result<()> {
    if fs::read(target)? == old.as_bytes() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed while it was read"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn left(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn links_and_permissions_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        replace(&link, "old", "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(left(folder.path()), ["link", "real"]);
    }

    #[test]
    fn what_changed_vanished_or_is_protected_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let told = |path: &Path| replace(path, "old", "new").unwrap_err().message;
        assert_eq!(told(&path), "cannot be written: no such file or directory");
        fs::write(&path, "other").unwrap();
        assert_eq!(told(&path), "cannot be written: it was changed while it was read");
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(told(&path), "cannot be written: it is read-only");
        assert_eq!(told(folder.path()), "cannot be written: it is not a regular file");
        assert_eq!(left(folder.path()), ["f"], "no temporary file stays");
    }
}
