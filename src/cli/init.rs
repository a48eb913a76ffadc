//! `tagwarden init`: a commented starter policy, its test, and the schemas that an editor reads, into a new directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::{Exit, Surroundings, files, written};
use crate::image::ImageGlob;
use crate::policy::{policy_schema, test_schema};

/// The policy, its test and a manifest, as templates in which [`PLACEHOLDER`] stands for the registry.
const TEMPLATES: [(&str, &str); 3] = [
    ("policy.yaml", include_str!("init/policy.yaml")),
    ("policy.test.yaml", include_str!("init/policy.test.yaml")),
    ("fixtures/deployment.yaml", include_str!("init/deployment.yaml")),
];

/// What the templates say where a registry is named: they are valid as they stand.
const PLACEHOLDER: &str = "registry.example.com/acme";

/// The arguments of `init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden init\n  \
    tagwarden init --registry ghcr.io/my-org policies/images\n\n\
    Writes policy.yaml (mode warn: nothing is refused yet), policy.test.yaml, a manifest for it, and the JSON Schemas by \
    which editors complete and check both. Nothing that is there already is overwritten.\n\n\
    Exit codes: 0 written; 2 usage, or a file is there already or cannot be written (then nothing is).")]
pub struct InitArgs {
    /// The directory to write to; it is made where it is not there
    #[arg(value_name = "DIR", default_value = "policies")]
    directory: PathBuf,
    /// Where your own images are: a registry's host and the path that they share
    #[arg(long, value_name = "HOST/PATH", default_value = PLACEHOLDER, value_parser = registry)]
    registry: String,
}

/// Host and path, without a glob's stars: the policy's first rule is about everything below, and its test about one image.
fn registry(text: &str) -> Result<String, String> {
    let text = text.strip_suffix("/**").unwrap_or(text).trim_end_matches('/');
    if text.contains('*') {
        return Err("write the host and the path that your images share, ghcr.io/my-org say, without '*'".to_owned());
    }
    match ImageGlob::parse(&format!("{text}/**")) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let help = error.help.map_or_else(String::new, |help| format!("; {help}"));
            Err(format!("{}{help}", error.message))
        }
    }
}

/// Writes everything, or nothing.
pub(super) fn run(args: &InitArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let contents = contents(&args.registry);
    let there: Vec<String> = contents
        .iter()
        .map(|(name, _)| args.directory.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| files::shown(&path))
        .collect();
    if !there.is_empty() {
        bail!(
            "nothing is written, because this is there already: {}; name another directory, or move it away",
            there.join(", ")
        );
    }
    let mut made = Vec::new();
    for (name, text) in &contents {
        let path = args.directory.join(name);
        if let Err(error) = write(&path, text, &mut made) {
            undo(&made);
            bail!("nothing is written: cannot write {}: {}", files::shown(&path), files::reason(&error));
        }
    }
    let printed = told(args, &contents, surroundings.out);
    written(printed, Exit::Clean)
}

/// The files' names below the directory, and their texts.
fn contents(registry: &str) -> Vec<(&'static str, String)> {
    let templates = TEMPLATES.map(|(name, text)| (name, text.replace(PLACEHOLDER, registry)));
    let schemas = [
        ("imagepolicy-v1.schema.json", format!("{:#}\n", policy_schema())),
        ("imagepolicytest-v1.schema.json", format!("{:#}\n", test_schema())),
    ];
    templates.into_iter().chain(schemas).collect()
}

/// Writes a file that is not there, and the directories above it; `made` takes what is new.
fn write(path: &Path, text: &str, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing = path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(&folder)?;
        made.push(folder);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    made.push(path.to_owned());
    file.write_all(text.as_bytes())
}

/// Takes back what was made, the latest first.
fn undo(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // What cannot be taken back either is left: the error that is told is the first one.
        let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}

/// What was written, and what to do next.
fn told(args: &InitArgs, contents: &[(&str, String)], out: &mut dyn io::Write) -> io::Result<()> {
    for (name, _) in contents {
        writeln!(out, "wrote {}", files::shown(&args.directory.join(name)))?;
    }
    let folder = files::shown(&args.directory);
    writeln!(out, "\nThe policy warns and refuses nothing. Next:")?;
    writeln!(out, "  tagwarden lint {folder}")?;
    writeln!(out, "  tagwarden test --coverage {folder}")?;
    writeln!(out, "  tagwarden check --offline --policies {folder} deploy/")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn a_registry_is_a_host_and_a_path() {
        for (typed, read) in [
            ("ghcr.io/my-org", "ghcr.io/my-org"),
            ("ghcr.io/my-org/", "ghcr.io/my-org"),
            ("ghcr.io/my-org/**", "ghcr.io/my-org"),
            ("registry.example.com:5000", "registry.example.com:5000"),
        ] {
            assert_eq!(registry(typed).as_deref(), Ok(read), "{typed}");
        }
        for bad in ["", "nginx", "ghcr.io/*/x", "https://ghcr.io/x", "GHCR.io/x", "ghcr.io/x:v1", "a\nb.io/x", "**"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
    }
}
