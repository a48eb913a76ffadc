//! From what `check` found to the neutral forms that its formats for other programs are written from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::problem::{Problem, Region, Rule, Run, Site};
use super::{Located, ObjectName, Place, Report, SHOWN_BYTES, Subject, junit, plain, shown};
use crate::cli::files::STDIN;
use crate::policy::{FindingId, Level, printable};

/// What stands in the place of a file where a cluster was judged.
pub(in crate::cli) const CLUSTER: &str = "cluster";
/// Where findings are described; the part after `#` is their id.
const FINDINGS_URI: &str = "https://tagwarden.dev/findings";
/// What a file that could not be judged is called in place of a finding's id.
const BROKEN: &str = "broken-input";
const BROKEN_TITLE: &str = "an input that could not be judged";

/// Everything that was found.
pub(super) fn run(report: &Report) -> Run {
    let here = env::current_dir().ok();
    let failure = |diagnostic| {
        let problem = Problem::of(diagnostic, "", BROKEN, BROKEN_TITLE);
        let site = problem.site.map(|site| Site { file: relative(&site.file, here.as_deref()), ..site });
        Problem { site, ..problem }
    };
    Run {
        verb: "check",
        rules: FindingId::ALL.map(rule).to_vec(),
        problems: report.findings.iter().map(|located| problem(located, here.as_deref())).collect(),
        failures: report.broken.iter().map(failure).collect(),
    }
}

fn rule(id: FindingId) -> Rule {
    Rule { id: id.code(), title: id.title(), help: id.remedy(), uri: format!("{FINDINGS_URI}#{}", id.code()) }
}

fn problem(located: &Located, here: Option<&Path>) -> Problem {
    let finding = &located.finding;
    let object = located.object.as_ref();
    let subject = located.subject.as_ref();
    let written = |subject: &Subject| format!("{}, image {}", subject.label(), image(&subject.image));
    let about = plain::value(located).or_else(|| subject.map(written));
    let mut help = plain::help(located);
    help.retain(|line| Some(line) != about.as_ref());
    if let Some(place) = &located.place {
        help.extend(origin(place));
    }
    // The image is no part of it: a floating tag that another one takes the place of is the same problem.
    let mut identity = vec![finding.policy.clone()];
    identity.extend(
        object.into_iter().flat_map(|object| [&object.kind, &object.namespace, &object.name].map(Clone::clone)),
    );
    if let Some(subject) = subject {
        let container = subject.container.clone().or_else(|| subject.field.clone());
        identity.extend([subject.list.noun().to_owned(), container.unwrap_or_default()]);
    }
    Problem {
        id: Cow::Borrowed(finding.id.code()),
        title: Cow::Borrowed(finding.id.title()),
        level: finding.level,
        message: finding.message.clone(),
        about,
        help,
        site: located.place.as_ref().map(|place| site(place, here)),
        object: object.map(ToString::to_string),
        identity,
        suppressed: finding.exception.as_ref().map(|id| format!("exception {id} of policy {}", finding.policy)),
    }
}

/// An image as written, cut where it is longer than any that is meant.
fn image(text: &str) -> String {
    printable(text, SHOWN_BYTES)
}

/// Where it really stands: in the rendered text, where that is a file. What Helm wrote to standard input has its template
/// for a place, whose lines are others.
fn site(place: &Place, here: Option<&Path>) -> Site {
    if let Some(template) = place.template.as_ref().filter(|_| &*place.file == STDIN) {
        return Site { file: shown(template).into_owned(), region: None };
    }
    let region = Region { line: place.line, column: place.column, end_line: place.line, end_column: place.end_column };
    Site { file: relative(&place.file, here), region: Some(region) }
}

/// Which template it was made from, where the site does not say so, and the line, where it says none.
fn origin(place: &Place) -> Option<String> {
    let template = place.template.as_ref()?;
    Some(match &*place.file == STDIN {
        true => format!("line {} of the rendered text", place.line),
        false => format!("rendered from {}", shown(template)),
    })
}

/// A file below the working directory by its path from there, as code hosts know it.
pub(in crate::cli) fn relative(file: &str, here: Option<&Path>) -> String {
    let path = Path::new(file);
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    // `./a` and `a` are one file, also to what compares fingerprints.
    let path: PathBuf = path.components().collect();
    let path = path.strip_prefix(".").unwrap_or(&path);
    shown(&path.to_string_lossy()).into_owned()
}

