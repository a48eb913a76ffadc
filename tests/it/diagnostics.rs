//! What people see when a policy file is wrong: every file of tests/diagnostics, and its output beside it.
//!
//! `UPDATE_EXPECTED=1 cargo test` writes the outputs anew; read the difference before committing it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tagwarden::document::{Color, render};
use tagwarden::policy::{PolicySet, Settings, TrustedLabels};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn rendered(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let settings = Settings { trusted_labels: TrustedLabels::Only(vec!["trusted".to_owned()]), ..Settings::default() };
    match PolicySet::compile(&[(name, &text)], settings) {
        Ok(set) => format!("ok: {}\n", set.policies().map(|(name, _)| name).collect::<Vec<_>>().join(", ")),
        Err(problems) => problems.iter().fold(String::new(), |mut out, problem| {
            let _ = writeln!(out, "{}", render(problem, &text, Color::Never));
            out
        }),
    }
}

#[test]
fn every_wrong_policy_is_explained_as_written_beside_it() {
    let mut different = Vec::new();
    for path in files() {
        let expected_path = path.with_extension("txt");
        let seen = rendered(&path);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected_path, &seen).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if seen != expected {
            different.push(format!("{}: expected\n{expected}\nbut saw\n{seen}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_truncated_or_mangled_policy_never_panics_and_never_compiles_by_accident() {
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        for (end, _) in text.char_indices() {
            // Whatever comes out: it is a set or problems, and each problem can be shown.
            if let Err(problems) = PolicySet::compile(&[("cut.yaml", &text[..end])], Settings::default()) {
                assert!(!problems.is_empty());
                for problem in &problems {
                    assert!(render(problem, &text[..end], Color::Always).contains("cut.yaml"));
                }
            }
        }
    }
}
