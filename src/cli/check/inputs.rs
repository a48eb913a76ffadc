//! Inputs side by side: several threads read and judge, and what they found is put together in the order of the inputs.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::judge::{Context, Judge};
use super::objects::{self, Part};
use crate::cli::files::{self, Found};
use crate::cli::registries::{say, tell};
use crate::cli::report::Report;
use crate::cli::{Progress, Surroundings};
use crate::document::{self, Color, Diagnostic, Source, render};

/// Inputs judged at once where most of the time goes by waiting for registries.
const WAITING: usize = 16;
/// Judged inputs that may lie ahead of one that takes longer.
const AHEAD: usize = 256;
/// A check that takes longer says how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it says so.
const BEAT: Duration = Duration::from_millis(200);

/// Something to judge.
enum Input {
    /// A file to read.
    File(PathBuf),
    /// A text that was read already.
    Text { name: String, text: String },
    /// What could not be read.
    Problem(Diagnostic),
}

/// What came of one input.
#[derive(Default)]
struct Judged {
    report: Report,
    /// What is wrong with the input itself, rendered.
    problems: Vec<String>,
}

/// Judges everything there is; a broken file does not keep the others from being judged.
///
/// # Errors
/// What registries are asked with (an authority, say) cannot be used.
pub(super) fn judge_all(
    found: Vec<Found>,
    judge: &Judge<'_>,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Report> {
    let inputs: Vec<Input> = found.into_iter().map(|found| input(found, surroundings)).collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let at_once = if judge.learner.may_wait() { WAITING } else { cores };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = sync_channel(AHEAD);
    thread::scope(|scope| {
        for _ in 0..at_once.min(inputs.len()) {
            let (sender, inputs, next) = (sender.clone(), &inputs, &next);
            scope.spawn(move || {
                while let Some((number, input)) = take(inputs, next) {
                    // Nobody listens any more where another input brought the check to its end.
                    if sender.send((number, judge_input(input, judge))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        collect(&receiver, inputs.len(), judge, surroundings)
    })
}

fn input(found: Found, surroundings: &mut Surroundings<'_>) -> Input {
    match found {
        Found::File(path) => Input::File(path),
        Found::Problem(problem) => Input::Problem(problem),
        Found::Stdin => match files::read_text(files::STDIN, &mut *surroundings.input) {
            Ok(text) => Input::Text { name: files::STDIN.to_owned(), text },
            Err(problem) => Input::Problem(*problem),
        },
    }
}

fn take<'i>(inputs: &'i [Input], next: &AtomicUsize) -> Option<(usize, &'i Input)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, inputs.get(number)?))
}

/// Puts together what the threads found, in the order of the inputs, and on a terminal says how far they are.
fn collect(
    judged: &Receiver<(usize, anyhow::Result<Judged>)>,
    inputs: usize,
    judge: &Judge<'_>,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Report> {
    let start = Instant::now();
    let mut report = Report::default();
    let mut early = BTreeMap::new();
    let mut done = 0;
    let mut shown = false;
    while done < inputs {
        match judged.recv_timeout(BEAT) {
            Ok((number, judged)) => drop(early.insert(number, judged?)),
            Err(RecvTimeoutError::Timeout) => {}
            // A thread that panics takes its input with it; its panic goes on where the threads are joined.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(judged) = early.remove(&done) {
            done += 1;
            if !judged.problems.is_empty() {
                clear(&mut shown, surroundings);
            }
            for problem in &judged.problems {
                // A closed standard error takes nothing from the verdict.
                let _ = writeln!(surroundings.err, "{problem}");
            }
            report.add(judged.report);
        }
        if surroundings.progress == Progress::Shown && start.elapsed() > PATIENCE {
            say(&format!("judged {done} of {inputs} files ..."), surroundings.err);
            shown = true;
        }
    }
    clear(&mut shown, surroundings);
    tell(judge.learner.notes(), surroundings);
    Ok(report)
}

fn clear(shown: &mut bool, surroundings: &mut Surroundings<'_>) {
    if std::mem::take(shown) {
        say("", surroundings.err);
    }
}

fn judge_input(input: &Input, judge: &Judge<'_>) -> anyhow::Result<Judged> {
    match input {
        Input::Text { name, text } => judge_text(name, text, judge),
        Input::Problem(problem) => Ok(broken(problem)),
        Input::File(path) => match files::read_file(path) {
            Ok(text) => judge_text(&files::shown(path), &text, judge),
            Err(problem) => Ok(broken(&problem)),
        },
    }
}

fn broken(problem: &Diagnostic) -> Judged {
    let mut judged = Judged::default();
    judged.report.summary.broken = 1;
    judged.problems.push(render(problem, "", Color::Never));
    judged
}

/// Judges every object of a text.
fn judge_text(name: &str, text: &str, judge: &Judge<'_>) -> anyhow::Result<Judged> {
    let source = Source::new(name, text);
    let (documents, problems) = document::parse(&source);
    let file: Arc<str> = name.into();
    let mut judged = Judged::default();
    let report = &mut judged.report;
    report.summary.files = 1;
    for document in &documents {
        let template: Option<Arc<str>> = document.template.as_deref().map(Into::into);
        let context = Context { source: &source, file: &file, template: template.as_ref() };
        for part in objects::parts(&document.root) {
            match part {
                Part::Object(object) => judge.object(&object, &context, report)?,
                // What a syntax error left over is no finding of its own.
                Part::NoManifest if problems.is_empty() => {
                    report.summary.is_no_manifest(document.template.as_deref().unwrap_or(name));
                }
                Part::NoManifest => {}
            }
        }
    }
    if !problems.is_empty() {
        judged.report.summary.broken = 1;
        judged.problems = problems.iter().map(|problem| render(problem, text, Color::Never)).collect();
    }
    Ok(judged)
}
