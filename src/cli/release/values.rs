//! `release values`: Helm values of a release, for `helm upgrade -f`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::reading;
use crate::cli::{Exit, Surroundings, files, outputs, written};
use crate::release::ValuesStyle;

/// The arguments of `release values`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release values releases/system.yaml | helm upgrade system charts/system -f -\n  \
    tagwarden release values releases/system.yaml -o releases/system.values.yaml\n\n\
    nested: image.repository, image.tag and image.digest under each image's name. flat: the whole references under \
    `images`. The free sections of the release stand beside them as they are.\n\n\
    Exit codes: 0 done; 2 usage or input error, or an image is called as a section is.")]
pub(super) struct ValuesArgs {
    /// The release file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How images stand in the values
    #[arg(long, value_enum, value_name = "STYLE", default_value_t)]
    style: Style,
    /// Write to this file, whole or not at all, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How images stand in Helm values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Style {
    /// `app.image.repository`, `app.image.tag`, `app.image.digest`
    #[default]
    Nested,
    /// `images.app`, the whole reference
    Flat,
}

pub(super) fn run(args: &ValuesArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if args.output.as_deref().is_some_and(|output| is_same_file(&args.file, output)) {
        bail!("--output is the release file itself, and values would take its place: name another file");
    }
    let Some(file) = reading::read(&args.file, surroundings) else { return Ok(Exit::Error) };
    files::complain(&file.warnings, file.text(), surroundings);
    reading::tell_state(&file, surroundings);
    let style = match args.style {
        Style::Nested => ValuesStyle::Nested,
        Style::Flat => ValuesStyle::Flat,
    };
    let Some(values) = reading::told(file.values(style), file.text(), surroundings) else { return Ok(Exit::Error) };
    let Some(path) = &args.output else {
        let printed = surroundings.out.write_all(values.as_bytes()).and_then(|()| surroundings.out.flush());
        return written(printed, Exit::Clean);
    };
    if let Err(error) = outputs::replace(path, |out| out.write_all(values.as_bytes())) {
        let _ = writeln!(surroundings.err, "error: cannot write {}: {}", files::shown(path), files::reason(&error));
        return Ok(Exit::Error);
    }
    Ok(Exit::Clean)
}

/// Whether two paths lead to one file, by whatever names; `-` is what standard input was opened from.
fn is_same_file(input: &Path, output: &Path) -> bool {
    let input = if input.as_os_str() == "-" { Path::new("/dev/stdin") } else { input };
    match (fs::metadata(input), fs::metadata(output)) {
        (Ok(input), Ok(output)) => input.is_file() && (input.dev(), input.ino()) == (output.dev(), output.ino()),
        // What is not there yet is no input.
        _ => false,
    }
}
