//! Where a verb's report goes: `--format` and `--output`, each repeatable and belonging together by their order.
//!
//! Each `--output FILE` belongs to the `--format` before it; a format without one goes to standard output, which takes
//! one report and no more. Files are written whole or not at all: a report that CI picks up is never half of one.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::EnumValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum, ValueHint};

use super::{Exit, Screen, Surroundings, files, written};

/// The formats asked for and where each goes: flags for `#[command(flatten)]`, generic over the formats of a verb, whose
/// default goes to standard output where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outputs<F> {
    /// In the order of the command line; never empty.
    outputs: Vec<Output<F>>,
}

/// A format and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Output<F> {
    format: F,
    target: Target,
}

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Standard output.
    Stdout,
    /// A file, made or replaced.
    File(PathBuf),
}

/// A verb's formats.
pub(super) trait Offered: ValueEnum + Copy + Default + PartialEq + Send + Sync + 'static {}

impl<F: ValueEnum + Copy + Default + PartialEq + Send + Sync + 'static> Offered for F {}

impl<F: Offered> Outputs<F> {
    /// Whether a format is among those asked for.
    pub fn want(&self, format: F) -> bool {
        self.outputs.iter().any(|output| output.format == format)
    }

    /// Writes every report and ends the verb: with its verdict, or with 2 where a report could not be written. That is
    /// said on standard error, and the others are written all the same. `render` writes one format; only what goes to
    /// standard output is ever coloured or broken to a terminal's width.
    ///
    /// # Errors
    /// Standard output cannot be written to (that its reader went away is none).
    pub fn write(
        &self,
        verdict: Exit,
        surroundings: &mut Surroundings<'_>,
        mut render: impl FnMut(F, Screen, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<Exit> {
        let screen = Screen { color: surroundings.color, width: surroundings.width };
        let mut exit = verdict;
        let mut printed = Ok(());
        for Output { format, target } in &self.outputs {
            match target {
                Target::Stdout => printed = render(*format, screen, surroundings.out),
                Target::File(path) => {
                    if let Err(error) = replace(path, |out| render(*format, Screen::FILE, out)) {
                        let (path, reason) = (files::shown(path), files::reason(&error));
                        // Nobody is left to tell when standard error is closed too.
                        let _ = writeln!(surroundings.err, "error: cannot write {path}: {reason}");
                        exit = exit.and(Exit::Error);
                    }
                }
            }
        }
        written(printed, exit)
    }
}

/// Writes a file by way of another one beside it, so that it has its old text until it has all of the new one. What is
/// no regular file (a pipe, a device) is written to as it is. A link to a file gives way to the report: whoever brought the
/// link would else choose what is overwritten.
pub(super) fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (target, permissions) = match OpenOptions::new().write(true).open(path) {
        Ok(there) if there.metadata()?.is_file() => (path.to_owned(), Some(there.metadata()?.permissions())),
        Ok(special) => return filled(special, fill),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    take_place(&target, |file, _| {
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        filled(file, fill)
    })
}

/// Puts what is written to a new file into the place of `target`, once all of it is written. `write` is given the path of
/// the new one, too; where it fails nothing of that stays.
pub(super) fn take_place(target: &Path, write: impl FnOnce(File, &Path) -> io::Result<()>) -> io::Result<()> {
    let (temporary, file) = beside(target)?;
    let done = write(file, &temporary).and_then(|()| fs::rename(&temporary, target));
    if done.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn filled(file: File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush()
}

/// A new file in the folder of another. Its name begins with a dot, so that no verb takes it for an input.
fn beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let mut attempt = 0;
    loop {
        let path = target.with_file_name(format!(".tagwarden-{}-{attempt}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

const FORMAT: &str = "format";
const OUTPUT: &str = "output";

impl<F: Offered> Args for Outputs<F> {
    fn augment_args(command: Command) -> Command {
        let default = F::default().to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let format = Arg::new(FORMAT)
            .long(FORMAT)
            .value_name("FORMAT")
            .action(ArgAction::Append)
            .value_parser(EnumValueParser::<F>::new())
            .help(format!(
                "The output's format; may be given several times, each with its --output [default: {default}]"
            ));
        let output = Arg::new(OUTPUT)
            .long(OUTPUT)
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help("Where the --format before it goes, `-` for standard output; without it, to standard output");
        command.arg(format).arg(output)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<F: Offered> FromArgMatches for Outputs<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let formats = placed::<F>(matches, FORMAT).into_iter().map(|(at, format)| (at, Word::Format(format)));
        let paths = placed::<PathBuf>(matches, OUTPUT).into_iter().map(|(at, path)| (at, Word::Output(path)));
        let mut words: Vec<_> = formats.chain(paths).collect();
        words.sort_by_key(|(at, _)| *at);
        let outputs = pairs(words.into_iter().map(|(_, word)| word));
        // The other errors of clap end with an empty line's worth of usage; one sentence says it all here.
        outputs.map_err(|message| clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A flag's values, each with its place on the command line.
fn placed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, flag: &str) -> Vec<(usize, T)> {
    let values = matches.get_many::<T>(flag).into_iter().flatten().cloned();
    matches.indices_of(flag).into_iter().flatten().zip(values).collect()
}

/// One of the two flags.
enum Word<F> {
    Format(F),
    Output(PathBuf),
}

/// Gives each format its target.
fn pairs<F: Offered>(words: impl Iterator<Item = Word<F>>) -> Result<Outputs<F>, String> {
    let mut outputs: Vec<(F, Option<Target>)> = Vec::new();
    for word in words {
        match (word, outputs.last_mut()) {
            (Word::Format(format), _) => outputs.push((format, None)),
            (Word::Output(path), Some((_, target @ None))) if path.as_os_str() == "-" => *target = Some(Target::Stdout),
            (Word::Output(path), Some((_, target @ None))) => *target = Some(Target::File(path)),
            (Word::Output(path), Some((format, _))) => {
                let (path, name) = (files::shown(&path), name(*format));
                return Err(format!(
                    "`--output {path}` follows the format `{name}`, which has an --output already: name a --format before it"
                ));
            }
            (Word::Output(path), None) => {
                let path = files::shown(&path);
                return Err(format!("`--output {path}` has no format: name a --format before it"));
            }
        }
    }
    if outputs.is_empty() {
        outputs.push((F::default(), None));
    }
    let output = |(format, target): (F, Option<Target>)| Output { format, target: target.unwrap_or(Target::Stdout) };
    let outputs: Vec<_> = outputs.into_iter().map(output).collect();
    distinct(&outputs)?;
    Ok(Outputs { outputs })
}

/// No two reports go to one place.
fn distinct<F: Offered>(outputs: &[Output<F>]) -> Result<(), String> {
    let mut on_stdout = outputs.iter().filter(|output| output.target == Target::Stdout);
    if let (Some(first), Some(second)) = (on_stdout.next(), on_stdout.next()) {
        let (first, second) = (name(first.format), name(second.format));
        return Err(format!(
            "the formats `{first}` and `{second}` would both go to standard output: give one of them an --output FILE"
        ));
    }
    let mut seen = HashSet::new();
    for output in outputs {
        let Target::File(path) = &output.target else { continue };
        // `./a` and `a` are one file; what links make of a path is not looked into.
        if !seen.insert(std::path::absolute(path).unwrap_or_else(|_| path.clone())) {
            let path = files::shown(path);
            return Err(format!("two formats would be written to {path}: give each a file of its own"));
        }
    }
    Ok(())
}

/// A format as it is typed.
fn name<F: ValueEnum>(format: F) -> String {
    format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
    enum Kind {
        #[default]
        Plain,
        Json,
        Sarif,
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        outputs: Outputs<Kind>,
        path: Option<String>,
    }

    /// `format>target` of every output, or the error's first line.
    fn read(line: &str) -> String {
        let words = std::iter::once("verb").chain(line.split_whitespace());
        match Line::try_parse_from(words) {
            Ok(line) => {
                let show = |output: &Output<Kind>| match &output.target {
                    Target::Stdout => format!("{}>-", name(output.format)),
                    Target::File(path) => format!("{}>{}", name(output.format), path.display()),
                };
                line.outputs.outputs.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string().lines().next().unwrap().to_owned(),
        }
    }

    #[test]
    fn each_output_belongs_to_the_format_before_it() {
        assert_eq!(read(""), "plain>-");
        assert_eq!(read("--format json"), "json>-");
        assert_eq!(read("--format json --output a"), "json>a");
        assert_eq!(read("--format=json x --output=a --format plain"), "json>a plain>-");
        assert_eq!(read("--format plain --format json --output a --format sarif --output b"), "plain>- json>a sarif>b");
        assert_eq!(read("--format json --output - --format sarif --output ./-"), "json>- sarif>./-");
        assert_eq!(read("--format json --output a --format json --output b"), "json>a json>b");
    }

    #[test]
    fn what_belongs_together_nowhere_is_refused() {
        assert_eq!(read("--output a"), "error: `--output a` has no format: name a --format before it");
        assert_eq!(read("--output a --format json"), "error: `--output a` has no format: name a --format before it");
        assert_eq!(
            read("--format json --output a --output b"),
            "error: `--output b` follows the format `json`, which has an --output already: name a --format before it"
        );
        assert_eq!(
            read("--format json --format sarif"),
            "error: the formats `json` and `sarif` would both go to standard output: give one of them an --output FILE"
        );
        assert_eq!(
            read("--format json --output - --format plain"),
            "error: the formats `json` and `plain` would both go to standard output: give one of them an --output FILE"
        );
        assert_eq!(
            read("--format json --output a --format sarif --output ./a"),
            "error: two formats would be written to ./a: give each a file of its own"
        );
        assert!(read("--format yaml").starts_with("error: invalid value 'yaml' for '--format <FORMAT>'"));
    }

    #[test]
    fn a_file_has_its_old_text_until_it_has_all_of_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        replace(&path, |out| out.write_all(b"first")).unwrap();
        let half = |out: &mut dyn Write| {
            out.write_all(b"sec")?;
            Err(io::Error::other("no"))
        };
        assert!(replace(&path, half).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        replace(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["report"], "no temporary file stays");
    }

    #[test]
    fn permissions_and_devices_stay_what_they_are_and_links_give_way() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        replace(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "old");
        assert!(fs::symlink_metadata(&link).unwrap().is_file(), "the report takes the place of the link");
        replace(&real, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);

        replace(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(replace(folder.path(), |out| out.write_all(b"x")).is_err(), "a directory is no file");
    }
}
