//! The repository as a list of files with their texts.

use super::code::{file_modules, split_tests, without_comments_and_literals};
use std::fs;
use std::path::Path;

/// Folders and files that programs write; rules about our words do not hold for them.
const GENERATED: &[&str] = &["Cargo.lock", "fuzz/Cargo.lock", "fuzz/seeds", "tests/cluster/assets/go.sum"];

/// A text file: its path from the root of the repository, with `/`, and what it holds.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    /// The whole file is a unit test: its parent declares it under `#[cfg(test)]`.
    unit_test: bool,
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        File { path: path.to_owned(), text: text.to_owned(), unit_test: false }
    }

    /// Rust source of ours.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The path of a source file below `src/`, without `src/`.
    pub(super) fn in_src(&self) -> Option<&str> {
        self.path.strip_prefix("src/").filter(|_| self.is_rust())
    }

    /// Its code, comments and literals blanked.
    pub(super) fn code(&self) -> String {
        without_comments_and_literals(&self.text)
    }

    /// Its code in two: what is built into the program, and unit tests.
    pub(super) fn program_and_tests(&self) -> (String, String) {
        match self.unit_test {
            true => (String::new(), self.code()),
            false => split_tests(&self.code()),
        }
    }
}

/// Every text file of the repository; what `.gitignore` names is not part of it.
pub(super) fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = Ignored::parse(&fs::read_to_string(root.join(".gitignore")).unwrap_or_default());
    let mut files = Vec::new();
    collect(root, "", &ignored, &mut files);
    assert!(files.len() > 20, "only {} files were found below {}", files.len(), root.display());
    mark_unit_tests(&mut files);
    files
}

/// Marks the files of modules that a file of src declares under `#[cfg(test)]`, and what lies below them.
fn mark_unit_tests(files: &mut [File]) {
    let mut modules = Vec::new();
    for file in files.iter().filter(|file| file.in_src().is_some()) {
        let folder = file.path.trim_end_matches(".rs");
        let folder = folder.strip_suffix("/lib").or(folder.strip_suffix("/main")).unwrap_or(folder);
        let declared = file_modules(&file.program_and_tests().1);
        modules.extend(declared.into_iter().map(|module| format!("{folder}/{module}")));
    }
    for file in files {
        let below = |module: &String| file.path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/']));
        file.unit_test |= modules.iter().any(below);
    }
}

/// The text of one file; empty where there is none, so that a rule about it reports what is missing.
pub(super) fn text_of<'a>(files: &'a [File], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
}

fn collect(folder: &Path, prefix: &str, ignored: &Ignored, files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link || name == ".git" || ignored.contains(&path) || GENERATED.contains(&path.as_str()) {
            continue;
        }
        let place = entry.path();
        if place.is_dir() {
            collect(&place, &format!("{path}/"), ignored, files);
        } else if let Ok(text) = fs::read_to_string(&place) {
            files.push(File::new(&path, &text));
        }
    }
}

/// The two forms of lines that our `.gitignore` uses: `/a/path` from the root, and `*.ending` anywhere.
struct Ignored {
    paths: Vec<String>,
    endings: Vec<String>,
}

impl Ignored {
    fn parse(text: &str) -> Self {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let paths = lines().filter_map(|line| line.strip_prefix('/')).map(|line| line.trim_end_matches('/').to_owned());
        let endings = lines().filter_map(|line| line.strip_prefix('*')).map(str::to_owned);
        let understood = lines().all(|line| line.starts_with('/') || line.starts_with('*'));
        assert!(
            understood,
            ".gitignore has a line that is neither '/path' nor '*.ending'; teach tests/it/tidy/tree.rs"
        );
        Ignored { paths: paths.collect(), endings: endings.collect() }
    }

    fn contains(&self, path: &str) -> bool {
        self.paths.iter().any(|ignored| ignored == path) || self.endings.iter().any(|ending| path.ends_with(ending))
    }
}

#[test]
fn gitignore_lines_hold_whole_paths_or_endings() {
    let ignored = Ignored::parse("# made\n/target\n/certs/dev/\n*.profraw\n");
    assert!(ignored.contains("target") && ignored.contains("certs/dev") && ignored.contains("a/b.profraw"));
    assert!(!ignored.contains("target.rs") && !ignored.contains("certs") && !ignored.contains("src/target"));
}

#[test]
fn a_file_module_under_cfg_test_is_a_unit_test() {
    let parent = "#[cfg(test)]\n#[cfg(unix)]\nmod tests;\nmod real;\n#[cfg(test)]\nmod inline { fn f() {} }";
    let names = ["src/a.rs", "src/a/tests.rs", "src/a/tests/more.rs", "src/a/real.rs", "src/a/testsuite.rs"];
    let mut files = names.map(|path| File::new(path, if path == "src/a.rs" { parent } else { "fn g() {}" }));
    mark_unit_tests(&mut files);
    assert_eq!(files.map(|file| file.unit_test), [false, true, true, false, false]);
}
