//! What a repository held at an earlier revision, so that only images that changed since are judged.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use anyhow::{Context as _, bail};

use crate::cli::files;
use crate::cli::git::command;
use crate::cli::objects::{self, Part};
use crate::cli::values_file;
use crate::document::{self, Source};
use crate::review::Workloads;

/// The files of the repositories that hold the paths of a check, as they were.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// Real paths of files that are the same now.
    unchanged: HashSet<PathBuf>,
    /// What the others held, by their real paths.
    files: HashMap<PathBuf, OldFile>,
    /// Objects of files that are not there any more, with what their paths said: whoever moves a file changes no image,
    /// and whoever moves it into another overlay promotes it.
    moved: HashMap<(Identity, Overlay), String>,
}

/// What a file held.
#[derive(Debug, Default)]
pub(super) struct OldFile {
    objects: HashMap<Identity, String>,
    values: HashSet<(String, String)>,
}

/// What makes two objects the same one: group, kind, namespace as written, name.
type Identity = (String, String, String, String);

/// The environment and the namespace that a path names.
pub(super) type Overlay = (Option<String>, Option<String>);

impl Base {
    /// Asks git what the files below the paths were where the present branch left `revision` (their merge base; an
    /// ancestor is its own).
    ///
    /// # Errors
    /// There is no git, no repository, no such revision, or no common history.
    pub fn read(
        paths: &[PathBuf],
        revision: &str,
        workloads: &Workloads,
        layout: impl Fn(&Path) -> Overlay,
    ) -> anyhow::Result<Self> {
        let mut base = Base::default();
        let mut seen = HashSet::new();
        let roots: Vec<PathBuf> = paths.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
        for path in paths {
            if path.as_os_str() == "-" {
                bail!("standard input has no earlier revision: name files, or leave --diff-base out");
            }
            // What is not there is told where it would be read.
            let Ok(real) = std::fs::canonicalize(path) else { continue };
            let repository = Repository::around(path, &real)?;
            if seen.insert(repository.top.clone()) {
                base.add(&repository, revision, workloads, &|path| would_be_read(path, &roots).then(|| layout(path)))?;
            }
        }
        Ok(base)
    }

    fn add(
        &mut self,
        repository: &Repository,
        revision: &str,
        workloads: &Workloads,
        layout: &impl Fn(&Path) -> Option<Overlay>,
    ) -> anyhow::Result<()> {
        let commit = repository.fork_point(revision)?;
        let changed = repository.changed(&commit)?;
        let mut wanted = Vec::new();
        for (path, blob) in repository.tree(&commit)? {
            if !changed.contains(&path) {
                self.unchanged.insert(repository.top.join(&path));
            } else if path.to_str().is_some_and(files::is_manifest) {
                wanted.push((path, blob));
            }
        }
        let texts = repository.blobs(wanted.iter().map(|(_, blob)| blob.as_str()))?;
        for ((path, _), bytes) in wanted.into_iter().zip(texts) {
            let path = repository.top.join(path);
            let old = OldFile::read(&String::from_utf8_lossy(&bytes), workloads);
            if path.exists() {
                self.files.insert(path, old);
            } else if let Some(overlay) = layout(&path) {
                self.moved.extend(old.objects.into_iter().map(|(identity, json)| ((identity, overlay.clone()), json)));
            }
        }
        Ok(())
    }

    /// Whether a file holds what it held.
    pub fn is_unchanged(&self, path: &Path) -> bool {
        !is_linked(path) && std::fs::canonicalize(path).is_ok_and(|real| self.unchanged.contains(&real))
    }

    /// What a file held; none where it was not there.
    pub fn file(&self, path: &Path) -> Option<&OldFile> {
        self.files.get(&std::fs::canonicalize(path).ok().filter(|_| !is_linked(path))?)
    }

    /// The object as it was, as JSON: in the file that it is in now, else in one that is gone and whose path said the same.
    pub fn object<'b>(
        &'b self,
        file: Option<&'b OldFile>,
        object: &objects::Object<'_>,
        overlay: Overlay,
    ) -> Option<&'b str> {
        let identity = identity(object);
        // An object that a file holds twice has no past: which of them would it be?
        let here = file.and_then(|file| file.objects.get(&identity));
        here.or_else(|| self.moved.get(&(identity, overlay))).map(String::as_str)
    }
}

impl OldFile {
    /// What was broken then, also in part, has no past: it is judged in full now.
    fn read(text: &str, workloads: &Workloads) -> Self {
        let source = Source::new("", text);
        let (documents, problems) = document::parse(&source);
        let mut old = OldFile::default();
        if !problems.is_empty() {
            return old;
        }
        let mut doubled = Vec::new();
        for document in &documents {
            for part in objects::parts(&document.root) {
                let Part::Object(object) = part else { continue };
                if !workloads.knows(object.group, object.kind) {
                    continue;
                }
                let identity = identity(&object);
                if old.objects.insert(identity.clone(), object.node.to_json().to_string()).is_some() {
                    doubled.push(identity);
                }
            }
            let images = values_file::images(&document.root);
            let written =
                images.iter().filter_map(|image| Some((image.path.clone(), image.reference().ok()?.into_owned())));
            old.values.extend(written);
        }
        for identity in doubled {
            old.objects.remove(&identity);
        }
        old
    }

