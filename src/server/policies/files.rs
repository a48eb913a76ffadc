//! Policy files under watch.

use std::path::PathBuf;

use crate::document::Diagnostic;
use crate::watch::{Contents, Target, Watch};

/// Name and text of each file.
pub(super) type Texts = Vec<(String, String)>;

/// What the directories said last.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadFiles {
    pub texts: Texts,
    /// What could not be read.
    pub unreadable: Vec<Diagnostic>,
}

/// The directories of policies.
#[derive(Debug)]
pub(in crate::server) struct Files {
    directories: Vec<PathBuf>,
    watch: Watch,
    read: ReadFiles,
}

impl Files {
    /// Nothing is read yet.
    pub fn new(directories: &[PathBuf]) -> Self {
        let targets = directories.iter().cloned().map(Target::PolicyDirectory).collect();
        Files { directories: directories.to_vec(), watch: Watch::new(targets), read: ReadFiles::default() }
    }

    /// Whether these are the directories.
    pub fn are_of(&self, directories: &[PathBuf]) -> bool {
        self.directories == directories
    }

    /// Whether the files say something else than the last time.
    pub fn changed(&mut self) -> bool {
        let Some(read) = self.watch.poll() else { return false };
        self.read = ReadFiles::default();
        match read {
            Ok(contents) => contents.into_iter().for_each(|file| self.take(file)),
            Err(problem) => self.read.unreadable.push(Diagnostic::of_file("policies", problem)),
        }
        true
    }

    fn take(&mut self, (path, bytes): Contents) {
        let name = path.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => self.read.texts.push((name, text)),
            Err(_) => self.read.unreadable.push(Diagnostic::of_file(&name, "it is not UTF-8, save it as UTF-8")),
        }
    }

    /// What was read last; none: no directory is named.
    pub(super) fn read(&self) -> Option<&ReadFiles> {
        (!self.directories.is_empty()).then_some(&self.read)
    }

    /// The texts that were read last.
    pub(super) fn texts(&self) -> &Texts {
        &self.read.texts
    }
}
