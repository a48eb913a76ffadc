//! What is wrong with a policy, and where: a line of a file, or a path in an object.

use std::fmt;

use crate::document::Diagnostic;
use crate::server::objects::ObjectProblem;

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
    use crate::policy::{CustomKind, PolicySet, Settings};
    use serde_json::json;

    #[test]
    fn a_problem_of_an_object_names_object_path_and_remedy() {
        let object = json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": "no-latest"},
            "spec": {"mode": "warn", "rules": [{"images": ["**"], "tags": ["release", "relase"], "pinn": "pods"}, {}]}});
        let text = format!("{object:#}");
        let found = PolicySet::compile(&[("no-latest", &text)], Settings::default()).unwrap_err();
        let found = ObjectProblem::all(CustomKind::ImagePolicy, "no-latest", "", &text, found);
        let mut told: Vec<String> = found.into_iter().map(|p| Problem::Object(p).to_string()).collect();
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
