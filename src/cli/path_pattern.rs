//! Patterns over the paths of files: which ones are meant, and what their paths say.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// A pattern over a path with `/` between segments: `*` is any run of characters in a segment, a segment `**` any
/// number of segments, `{name}` one or more characters of a segment that are captured. It matches whole segments at the
/// end of a path, so that it does not matter from where the path is written; one that begins with `/` matches all of it.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    text: String,
    names: Vec<String>,
    regex: Regex,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let relative = text.strip_prefix('/');
        let mut names = Vec::new();
        let mut regex = if relative.is_some() { r"\A/".to_owned() } else { r"\A(?:.*?/)??".to_owned() };
        let mut segments = relative.unwrap_or(text).split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                "" | "." | ".." => {
                    return Err("write whole segments between single slashes, without . and ..".to_owned());
                }
                "**" if last => regex.push_str(".+"),
                "**" => regex.push_str("(?:[^/]+/)*"),
                _ => {
                    push_segment(segment, &mut regex, &mut names)?;
                    regex.push_str(if last { "" } else { "/" });
                }
            }
        }
        regex.push_str(r"\z");
        let regex = Regex::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true))
            .build(&regex)
            .map_err(|error| format!("the pattern is too long: {error}"))?;
        Ok(PathPattern { text: text.to_owned(), names, regex })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names that it captures.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a path is meant.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }

    /// What a path holds in the place of `{name}`; none where the path is not meant, or the name is not captured.
    pub fn capture<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let index = self.names.iter().position(|known| known == name)?;
        let mut captures = self.regex.create_captures();
        self.regex.captures(path, &mut captures);
        path.get(captures.get_group(index + 1)?.range())
    }
}

fn push_segment(segment: &str, regex: &mut String, names: &mut Vec<String>) -> Result<(), String> {
    let mut rest = segment;
    while let Some(at) = rest.find(['*', '{', '}']) {
        regex_syntax::escape_into(&rest[..at], regex);
        let special = &rest[at..];
        if let Some(inside) = special.strip_prefix('{') {
            let name = inside.split_once('}').map(|(name, _)| name).unwrap_or_default();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase()) {
                return Err("between '{' and '}' stands a name of lower-case letters: {env}".to_owned());
            }
            if names.iter().any(|known| known == name) {
                return Err(format!("{{{name}}} stands twice"));
            }
            names.push(name.to_owned());
            regex.push_str("([^/]+)");
            rest = &inside[name.len() + 1..];
        } else if special.starts_with("**") {
            return Err("'**' stands alone between slashes; within a segment write one '*'".to_owned());
        } else if let Some(after) = special.strip_prefix('*') {
            regex.push_str("[^/]*");
            rest = after;
        } else {
            return Err("a '}' without its '{'".to_owned());
        }
    }
    regex_syntax::escape_into(rest, regex);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::PathPattern;

    #[test]
    fn whole_segments_at_the_end_of_a_path_are_matched() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("values.yaml", &["values.yaml", "a/values.yaml", "/x/values.yaml"], &["my-values.yaml", "values.yaml/x"]),
            ("values*.yaml", &["values-prod.yaml", "a/values.yaml"], &["values/x.yaml", "xvalues.yaml"]),
            (
                "charts/*/values.yaml",
                &["charts/a/values.yaml", "./x/charts/a/values.yaml"],
                &["charts/a/b/values.yaml"],
            ),
            ("charts/**/values.yaml", &["charts/values.yaml", "charts/a/b/values.yaml"], &["charts/a/b/values.yml"]),
            ("charts/**", &["charts/a", "charts/a/b"], &["charts", "xcharts/a"]),
            ("/a/*.yaml", &["/a/b.yaml"], &["/x/a/b.yaml", "a/b.yaml"]),
            ("a.b", &["a.b"], &["axb"]),
        ];
        for (pattern, yes, no) in cases {
            let read = PathPattern::parse(pattern).unwrap();
            for path in *yes {
                assert!(read.matches(path), "{pattern} must match {path}");
            }
            for path in *no {
                assert!(!read.matches(path), "{pattern} must not match {path}");
            }
        }
    }

    #[test]
    fn names_are_captured() {
        let pattern = PathPattern::parse("apps/{service}/overlays/{env}/values-{zone}.yaml").unwrap();
        assert_eq!(pattern.names(), ["service", "env", "zone"]);
        let path = "repo/apps/shop/overlays/prod/values-eu.yaml";
        let all = ["service", "env", "zone"].map(|name| pattern.capture(path, name));
        assert_eq!(all, [Some("shop"), Some("prod"), Some("eu")]);
        assert_eq!(pattern.capture(path, "namespace"), None);
        assert_eq!(pattern.capture("repo/apps/shop/overlays/values-eu.yaml", "env"), None);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for (text, why) in [
            ("", "whole segments"),
            ("a//b", "whole segments"),
            ("../a", "whole segments"),
            ("a**", "stands alone"),
            ("{env", "lower-case letters"),
            ("{}", "lower-case letters"),
            ("env}", "without its '{'"),
            ("{env}/{env}", "stands twice"),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
