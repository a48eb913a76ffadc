//! What is wrong with a policy, and where: a line of a file, or a path in an object.

use std::fmt;

use crate::document::{Diagnostic, Source, parse, path_of};

/// One problem of a source of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Problem {
    /// Of a file, or of all of them.
    File(Diagnostic),
    /// Of an object.
    Object(ObjectProblem),
    /// The objects cannot be listed, for this reason.
    Unlisted(String),
    /// Of the set.
    Set(&'static str),
}

/// A problem of an ImagePolicy object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct ObjectProblem {
    /// The object's name.
    pub object: String,
    /// Where in it: `spec.rules[0].tags[1]`; empty: the object as a whole.
    pub path: String,
    /// One sentence.
    pub message: String,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl ObjectProblem {
    /// The problems of an object's text; a stored object has no lines, so each is told by its path.
    pub fn all(object: &str, text: &str, problems: Vec<Diagnostic>) -> Vec<Self> {
        let (documents, _) = parse(&Source::new(object, text));
        let path = |problem: &Diagnostic| {
            let root = &documents.first()?.root;
            Some(path_of(root, problem.span.as_ref()?))
        };
        let told = problems.into_iter().map(|problem| ObjectProblem {
            object: object.to_owned(),
            path: path(&problem).unwrap_or_default(),
            message: problem.message,
            help: problem.help,
        });
        told.collect()
    }
}

/// One line: `FILE:LINE:COLUMN: error: message; help`, `ImagePolicy NAME: PATH: message; help`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::File(problem) => problem.fmt(f),
            Problem::Object(problem) => problem.fmt(f),
            Problem::Unlisted(why) => write!(f, "the ImagePolicy objects cannot be listed: {why}"),
            Problem::Set(sentence) => f.write_str(sentence),
        }
    }
}

impl fmt::Display for ObjectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImagePolicy {}: ", self.object)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl Problem {
    /// Writes it to the log, with its place in fields of their own.
    pub fn log(&self) {
        const MESSAGE: &str = "the policies have errors; what was in force stays in force";
        match self {
            Problem::File(problem) => {
                tracing::error!(file = problem.file, line = problem.line, problem = %self, "{MESSAGE}");
            }
            Problem::Object(problem) => {
                tracing::error!(object = problem.object, path = problem.path, problem = %self, "{MESSAGE}");
            }
            Problem::Unlisted(_) => {
                tracing::error!(problem = %self, "what was saved of the policies is in force; changes of them are not seen");
            }
            Problem::Set(_) => tracing::error!(problem = %self, "{MESSAGE}"),
        }
    }

    /// What it is a problem of, for counting.
    pub fn source(&self) -> (&'static str, &str) {
        match self {
            Problem::File(problem) => ("file", &problem.file),
            Problem::Object(problem) => ("object", &problem.object),
            Problem::Unlisted(_) | Problem::Set(_) => ("set", ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectProblem, Problem};
    use crate::policy::{PolicySet, Settings};
    use serde_json::json;

    #[test]
    fn a_problem_of_an_object_names_object_path_and_remedy() {
        let object = json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": "no-latest"},
            "spec": {"mode": "warn", "rules": [{"images": ["**"], "tags": ["release", "relase"], "pinn": "pods"}, {}]}});
        let text = format!("{object:#}");
        let found = PolicySet::compile(&[("no-latest", &text)], Settings::default()).unwrap_err();
        let mut told: Vec<String> =
            ObjectProblem::all("no-latest", &text, found).into_iter().map(|p| Problem::Object(p).to_string()).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "ImagePolicy no-latest: spec.rules[0].pinn: unknown key 'pinn'; did you mean 'pin'?",
                "ImagePolicy no-latest: spec.rules[0].tags[1]: 'relase' is not a tag class or a pattern; did you mean 'release'?",
                "ImagePolicy no-latest: spec.rules[1]: the key 'images' is missing here",
            ]
        );
    }
}
