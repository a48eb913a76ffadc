//! The shape of single files: what each begins with, how long it is, and what must not be left in it.

use super::Problems;
use super::code::paths;
use super::tree::File;

/// The most lines of a source file; past them it is probably two.
const LONGEST: usize = 600;

/// The files that may wait by the clock: they ask for a condition again and again, under a deadline.
const WAITING: &[&str] = &["tests/cluster/harness/wait.rs", "tests/it/wait.rs"];

/// Marks of unfinished work; put together here so that this file does not hold them.
const LEFTOVERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of one machine.
const MACHINE_PATHS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/")];

/// Endings of host names that only one network knows.
const PRIVATE_ENDINGS: &[&str] = &[".internal", ".intranet", ".corp", ".lan", ".home.arpa"];

/// A source file begins with one sentence that says what it is.
pub(super) fn header(file: &File) -> Problems {
    if !file.is_rust() {
        return Vec::new();
    }
    let lines = file.text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<_> = lines.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let sentence = paragraph.join(" ");
    let wrong = if sentence.is_empty() {
        "does not begin with '//!'; say in one sentence what the file is"
    } else if !sentence.ends_with('.') {
        "its first '//!' sentence does not end in a period"
    } else if has_two_sentences(&sentence) {
        "its first '//!' paragraph is more than one sentence; put an empty '//!' line after the first"
    } else {
        return Vec::new();
    };
    vec![format!("{}:1: {wrong}", file.path)]
}

/// A period, then a space, then a capital.
fn has_two_sentences(paragraph: &str) -> bool {
    paragraph.split(". ").skip(1).any(|rest| rest.starts_with(char::is_uppercase))
}

/// A source file is short enough to read.
pub(super) fn length(file: &File) -> Problems {
    let lines = file.text.lines().count();
    let too_long = file.is_rust() && lines > LONGEST;
    Vec::from_iter(
        too_long.then(|| format!("{}: {lines} lines, more than {LONGEST}; it is probably two files", file.path)),
    )
}

/// Modules are `x.rs` and `x/`.
pub(super) fn module_names(file: &File) -> Problems {
    let wrong = file.path.ends_with("/mod.rs");
    Vec::from_iter(wrong.then(|| format!("{}: rename it to the folder's name with .rs, beside the folder", file.path)))
}

/// No text of ours says that something is still to be done.
pub(super) fn leftovers(file: &File) -> Problems {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| LEFTOVERS.contains(word)) {
            problems.push(format!("{}:{number}: '{word}'; do it, or say in an issue what is missing", file.path));
        }
    }
    problems
}

/// Every test runs.
pub(super) fn ignored_tests(file: &File) -> Problems {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = file.code();
    let ignored = numbered(&code).filter(|(_, line)| {
        let attribute = line.split_once("#[").map_or("", |(_, rest)| rest).trim_start();
        attribute.starts_with("ignore") || line.contains("cfg_attr") && line.contains("ignore")
    });
    ignored.map(|(number, _)| format!("{}:{number}: an ignored test; make it run, or delete it", file.path)).collect()
}

/// No test waits by the clock: not under tests/, not in a unit test.
pub(super) fn sleeping_tests(file: &File) -> Problems {
    let in_tests = file.path.starts_with("tests/");
    if !file.is_rust() || WAITING.contains(&file.path.as_str()) || !(in_tests || file.in_src().is_some()) {
        return Vec::new();
    }
    let code = if in_tests { file.code() } else { file.program_and_tests().1 };
    let sleeps = ["sleep", "sleep_until", "sleep_ms"];
    let found =
        paths(&code).into_iter().filter(|path| path.segments.last().is_some_and(|n| sleeps.contains(&n.as_str())));
    found
        .map(|path| {
            let (file, line) = (&file.path, path.line);
            format!(
                "{file}:{line}: a test sleeps; wait for a condition under a deadline instead, as {} does",
                WAITING[0]
            )
        })
        .collect()
}

/// Nothing names a folder of the machine that it was written on.
pub(super) fn machine_paths(file: &File) -> Problems {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        // `policies/` + `work/` is a path of the repository, `/` + `work/` after a space or a quote is one of a machine.
        let absolute = |path: &&&str| {
            line.match_indices(**path)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".}_-".contains(c)))
        };
        if let Some(path) = MACHINE_PATHS.iter().find(absolute) {
            problems.push(format!("{}:{number}: names '{path}'; use a path from the repository's root", file.path));
        }
    }
    problems
}