/// Writes a test suite for each file, with a case for each image: what is enforced fails it, what could not be decided is
/// an error, what is only told stands in its output.
pub(super) fn junit(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut suites = Suites::default();
    let findings = &report.findings;
    for of_one in findings.chunk_by(|a, b| key(a) == key(b)) {
        suites.of(of_one[0].place.as_ref().map_or(CLUSTER, Place::shown)).add_test_case(case(of_one));
    }
    for passed in &report.passed {
        let name = match passed.image.as_str() {
            "" => passed.label.clone(),
            written => format!("{}: {}", passed.label, image(written)),
        };
        let status = passed.skipped.as_ref().map_or_else(TestCaseStatus::success, |why| {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            status
        });
        let mut case = TestCase::new(name, status);
        case.set_classname(class(passed.object.as_ref(), &passed.file));
        suites.of(&passed.file).add_test_case(case);
    }
    for broken in &report.broken {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(BROKEN).set_message(shown(&broken.message)).set_description(shown(&broken.to_string()));
        suites.of(&broken.file).add_test_case(TestCase::new("the file can be judged", status));
    }
    junit::write("tagwarden check", suites.list, out)
}

/// What the findings on one image have in common.
fn key(located: &Located) -> (Option<&str>, Option<String>, Option<&str>) {
    let place = located.place.as_ref().map(Place::shown);
    let field = located.subject.as_ref().and_then(|subject| subject.field.as_deref());
    (place, located.object.as_ref().map(ToString::to_string), field)
}

/// The findings on one image as a case.
fn case(findings: &[Located]) -> TestCase {
    let undecided = |located: &&Located| located.finding.undecided;
    let enforced = findings.iter().filter(|located| located.finding.level == Level::Error);
    let mut gravest: Vec<_> = enforced.clone().filter(|located| !undecided(located)).collect();
    let kind = if gravest.is_empty() { NonSuccessKind::Error } else { NonSuccessKind::Failure };
    gravest.extend(enforced.filter(undecided));
    let told = findings.iter().filter(|located| located.finding.level != Level::Error);
    let status = match gravest.first() {
        None => TestCaseStatus::success(),
        Some(first) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(first.finding.id.code()).set_message(shown(&first.finding.message));
            status.set_description(gravest.iter().map(|located| text(located)).collect::<String>());
            status
        }
    };
    let subject = findings[0].subject.as_ref();
    let name = subject.map(|subject| format!("{}: {}", subject.label(), image(&subject.image)));
    let mut case = TestCase::new(name.unwrap_or_else(|| "the object as a whole".to_owned()), status);
    let file = findings[0].place.as_ref().map_or("", Place::shown);
    case.set_classname(class(findings[0].object.as_ref(), file));
    let told: String = told.map(text).collect();
    if !told.is_empty() {
        case.set_system_out(told);
    }
    case
}

/// What a case belongs to: the object, or the values file that has none.
fn class(object: Option<&ObjectName>, file: &str) -> String {
    object.map_or_else(|| shown(file).into_owned(), ToString::to_string)
}

/// A finding in full, several lines.
fn text(located: &Located) -> String {
    let finding = &located.finding;
    let mut text = format!("{}[{}]: {}\n", finding.level.name(), finding.id.code(), shown(&finding.message));
    if let Some(place) = &located.place {
        text.push_str(&format!("{}:{}:{}\n", shown(place.shown()), place.line, place.column));
    }
    let lines = plain::help(located).into_iter().chain(plain::rendered(located));
    lines.for_each(|line| text.push_str(&format!("{}\n", shown(&line))));
    text
}

/// Test suites by the names of files, in the order in which they come.
#[derive(Default)]
struct Suites {
    list: Vec<TestSuite>,
    numbers: HashMap<String, usize>,
}

impl Suites {
    fn of(&mut self, file: &str) -> &mut TestSuite {
        let number = *self.numbers.entry(file.to_owned()).or_insert_with(|| {
            self.list.push(TestSuite::new(shown(file)));
            self.list.len() - 1
        });
        &mut self.list[number]
    }
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn files_are_named_from_the_working_directory() {
        let here = Some(Path::new("/build/repo"));
        assert_eq!(relative("./deploy/./a.yaml", here), "deploy/a.yaml");
        assert_eq!(relative("/build/repo/deploy/a.yaml", here), "deploy/a.yaml");
        assert_eq!(relative("/build/repository/a.yaml", here), "/build/repository/a.yaml");
        assert_eq!(relative("../a.yaml", here), "../a.yaml");
        assert_eq!(relative("a\nb", None), "a\\nb");
    }
}
