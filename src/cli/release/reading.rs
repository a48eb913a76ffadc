//! Reading release files from where the command line names them, and writing them back.

use std::path::Path;

use anyhow::bail;

use crate::cli::{Exit, Surroundings, files, git, store, written};
use crate::document::{Diagnostic, Severity};
use crate::release::ReleaseFile;

/// Reads a release file; `-` is standard input. None, after every problem in it was written to standard error.
pub(super) fn read(path: &Path, surroundings: &mut Surroundings<'_>) -> Option<ReleaseFile> {
    let (name, text) = text(path, surroundings)?;
    told(ReleaseFile::read(&name, &text), &text, surroundings)
}

/// The same where a release is made: what is probably not meant is an error there.
pub(super) fn read_strictly(path: &Path, surroundings: &mut Surroundings<'_>) -> Option<ReleaseFile> {
    let file = read(path, surroundings)?;
    let errors: Vec<Diagnostic> = file.warnings.iter().cloned().map(as_error).collect();
    files::complain(&errors, file.text(), surroundings);
    errors.is_empty().then_some(file)
}

/// A warning where it is no more one.
pub(super) fn as_error(warning: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Error, ..warning }
}

/// Tells on standard error what makes a file less than a lock: another content than was sealed, or images without digests.
pub(super) fn tell_state(file: &ReleaseFile, surroundings: &mut Surroundings<'_>) {
    files::complain(file.stale_id().as_slice(), file.text(), surroundings);
    let images = file.release.images();
    let open = images.iter().filter(|image| image.digest.is_none()).count();
    if open > 0 {
        let told = format!(
            "note: {}: {open} of {} no digest, so what their tags name decides; `tagwarden release lock --write` adds them",
            file.file_name(),
            if images.len() == 1 { "1 image has".to_owned() } else { format!("{} images have", images.len()) }
        );
        // Nobody is left to tell when standard error is closed too.
        let _ = writeln!(surroundings.err, "{told}");
    }
}

/// The same of `REV:PATH`, too: what a file held at a revision of git. A file of that name goes first.
///
/// # Errors
/// git cannot be asked, or has no such file.
pub(super) fn read_at_revision(
    named: &Path,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Option<ReleaseFile>> {
    let Some((name, text)) = text_at_revision(named, surroundings)? else { return Ok(None) };
    Ok(told(ReleaseFile::read(&name, &text), &text, surroundings))
}

/// The name and the text of what is named so.
///
/// # Errors
/// Those of [`read_at_revision`].
pub(super) fn text_at_revision(
    named: &Path,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Option<(String, String)>> {
    let revision = named.to_str().filter(|name| !named.exists() && name.contains(':') && !name.starts_with(':'));
    let Some(revision) = revision else { return Ok(text(named, surroundings)) };
    let Some(bytes) = git::content(revision)? else {
        bail!("git has no '{revision}'; write REV:PATH, the path from the top of the repository (or REV:./PATH)");
    };
    let name = files::shown(named);
    match files::read_text(&name, bytes.as_slice()) {
        Ok(text) => Ok(Some((name, text))),
        Err(problem) => {
            files::complain(&[*problem], "", surroundings);
            Ok(None)
        }
    }
}

/// A file's name and text. None, after what is wrong was written to standard error.
pub(super) fn text(path: &Path, surroundings: &mut Surroundings<'_>) -> Option<(String, String)> {
    let (name, text) = match path.as_os_str() == "-" {
        true => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
        false => (files::shown(path), files::read_file(path)),
    };
    match text {
        Ok(text) => Some((name, text)),
        Err(problem) => {
            files::complain(&[*problem], "", surroundings);
            None
        }
    }
}

/// What was read, or made; else its problems are told.
pub(super) fn told<T>(read: Result<T, Vec<Diagnostic>>, text: &str, surroundings: &mut Surroundings<'_>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(problems) => {
            files::complain(&problems, text, surroundings);
            None
        }
    }
}

/// What becomes of a new text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// It is printed.
    Printed,
    /// It takes the file's place.
    Written,
}

impl Becomes {
    /// By `--write`.
    pub fn of(write: bool, path: &Path) -> anyhow::Result<Self> {
        match write {
            true if path.as_os_str() == "-" => {
                bail!("standard input cannot be written: leave out --write, and the new text is printed")
            }
            true => Ok(Becomes::Written),
            false => Ok(Becomes::Printed),
        }
    }
}

/// Prints the new file, or writes it into the old one's place.
pub(super) fn deliver(
    becomes: Becomes,
    path: &Path,
    old: &ReleaseFile,
    new: &ReleaseFile,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Exit> {
    if becomes == Becomes::Printed {
        let printed = surroundings.out.write_all(new.text().as_bytes()).and_then(|()| surroundings.out.flush());
        return written(printed, Exit::Clean);
    }
    let what = if new.text() == old.text() {
        "is locked already"
    } else {
        if let Err(problem) = store::replace(path, old.text(), new.text()) {
            files::complain(&[*problem], "", surroundings);
            return Ok(Exit::Error);
        }
        "is written"
    };
    let told = format!("{} {what}: {}, {}", old.file_name(), new.release.name(), new.release.id());
    written(writeln!(surroundings.out, "{told}"), Exit::Clean)
}
