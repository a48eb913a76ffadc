//! Inputs side by side: several threads read and judge, and what they found is put together in the order of the inputs.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::base::OldFile;
use super::judge::{Context, Judge};
use crate::cli::files::{self, Found};
use crate::cli::objects::{self, Part};
use crate::cli::path_pattern::PathPattern;
use crate::cli::registries::{say, tell};
use crate::cli::report::{Report, github};
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

/// The name under which a layout captures the environment.
pub(super) const ENVIRONMENT: &str = "env";
/// The name under which a layout captures the namespace.
pub(super) const NAMESPACE: &str = "namespace";

/// What the paths of files say.
pub(super) struct Patterns<'a> {
    /// Files that match one of these are Helm values.
    pub values: &'a [PathPattern],
    /// Where a path names environment and namespace.
    pub layout: Option<&'a PathPattern>,
}

/// Something to judge.
enum Input {
    /// A file to read.
    File { path: PathBuf, form: Form },
    /// A text that was read already.
    Text { name: String, text: String },
    /// What could not be read.
    Problem(Diagnostic),
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Manifests,
    Values,
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
/// A pattern that no file matches, which is a slip: what it is for would go unjudged. What registries are asked with
/// (an authority, say) cannot be used.
pub(super) fn judge_all(
    found: Vec<Found>,
    judge: &Judge<'_>,
    patterns: &Patterns<'_>,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Report> {
    patterns.each_matches(&found)?;
    let mut inputs: Vec<Input> = found.into_iter().map(|found| input(found, patterns, surroundings)).collect();
    let mut unchanged_files = 0;
    if let Some(base) = &judge.base {
        let before = inputs.len();
        inputs.retain(|input| !matches!(input, Input::File { path, .. } if base.is_unchanged(path)));
        unchanged_files = before - inputs.len();
    }
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
                    if sender.send((number, judge_input(input, judge, patterns.layout))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut report = collect(&receiver, inputs.len(), judge, surroundings)?;
        report.summary.unchanged_files = unchanged_files;
        Ok(report)
    })
}

impl Patterns<'_> {
    fn each_matches(&self, found: &[Found]) -> anyhow::Result<()> {
        let flags = self.values.iter().map(|pattern| ("--values", pattern));
        for (flag, pattern) in flags.chain(self.layout.map(|pattern| ("--layout", pattern))) {
            let matches =
                |found: &Found| matches!(found, Found::File(path) if pattern.matches(&path.to_string_lossy()));
            if !found.iter().any(matches) {
                bail!("no file among those to check matches {flag} '{}'", pattern.as_str());
            }
        }
        Ok(())
    }

    fn form(&self, path: &Path) -> Form {
        let path = path.to_string_lossy();
        if self.values.iter().any(|pattern| pattern.matches(&path)) { Form::Values } else { Form::Manifests }
    }
}

fn input(found: Found, patterns: &Patterns<'_>, surroundings: &mut Surroundings<'_>) -> Input {
    match found {
        Found::File(path) => Input::File { form: patterns.form(&path), path },
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
                let _ = writeln!(surroundings.err, "{}", github::quieted(problem));
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

fn judge_input(input: &Input, judge: &Judge<'_>, layout: Option<&PathPattern>) -> anyhow::Result<Judged> {
    match input {
        Input::Text { name, text } => judge_text(name, text, &Origin::NOWHERE, judge),
        Input::Problem(problem) => Ok(broken(problem)),
        Input::File { path, form } => {
            let name = files::shown(path);
            let text = match files::read_file(path) {
                Ok(text) => text,
                Err(problem) => return Ok(broken(&problem)),
            };
            let written = path.to_string_lossy();
            let captured = |name| layout.and_then(|layout| layout.capture(&written, name));
            let origin = Origin {
                form: *form,
                environment: captured(ENVIRONMENT),
                namespace: captured(NAMESPACE),
                old: judge.base.as_ref().and_then(|base| base.file(path)),
                is_template: path.ancestors().skip(1).any(files::is_templates),
            };
            judge_text(&name, &text, &origin, judge)
        }
    }
}

/// What the place of a text says of it.
struct Origin<'a> {
    form: Form,
    environment: Option<&'a str>,
    namespace: Option<&'a str>,
    old: Option<&'a OldFile>,
    /// Below the `templates` of a chart, where a file may be no YAML before it is rendered.
    is_template: bool,
}

impl Origin<'_> {
    const NOWHERE: Origin<'static> =
        Origin { form: Form::Manifests, environment: None, namespace: None, old: None, is_template: false };
}

fn broken(problem: &Diagnostic) -> Judged {
    let mut judged = Judged::default();
    judged.report.summary.broken = 1;
    judged.report.broken.push(problem.clone());
    judged.problems.push(render(problem, "", Color::Never));
    judged
}

/// Whether a text is no YAML because of expressions that Helm would replace. Whatever else is wrong with it stays an error.
fn is_unrendered(text: &str, problems: &[Diagnostic]) -> bool {
    let syntax = |problem: &Diagnostic| problem.message.starts_with("not valid YAML");
    let expression = |line: &str| line.split('#').next().is_some_and(|code| code.contains("{{"));
    !problems.is_empty() && problems.iter().all(syntax) && text.lines().any(expression)
}

/// Judges every object, or every value, of a text.
fn judge_text(name: &str, text: &str, origin: &Origin<'_>, judge: &Judge<'_>) -> anyhow::Result<Judged> {
    let source = Source::new(name, text);
    let (documents, problems) = document::parse(&source);
    let file: Arc<str> = name.into();
    let mut judged = Judged::default();
    let report = &mut judged.report;
    report.summary.files = 1;
    for document in &documents {
        let template: Option<Arc<str>> = document.template.as_deref().map(Into::into);
        let &Origin { form, environment, namespace, old, .. } = origin;
        let context =
            Context { source: &source, file: &file, template: template.as_ref(), environment, namespace, old };
        // Whatever its name, an object is judged as one, in its own namespace.
        let is_object = ["apiVersion", "kind"].iter().all(|key| document.root.get(key).is_some());
        if form == Form::Values && !is_object {
            judge.values(&document.root, &context, report)?;
            continue;
        }
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
    if origin.is_template && is_unrendered(text, &problems) {
        judged.report.summary.templates.push(name.to_owned());
    } else if !problems.is_empty() {
        judged.report.summary.broken = 1;
        judged.problems = problems.iter().map(|problem| render(problem, text, Color::Never)).collect();
        judged.report.broken = problems;
    }
    Ok(judged)
}
