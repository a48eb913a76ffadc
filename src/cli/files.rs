//! Which files a verb reads: those named, those below the directories named, and standard input; and what is wrong
//! with them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::{Surroundings, report};
use crate::document::{Color, Diagnostic, Source, render};

/// Bytes that one input may have. Rendered charts of whole platforms are a few megabytes.
const MAX_BYTES: u64 = 64 << 20;
/// Folders inside each other.
const MAX_DEPTH: usize = 64;
/// The name shown for standard input.
pub(super) const STDIN: &str = "<stdin>";

/// What a path of the command line stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Standard input.
    Stdin,
    /// A file to read.
    File(PathBuf),
    /// A place that could not be looked into.
    Problem(Diagnostic),
}

/// What a verb takes from a directory; a path that is named itself is always taken.
pub(super) struct Wanted {
    /// Whether a file is read, by its name.
    pub file: fn(&str) -> bool,
    /// Whether a directory is looked into, by its path.
    pub directory: fn(&Path) -> bool,
    /// What such files are called, for whoever named a directory without any.
    pub help: &'static str,
}

/// Manifests in every directory.
const MANIFESTS: Wanted =
    Wanted { file: is_manifest, directory: |_| true, help: "manifests end in .yaml, .yml or .json" };

/// Whether a file is a manifest by its name.
pub(super) fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// Walks the paths in the order given; a directory's entries come in name order.
pub(super) fn find(paths: &[PathBuf]) -> Vec<Found> {
    find_wanted(paths, &MANIFESTS)
}

/// The same for other files than manifests.
pub(super) fn find_wanted(paths: &[PathBuf], wanted: &Wanted) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if !found.contains(&Found::Stdin) {
                found.push(Found::Stdin);
            }
        } else if path.is_dir() {
            let inside = below_wanted(path, wanted);
            if inside.is_empty() {
                let nothing = Diagnostic::of_file(&shown(path), "there is nothing to check in this directory");
                found.push(Found::Problem(nothing.help(wanted.help)));
            }
            found.extend(inside);
        } else {
            found.push(Found::File(path.clone()));
        }
    }
    // Named twice, a file is read once. Two links to it are two: what their paths say may differ.
    let mut seen = HashSet::new();
    found.retain(|found| match found {
        Found::File(path) => {
            let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
            seen.insert(path)
        }
        Found::Stdin | Found::Problem(_) => true,
    });
    found
}

/// The manifests below a directory, in name order; may be none.
pub(super) fn below(directory: &Path) -> Vec<Found> {
    below_wanted(directory, &MANIFESTS)
}

fn below_wanted(directory: &Path, wanted: &Wanted) -> Vec<Found> {
    let mut found = Vec::new();
    walk(directory, wanted, &mut HashSet::new(), &mut found);
    found
}

/// Collects the files below a directory. Links are followed; `seen` holds the real directories on the way, so
/// that a loop ends. Names that begin with a dot (`.git`, `..data`) are left out.
fn walk(directory: &Path, wanted: &Wanted, seen: &mut HashSet<PathBuf>, found: &mut Vec<Found>) {
    let entries = fs::canonicalize(directory).and_then(|real| {
        if seen.len() >= MAX_DEPTH || !seen.insert(real.clone()) {
            return Ok(None);
        }
        let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
        Ok(Some((real, entries.collect::<io::Result<Vec<_>>>()?)))
    });
    let (real, mut entries) = match entries {
        Ok(Some(entries)) => entries,
        Ok(None) => return,
        Err(error) => return found.push(Found::Problem(cannot_read(&shown(directory), &error))),
    };
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !(wanted.directory)(&entry) {
            continue;
        }
        let taken = (wanted.file)(&name);
        match fs::metadata(&entry) {
            Ok(metadata) if metadata.is_dir() => walk(&entry, wanted, seen, found),
            Ok(metadata) if taken && !metadata.is_file() => {
                let special = Diagnostic::of_file(&shown(&entry), "not a regular file");
                found.push(Found::Problem(special.help("name a pipe itself to have it read")));
            }
            // Reading what has no metadata (a dangling link) says why.
            _ if taken => found.push(Found::File(entry)),
            _ => {}
        }
    }
    // Another way to the same folder is another path, which may say something else.
    seen.remove(&real);
}