/// No address leads to a host that only one network knows.
pub(super) fn private_hosts(file: &File) -> Problems {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        for address in line.split("://").skip(1) {
            let authority =
                address.split(|c: char| !c.is_ascii_alphanumeric() && !".-@:".contains(c)).next().unwrap_or("");
            let host = authority.rsplit('@').next().unwrap_or("").split(':').next().unwrap_or("");
            if PRIVATE_ENDINGS.iter().any(|ending| host.ends_with(ending)) {
                problems
                    .push(format!("{}:{number}: '{host}' is a host of a private network; use example.com", file.path));
            }
        }
    }
    problems
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::{File, Problems};

    fn fails(rule: fn(&File) -> Problems, path: &str, text: &str) -> bool {
        !rule(&File::new(path, text)).is_empty()
    }

    #[test]
    fn a_file_begins_with_one_sentence() {
        let fails = |text| fails(super::header, "src/x.rs", text);
        assert!(fails("use std::fmt;"));
        assert!(fails("//! What it is"));
        assert!(fails("//! What it is. What it does.\n"));
        assert!(fails("//! What it is.\n//! What it does.\n"));
        assert!(!fails("//! What it is, over\n//! two lines, e.g. these.\n//!\n//! More. And more"));
        assert!(!super::header(&File::new("bench.rs", "")).is_empty());
        assert!(super::header(&File::new("README.md", "")).is_empty());
    }

    #[test]
    fn a_file_has_600_lines_at_most() {
        assert!(!fails(super::length, "src/x.rs", &"\n".repeat(600)));
        assert!(fails(super::length, "src/x.rs", &"\n".repeat(601)));
        assert!(!fails(super::length, "docs/x.md", &"\n".repeat(601)));
    }

    #[test]
    fn a_module_is_not_called_mod() {
        assert!(fails(super::module_names, "src/image/mod.rs", ""));
        assert!(!fails(super::module_names, "src/image.rs", ""));
    }

    #[test]
    fn marks_of_unfinished_work_are_found_as_words() {
        let mark = super::LEFTOVERS[0];
        assert!(fails(super::leftovers, "src/x.rs", &format!("// {mark}: later")));
        assert!(fails(super::leftovers, "Makefile", &format!("# {mark}(me)")));
        assert!(!fails(super::leftovers, "src/x.rs", &format!("const {mark}S: u8 = 1; // to do")));
    }

    #[test]
    fn an_ignored_test_is_found_under_any_spelling() {
        let fails = |text| fails(super::ignored_tests, "tests/it/x.rs", text);
        assert!(fails("#[test]\n#[ignore]\nfn a() {}"));
        assert!(fails("#[ignore = \"slow\"]"));
        assert!(fails("#[cfg_attr(windows, ignore)]"));
        assert!(!fails("// #[ignore]\nlet ignored = \"#[ignore]\";"));
    }

    #[test]
    fn tests_do_not_sleep_and_code_may() {
        let nap = "fn f() { std::thread::sleep(x) }";
        assert!(fails(super::sleeping_tests, "tests/it/x.rs", nap));
        assert!(fails(super::sleeping_tests, "tests/it/x.rs", "use tokio::time::{sleep, timeout};"));
        assert!(fails(super::sleeping_tests, "src/watch.rs", &format!("#[cfg(test)]\nmod tests {{ {nap} }}")));
        assert!(!fails(super::sleeping_tests, "src/watch.rs", nap));
        assert!(!fails(super::sleeping_tests, super::WAITING[0], nap));
        assert!(!fails(super::sleeping_tests, "tests/it/x.rs", "// sleep(1)\nwait_until(ready);"));
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        let folder = super::MACHINE_PATHS[0];
        assert!(fails(super::machine_paths, "README.md", &format!("see {folder}main")));
        assert!(fails(super::machine_paths, "README.md", &format!("({folder}main)")));
        assert!(!fails(super::machine_paths, "README.md", &format!("see docs{folder}main")));
    }

    #[test]
    fn hosts_of_private_networks_are_found() {
        let ending = super::PRIVATE_ENDINGS[0];
        assert!(fails(super::private_hosts, "deny.toml", &format!("url = \"https://me@mirror{ending}:443/x\"")));
        assert!(!fails(super::private_hosts, "deny.toml", &format!("https://example.com/mirror{ending}")));
        assert!(!fails(super::private_hosts, "deny.toml", "https://kubernetes.default.svc.cluster.local"));
    }
}
