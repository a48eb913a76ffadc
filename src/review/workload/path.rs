//! Paths into an object: `spec.templates[].container.image`, for configured kinds and the built-in table alike.

use std::borrow::Cow;
use std::fmt;

/// The steps a path may have; real ones have less than ten, and reading recurses once a step.
const MAX_STEPS: usize = 32;

/// One step down from a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// To the value of a key of an object.
    Key(Cow<'static, str>),
    /// To every element of a list.
    Each,
}

/// From the object's top to an image or a PodSpec.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) steps: Cow<'static, [Step]>,
}

static POD: Path = Path::of(&POD_STEPS);
static POD_STEPS: [Step; 1] = [key("spec")];
static TEMPLATE: Path = Path::of(&TEMPLATE_STEPS);
static TEMPLATE_STEPS: [Step; 3] = [key("spec"), key("template"), key("spec")];
static POD_TEMPLATE: Path = Path::of(&POD_TEMPLATE_STEPS);
static POD_TEMPLATE_STEPS: [Step; 2] = [key("template"), key("spec")];
static CRON_JOB: Path = Path::of(&CRON_JOB_STEPS);
static CRON_JOB_STEPS: [Step; 5] = [key("spec"), key("jobTemplate"), key("spec"), key("template"), key("spec")];

const fn key(name: &'static str) -> Step {
    Step::Key(Cow::Borrowed(name))
}

impl Path {
    const fn of(steps: &'static [Step]) -> Path {
        Path { steps: Cow::Borrowed(steps) }
    }

    /// Where the PodSpec of a built-in kind is.
    pub(crate) fn built_in(group: &str, kind: &str) -> Option<&'static Path> {
        match (group, kind) {
            ("", "Pod") => Some(&POD),
            ("", "PodTemplate") => Some(&POD_TEMPLATE),
            ("", "ReplicationController")
            | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job") => Some(&TEMPLATE),
            ("batch", "CronJob") => Some(&CRON_JOB),
            _ => None,
        }
    }

    /// Reads a path: keys joined by dots, `[]` for every element of a list, and `["..."]` for a key that holds a
    /// dot, a slash, a bracket or a quote (within the quotes, `\"` and `\\` stand for themselves). A leading dot is allowed.
    ///
    /// # Errors
    /// Why it is no path, in one sentence that names the place.
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('.').unwrap_or(text);
        let mut key_expected = true;
        if rest.is_empty() {
            return Err("the path is empty: write for example spec.template.spec".to_owned());
        }
        while !rest.is_empty() {
            let position = text.len() - rest.len();
            if let Some(after) = rest.strip_prefix("[]") {
                if steps.is_empty() || (key_expected && text[..position].ends_with('.')) {
                    return Err(format!("no key before the [] at byte {position} of {text:?}"));
                }
                steps.push(Step::Each);
                rest = after;
                key_expected = false;
            } else if let Some(after) = rest.strip_prefix("[\"") {
                let (name, after) = quoted(after)
                    .ok_or_else(|| format!("the quoted key at byte {position} of {text:?} does not end with \"]"))?;
                if name.is_empty() {
                    return Err(format!("an empty key at byte {position} of {text:?}"));
                }
                steps.push(Step::Key(Cow::Owned(name)));
                rest = after;
                key_expected = false;
            } else if rest.starts_with('[') {
                return Err(format!(
                    "at byte {position} of {text:?}: write [] for every element of a list, or [\"key\"]"
                ));
            } else if let Some(after) = rest.strip_prefix('.') {
                if key_expected {
                    return Err(format!("an empty key at byte {position} of {text:?}"));
                }
                rest = after;
                key_expected = true;
                if rest.is_empty() {
                    return Err(format!("{text:?} ends with a dot"));
                }
            } else {
                if !key_expected {
                    return Err(format!("a dot is missing at byte {position} of {text:?}"));
                }
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
                    return Err(format!(
                        "the key {name:?} of {text:?} holds {bad:?}: write [\"...\"] around such a key"
                    ));
                }
                steps.push(Step::Key(Cow::Owned(name.to_owned())));
                rest = after;
                key_expected = false;
            }
        }
        if steps.len() > MAX_STEPS {
            return Err(format!("{text:?} has {} steps, at most {MAX_STEPS} are allowed", steps.len()));
        }
        Ok(Path { steps: Cow::Owned(steps) })
    }

    /// The key of the object's top level under which it all is.
    pub(crate) fn top(&self) -> &str {
        match self.steps.first() {
            Some(Step::Key(name)) => name,
            Some(Step::Each) | None => "",
        }
    }

    /// Its first `steps` steps as people read them, with `indexes` filled in for `[]`.
    pub(crate) fn at<'a>(&'a self, steps: usize, indexes: &'a [u32]) -> impl fmt::Display + 'a {
        At { steps: self.steps.get(..steps).unwrap_or(&self.steps), indexes }
    }
}

struct At<'a> {
    steps: &'a [Step],
    indexes: &'a [u32],
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indexes = self.indexes.iter();
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Each => match indexes.next() {
                    Some(index) => write!(f, "[{index}]")?,
                    None => f.write_str("[]")?,
                },
                Step::Key(name) if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) => {
                    f.write_str(if number == 0 { "" } else { "." })?;
                    f.write_str(name)?;
                }
                Step::Key(name) => write!(f, "[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\""))?,
            }
        }
        Ok(())
    }
}

/// The key up to `"]`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next().map(|(_, c)| c).filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return text[at + 1..].strip_prefix(']').map(|after| (name, after)),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_and_print_alike() {
        for (text, indexes, printed) in [
            ("spec.template.spec", &[][..], "spec.template.spec"),
            (".spec.image", &[], "spec.image"),
            ("spec.templates[].container.image", &[3], "spec.templates[3].container.image"),
            ("a[][].b", &[0, 12], "a[0][12].b"),
            ("metadata.annotations[\"a.b/c\"]", &[], "metadata.annotations[\"a.b/c\"]"),
            ("spec[\"a\\\"b\\\\c\"][].x", &[1], "spec[\"a\\\"b\\\\c\"][1].x"),
            ("spec[\"plain\"]", &[], "spec.plain"),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.at(path.steps.len(), indexes).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (text, reason) in [
            ("", "the path is empty"),
            (".", "the path is empty"),
            ("spec.", "ends with a dot"),
            ("spec..image", "an empty key at byte 5"),
            ("[].image", "no key before the [] at byte 0"),
            ("spec.[].image", "no key before the [] at byte 5"),
            ("spec.list[0].image", "write [] for every element"),
            ("spec.list[]image", "a dot is missing at byte 11"),
            ("spec.a/b", "holds '/'"),
            ("spec.steps[*].image", "write [] for every element"),
            ("spec[\"a", "does not end with"),
            ("spec[\"\"]", "an empty key"),
            ("spec.im age", "holds ' '"),
            ("a[][][][][][][][][][][][][][][][][][][][][][][][][][][][][][][][]", "has 33 steps"),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