/// Whether a directory holds the templates of a Helm chart.
pub(super) fn is_templates(directory: &Path) -> bool {
    let templates = directory.file_name().is_some_and(|name| name == "templates");
    templates && directory.parent().is_some_and(|chart| chart.join("Chart.yaml").exists())
}

/// Reads a file (or a pipe that is named like one) as text.
pub(super) fn read_file(path: &Path) -> Result<String, Box<Diagnostic>> {
    let name = shown(path);
    let file = File::open(path).map_err(|error| Box::new(cannot_read(&name, &error)))?;
    read_text(&name, file)
}

/// Reads everything as UTF-8 text, within bounds.
pub(super) fn read_text(name: &str, from: impl Read) -> Result<String, Box<Diagnostic>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Box::new(cannot_read(name, &error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        let large = Diagnostic::of_file(name, "larger than 64 MiB, which no manifest is");
        return Err(Box::new(large.help("split it, or leave it out")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[valid];
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let source = Source::new(name, &before);
        let (line, column) = source.position(valid);
        let message = format!("not UTF-8: byte 0x{byte:02x} at line {line}, column {column}");
        Box::new(Diagnostic::of_file(name, message).help("save the file as UTF-8"))
    })
}

fn cannot_read(name: &str, error: &io::Error) -> Diagnostic {
    let problem = Diagnostic::of_file(name, format!("cannot be read: {}", reason(error)));
    match error.kind() {
        io::ErrorKind::NotFound => problem.help("check the path; `-` reads standard input"),
        io::ErrorKind::IsADirectory => problem.help("name a file in it"),
        _ => problem,
    }
}

/// The system's reason in lower case, without its error number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Shows what is wrong with an input, in full, on standard error.
pub(super) fn complain(problems: &[Diagnostic], text: &str, surroundings: &mut Surroundings<'_>) {
    for problem in problems {
        // A closed standard error takes nothing from the verdict.
        let _ = writeln!(surroundings.err, "{}", render(problem, text, Color::Never));
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &Path) -> String {
    report::shown(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found], below: &Path) -> Vec<String> {
        let name = |found: &Found| match found {
            Found::Stdin => "-".to_owned(),
            Found::File(path) => shown(path.strip_prefix(below).unwrap()),
            Found::Problem(problem) => format!("problem: {}", problem.message),
        };
        found.iter().map(name).collect()
    }

    #[test]
    fn directories_are_walked_in_order_and_link_loops_end() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("b/deep")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for file in ["z.yaml", "a.json", "b/deep/c.yml", "b/notes.md", ".git/x.yaml", "b/.y.yaml"] {
            fs::write(at(file), "").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), at("b/loop")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("b/dangling.yaml")).unwrap();

        let found = find(&[root.path().to_owned()]);
        assert_eq!(names(&found, root.path()), ["a.json", "b/dangling.yaml", "b/deep/c.yml", "z.yaml"]);
    }

    #[test]
    fn an_empty_directory_is_a_problem_not_a_pass() {
        let root = tempfile::tempdir().unwrap();
        let found = find(&[PathBuf::from("-"), root.path().to_owned()]);
        assert_eq!(names(&found, root.path()), ["-", "problem: there is nothing to check in this directory"]);
    }

    #[test]
    fn text_that_is_not_utf8_is_placed() {
        let problem = read_text("f.yaml", &b"ab\nc\xff\n"[..]).unwrap_err();
        assert_eq!(problem.message, "not UTF-8: byte 0xff at line 2, column 2");
    }

    #[test]
    fn an_endless_file_ends() {
        let problem = read_text("f.yaml", io::repeat(b'a')).unwrap_err();
        assert!(problem.message.starts_with("larger than 64 MiB"), "{problem}");
    }
}
