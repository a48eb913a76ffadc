//! What documents show is what happens: every console block of them is typed into a shell, and what it prints compared.
//!
//! A block that begins with "```console" is a session: lines with `$ ` are commands (`> ` goes on with one), what follows
//! is their output, both streams together. All blocks of a document run one after the other in one scratch copy of the
//! repository's examples, by one shell that keeps its folder. A line `...` stands for any lines. A block that needs more than a shell says what: "```console
//! cluster" is not run here. With `UPDATE_DOCS=1` in the environment outputs are written instead of compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli_support::outside_hooks;

/// Folders that a document's commands may use.
const COPIED: [&str; 3] = ["policies", "charts", "docs"];

/// A command of a console block, and its lines of output as they are written.
struct Step {
    /// Of the document, from 1.
    line: usize,
    command: String,
    /// Of the lines of output, from 0.
    first: usize,
    output: Vec<String>,
}

#[test]
fn every_console_block_of_every_document_is_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut run = 0;
    for document in documents(root) {
        let text = fs::read_to_string(&document).unwrap();
        let name = document.strip_prefix(root).unwrap().display().to_string();
        let steps = steps(&text);
        if steps.is_empty() {
            continue;
        }
        run += steps.len();
        let scratch = scratch(root);
        let mut shell = Shell::new(scratch.path());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // From the end, so that the numbers of the lines above stay right.
        let mut printed: Vec<(usize, usize, Vec<String>)> = Vec::new();
        for step in steps {
            let seen = shell.types(&step.command);
            if !agrees(&step.output, &seen) {
                let (expected, seen) = (step.output.join("\n"), seen.join("\n"));
                let Step { line, command, .. } = &step;
                wrong.push(format!("{name}:{line}: $ {command}\n--- written\n{expected}\n--- printed\n{seen}\n"));
            }
            printed.push((step.first, step.output.len(), seen));
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            for (first, length, seen) in printed.into_iter().rev() {
                if !agrees(&lines[first..first + length], &seen) {
                    lines.splice(first..first + length, seen);
                }
            }
            fs::write(&document, lines.join("\n") + "\n").unwrap();
        }
    }
    assert!(run >= 60, "{run} commands in all documents");
    assert!(wrong.is_empty() || std::env::var_os("UPDATE_DOCS").is_some(), "{}", wrong.join("\n"));
}

/// All documents that show what users type.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut documents =
        vec![root.join("README.md"), root.join("CHANGELOG.md"), root.join("charts/tagwarden/README.md")];
    let folders = [root.join("docs"), root.join("policies")].into_iter();
    let examples = fs::read_dir(root.join("policies")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.chain(examples).filter(|path| path.is_dir()) {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    }
    documents.sort();
    documents
}

/// The commands of the console blocks that a shell alone can run.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    // Steps of the blocks before this one.
    let mut before = 0;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
            before = steps.len();
        } else if inside {
            if let Some(command) = line.strip_prefix("$ ") {
                let step =
                    Step { line: number + 1, command: command.to_owned(), first: number + 1, output: Vec::new() };
                steps.push(step);
            } else {
                assert!(steps.len() > before, "line {}: a console block begins with a command", number + 1);
                let Some(step) = steps.last_mut() else { unreachable!("it was just counted") };
                match line.strip_prefix("> ").or_else(|| (line == ">").then_some("")) {
                    Some(more) if step.output.is_empty() => {
                        step.command += &format!("\n{more}");
                        step.first += 1;
                    }
                    _ => step.output.push(line.to_owned()),
                }
            }
        }
    }
    for step in &mut steps {
        // Between two commands there may be an empty line.
        while step.output.last().is_some_and(String::is_empty) {
            step.output.pop();
        }
    }
    steps
}

fn scratch(root: &Path) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for folder in COPIED {
        let copied = Command::new("cp").arg("-r").arg(root.join(folder)).arg(scratch.path()).status().unwrap();
        assert!(copied.success());
    }
    scratch
}

/// A shell that has a command typed into it, then the next: it keeps its folder and how the last one ended.
struct Shell {
    root: PathBuf,
    folder: PathBuf,
    ended: i32,
}

impl Shell {
    fn new(root: &Path) -> Self {
        Shell { root: root.to_owned(), folder: root.to_owned(), ended: 0 }
    }

    /// What it prints for a command, with the program on its path.
    fn types(&mut self, command: &str) -> Vec<String> {
        let program = Path::new(env!("CARGO_BIN_EXE_tagwarden")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let left = self.root.join(".left");
        let ended = self.ended;
        let script = format!("exec 2>&1\ntrap 'pwd > {}' EXIT\n(exit {ended})\n{command}", left.display());
        let mut shell = Command::new("bash");
        shell
            .args(["--norc", "-c", &script])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("HOME", &self.root)
            .env_remove("NO_COLOR")
            .env_remove("FORCE_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("DOCKER_CONFIG")
            .stdin(Stdio::null());
        let output = outside_hooks(&mut shell).output().unwrap();
        self.folder = fs::read_to_string(left).unwrap().trim_end().into();
        self.ended = output.status.code().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// Whether lines are as written, where a line `...` stands for any.
fn agrees(written: &[String], printed: &[String]) -> bool {
    match written.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => (0..=printed.len()).any(|skip| agrees(rest, &printed[skip..])),
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, more)| line == first.trim_end() && agrees(rest, more))
        }
    }
}

#[test]
fn every_link_within_the_repository_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    let mut dead = Vec::new();
    let ours = documents(root);
    for document in ours.iter().filter(|path| path.ends_with("README.md") || path.parent() == Some(&root.join("docs")))
    {
        for (line, target) in links(&fs::read_to_string(document).unwrap()) {
            followed += 1;
            if !document.parent().unwrap().join(&target).exists() {
                dead.push(format!("{}:{line}: there is no {target}", document.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(followed > 40, "{followed} links in all documents");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Line, from 1, and target of each relative link, without its anchor. What stands in a block of code is none.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let files = targets.map(|target| target.split('#').next().unwrap_or_default());
            let relative =
                files.filter(|file| !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:"));
            links.extend(relative.map(|file| (number + 1, file.to_owned())));
        }
    }
    links
}

#[test]
fn links_are_found() {
    let text = "[a](a.md) [b](../b/#c)\n```\n[x](x.md)\n```\n[d](#d) [e](https://e.example.com/e.md)\n[f](f.md#g)\n";
    let seen = links(text);
    let seen: Vec<_> = seen.iter().map(|(line, target)| (*line, target.as_str())).collect();
    assert_eq!(seen, [(1, "a.md"), (1, "../b/"), (6, "f.md")]);
}

#[test]
fn blocks_are_taken_apart() {
    let text =
        "a\n```console\n$ one \\\n> two\nout\n\n$ three\n```\n```console cluster\n$ kubectl\n```\n```\n$ no\n```\n";
    let steps = steps(text);
    let seen: Vec<_> =
        steps.iter().map(|step| (step.line, step.command.as_str(), step.first, step.output.len())).collect();
    assert_eq!(seen, [(3, "one \\\ntwo", 4, 1), (7, "three", 7, 0)]);
}

#[test]
fn a_changed_line_is_noticed_and_dots_stand_for_any() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(agrees(&lines("a\nb"), &lines("a\nb")));
    assert!(agrees(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(agrees(&lines("..."), &[]));
    assert!(!agrees(&lines("a\nb"), &lines("a\nc")));
    assert!(!agrees(&lines("a"), &lines("a\nb")));
    assert!(!agrees(&lines("a\n..."), &lines("b")));
}