    /// Whether an image of a values file stood there, the same.
    pub fn has_value(&self, path: &str, image: &str) -> bool {
        self.values.contains(&(path.to_owned(), image.to_owned()))
    }
}

/// Whether a path leads through a link: what git knows of is the link, not where it leads.
fn is_linked(path: &Path) -> bool {
    path.ancestors().any(|part| std::fs::symlink_metadata(part).is_ok_and(|metadata| metadata.is_symlink()))
}

/// Whether a file that is gone would have been read by this check: an object moves from nowhere else.
fn would_be_read(path: &Path, roots: &[PathBuf]) -> bool {
    let hidden = |rest: &Path| rest.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    roots.iter().filter_map(|root| path.strip_prefix(root).ok()).any(|rest| !hidden(rest))
}

fn identity(object: &objects::Object<'_>) -> Identity {
    let namespace = object.namespace().unwrap_or_default();
    (object.group.to_owned(), object.kind.to_owned(), namespace.to_owned(), object.name())
}

/// A working tree of git.
struct Repository {
    /// Its top folder.
    top: PathBuf,
}

impl Repository {
    /// The one that holds a path.
    fn around(path: &Path, real: &Path) -> anyhow::Result<Self> {
        let folder = if real.is_dir() { real } else { real.parent().unwrap_or(real) };
        let told = git(folder, &["rev-parse", "--show-toplevel"]).with_context(|| {
            format!("{} is in no git repository, so --diff-base cannot be asked", files::shown(path))
        })?;
        let top = PathBuf::from(text(&told).trim_end_matches('\n'));
        Ok(Repository { top: std::fs::canonicalize(&top).unwrap_or(top) })
    }

    /// The commit in which what is checked out left a revision.
    fn fork_point(&self, revision: &str) -> anyhow::Result<String> {
        let commit = format!("{revision}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &commit];
        let named = git(&self.top, &arguments)
            .with_context(|| format!("git knows no revision '{revision}'; fetch it first (git fetch origin)"))?;
        let named = text(&named).trim().to_owned();
        let base = git(&self.top, &["merge-base", &named, "HEAD"]).with_context(|| {
            format!(
                "git finds no common history of '{revision}' and HEAD; fetch more of it (actions/checkout: fetch-depth: 0)"
            )
        })?;
        Ok(text(&base).trim().to_owned())
    }

    /// Paths (from the top) whose content in the working tree is not that of the commit.
    fn changed(&self, commit: &str) -> anyhow::Result<HashSet<PathBuf>> {
        let arguments =
            ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules", commit, "--"];
        let told = git(&self.top, &arguments)?;
        // Files that git was told not to look at (assume-unchanged in lower case, skip-worktree S) are looked at.
        let marked = git(&self.top, &["ls-files", "-v", "-z"])?;
        let unseen = marked.split(|byte| *byte == 0).filter_map(|line| match line {
            [mark, b' ', path @ ..] if mark.is_ascii_lowercase() || *mark == b'S' => Some(path_of(path)),
            _ => None,
        });
        let changed = told.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(path_of);
        Ok(changed.chain(unseen).collect())
    }

    /// Paths (from the top) of the commit's files, with the names of their contents.
    fn tree(&self, commit: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let told = git(&self.top, &["ls-tree", "-r", "-z", "--full-tree", commit])?;
        let entry = |line: &[u8]| {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            // `100644 blob <id>`; a submodule is a commit, and a link's content is where it leads.
            let mut words = line[..tab].split(|byte| *byte == b' ');
            let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
            let is_file = kind == b"blob" && mode != b"120000";
            is_file.then(|| (path_of(&line[tab + 1..]), text(id).into_owned()))
        };
        Ok(told.split(|byte| *byte == 0).filter_map(entry).collect())
    }

    /// The contents of these names, in their order.
    fn blobs<'i>(&self, ids: impl Iterator<Item = &'i str>) -> anyhow::Result<Vec<Vec<u8>>> {
        let ids: Vec<&str> = ids.collect();
        let mut command = command(&self.top, &["cat-file", "--batch"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("git has no streams");
        };
        let questions = ids.iter().fold(String::new(), |all, id| all + id + "\n");
        // Git answers while it is asked: both at once, or the two pipes fill and each side waits for the other.
        let asking = thread::spawn(move || stdin.write_all(questions.as_bytes()));
        let mut answers = BufReader::new(stdout);
        let contents =
            ids.iter().map(|id| blob(&mut answers).with_context(|| format!("git cannot read {id}"))).collect();
        // A pipe that git closed early shows in its answers.
        drop(asking.join());
        child.wait()?;
        contents
    }
}

/// One answer of `git cat-file --batch`: `<id> blob <size>`, the content, a line's end.
fn blob(answers: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut header = String::new();
    answers.read_line(&mut header)?;
    let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
    let size = size.ok_or_else(|| io::Error::other(format!("it answers '{}'", header.trim_end())))?;
    let mut content = Vec::new();
    answers.take(size).read_to_end(&mut content)?;
    if content.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    answers.read_exact(&mut [0])?;
    Ok(content)
}

/// What git says.
fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
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

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(bytes).into()
}
