//! Mounted files under watch: polled and hashed, because kubelet swaps symlinks that inotify does not see.
//!
//! A poll reads only metadata; where that differs from the last time (or is too young to be told apart), the files
//! are read and hashed, and only other contents are a change. What a change is good for is for the caller to say:
//! nothing here replaces anything.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// How often files are looked at.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Metadata younger than this cannot be trusted to change with the contents: clocks of file systems are coarse.
const YOUNG: Duration = Duration::from_secs(2);

/// How often a set of files that changes while it is read is read again before the next poll has its turn.
const ATTEMPTS: usize = 3;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One file, which must be there.
    File(PathBuf),
    /// The policy files of a directory, which must be there: see [`is_policy_file`].
    PolicyDirectory(PathBuf),
}

/// A file's path and contents.
pub type Contents = (PathBuf, Vec<u8>);

/// A set of files that belong together, such as a certificate and its key.
#[derive(Debug)]
pub struct Watch {
    targets: Vec<Target>,
    stamps: Option<Vec<Stamp>>,
    hash: Option<[u8; 32]>,
}

/// What tells two states of a file apart without reading it; links are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
    device: u64,
    inode: u64,
}

impl Watch {
    /// A watch that has seen nothing yet: its first [`Watch::poll`] reports.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        Watch { targets, stamps: None, hash: None }
    }

    /// What is watched.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The contents of all files, where they differ from those of the last report; none where they do not. A file
    /// that cannot be read is a report too, once for each different failure.
    pub fn poll(&mut self) -> Option<Result<Vec<Contents>, String>> {
        let stamps = self.stamps();
        if stamps.is_err() {
            self.stamps = None;
        }
        if let Ok(stamps) = &stamps
            && self.stamps.as_ref() == Some(stamps)
            && !stamps.iter().any(Stamp::is_young)
        {
            return None;
        }
        let read = stamps.and_then(|stamps| self.read(stamps));
        let hash = hash(&read);
        if self.hash == Some(hash) {
            return None;
        }
        self.hash = Some(hash);
        Some(read)
    }

    /// Reads all files, again where they changed meanwhile: half of an old set and half of a new one are neither.
    fn read(&mut self, mut before: Vec<Stamp>) -> Result<Vec<Contents>, String> {
        for _ in 0..ATTEMPTS {
            let contents = before.iter().map(|stamp| Ok((stamp.path.clone(), read_file(&stamp.path)?))).collect();
            let after = self.stamps()?;
            if before == after {
                self.stamps = Some(after);
                return contents;
            }
            before = after;
        }
        self.stamps = None;
        Err("files change faster than they can be read; they are tried again".to_owned())
    }

    fn stamps(&self) -> Result<Vec<Stamp>, String> {
        let mut stamps = Vec::new();
        for target in &self.targets {
            match target {
                Target::File(path) => stamps.push(Stamp::of(path)?),
                Target::PolicyDirectory(path) => {
                    for file in policy_files(path)? {
                        stamps.push(Stamp::of(&file)?);
                    }
                }
            }
        }
        Ok(stamps)
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, String> {
        let metadata: Metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        Ok(Stamp {
            path: path.to_owned(),
            modified: metadata.modified().ok(),
            length: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    fn is_young(&self) -> bool {
        let Some(modified) = self.modified else {
            return true;
        };
        // A time in the future (a clock that was set back) is as good as young.
        modified.elapsed().is_ok_and(|age| age < YOUNG) || modified.elapsed().is_err()
    }
}

/// The policy files of a directory in name order: `*.yaml`, `*.yml`, `*.json`; no name that begins with a dot (kubelet
/// keeps `..data` there), no policy tests, no schemas for editors (`*.schema.json`), nothing further down.
///
/// # Errors
/// One sentence that names the directory, or what is no file in it.
pub fn policy_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        if !is_policy_file(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            // Reading a pipe may wait for ever, and what is left out may be what refuses.
            Ok(metadata) if !metadata.is_file() => {
                return Err(format!("cannot read {}: not a regular file", path.display()));
            }
            // Reading what has no metadata (a dangling link) says why.
            _ => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of this name in a policy directory is a policy.
#[must_use]
pub fn is_policy_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wanted = [".yaml", ".yml", ".json"];
    wanted.iter().any(|end| name.ends_with(end))
        && !name.starts_with('.')
        && !is_test_file(path)
        && !name.ends_with(".schema.json")
}

/// Whether a file of this name holds tests of policies.
#[must_use]
pub fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".test.yaml", ".test.yml", ".test.json"].iter().any(|end| name.ends_with(end)) && !name.starts_with('.')
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let reason = error.to_string();
    // Without the system's number, which says nothing more.
    format!("cannot read {}: {}", path.display(), reason.split(" (os error").next().unwrap_or(&reason))
}

fn hash(read: &Result<Vec<Contents>, String>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match read {
        Ok(contents) => {
            for (path, bytes) in contents {
                part(path.as_os_str().as_encoded_bytes());
                part(bytes);
            }
        }
        Err(problem) => part(problem.as_bytes()),
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{Target, Watch, policy_files};
    use std::fs;
    use std::os::unix::fs::symlink;

    fn contents(watch: &mut Watch) -> Option<Vec<String>> {
        let read = watch.poll()?.unwrap();
        let text = |(_, bytes)| String::from_utf8(bytes).unwrap();
        Some(read.into_iter().map(text).collect())
    }

    #[test]
    fn a_change_of_contents_is_reported_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![Target::File(file.clone())]);
        assert_eq!(contents(&mut watch), Some(vec!["1".to_owned()]));
        assert_eq!(contents(&mut watch), None);
        fs::write(&file, "2").unwrap();
        assert_eq!(contents(&mut watch), Some(vec!["2".to_owned()]));
        fs::write(&file, "2").unwrap();
        assert_eq!(contents(&mut watch), None, "the same contents, written again");
    }

    #[test]
    fn a_swap_of_symlinks_as_kubelet_does_it_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (version, text) in [("..v1", "old"), ("..v2", "new")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("p.yaml"), text).unwrap();
        }
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/p.yaml", root.join("p.yaml")).unwrap();
        let mut watch = Watch::new(vec![Target::PolicyDirectory(root.to_owned())]);
        assert_eq!(contents(&mut watch), Some(vec!["old".to_owned()]));
        symlink("..v2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(contents(&mut watch), Some(vec!["new".to_owned()]));
    }

    #[test]
    fn files_that_come_and_go_are_changes() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(vec![Target::PolicyDirectory(directory.path().to_owned())]);
        assert_eq!(contents(&mut watch), Some(vec![]));
        let file = directory.path().join("a.yaml");
        fs::write(&file, "").unwrap();
        assert_eq!(contents(&mut watch), Some(vec![String::new()]));
        fs::remove_file(&file).unwrap();
        assert_eq!(contents(&mut watch), Some(vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_so_is_its_coming_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        let mut watch = Watch::new(vec![Target::File(file.clone())]);
        let problem = watch.poll().unwrap().unwrap_err();
        assert!(problem.contains("cannot read") && problem.contains("/a"), "{problem}");
        assert!(watch.poll().is_none());
        fs::write(&file, "1").unwrap();
        assert_eq!(contents(&mut watch), Some(vec!["1".to_owned()]));
    }

    #[test]
    fn only_policies_are_read_from_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            "b.yml",
            "a.yaml",
            "c.json",
            ".x.yaml",
            "a.test.yaml",
            "a.test.yml",
            "a.test.json",
            "v1.schema.json",
            "README.md",
        ];
        for name in files {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join("sub.yaml")).unwrap();
        let found = policy_files(directory.path()).unwrap();
        let names: Vec<_> = found.iter().filter_map(|p| p.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.yaml", "b.yml", "c.json"]);
    }
}
