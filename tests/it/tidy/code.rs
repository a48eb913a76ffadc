//! Just enough reading of Rust for rules about names: comments and literals blanked, unit tests cut out, paths expanded.

/// The text with comments and the insides of string and character literals replaced by spaces; lines stay where they are.
pub(super) fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let word_before = at > 0 && is_word(bytes[at - 1]);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !word_before) {
            length
        } else if rest.starts_with('"') {
            quoted(rest, b'"')
        } else if let Some(length) = character(rest) {
            length
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..length]);
            at += length;
            continue;
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    out
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the block comment at the start, nested ones counted in.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let two = rest.as_bytes().get(at..at + 2).unwrap_or_default();
        match two {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the raw string (`r"`, `r#"`, `br"`, `cr"`) at the start, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inner = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = rest.len() - inner.len();
    Some(inner.find(&end).map_or(rest.len(), |found| opening + found + end.len()))
}

/// The length of the literal that begins and ends with `quote`.
fn quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of the character literal at the start; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('\'')?;
    if after.starts_with('\\') {
        return Some(quoted(rest, b'\''));
    }
    let first = after.chars().next()?.len_utf8();
    after[first..].starts_with('\'').then_some(first + 2)
}

/// Code (already without comments and literals) in two: with `#[cfg(test)]` items blanked, and with all else blanked.
pub(super) fn split_tests(code: &str) -> (String, String) {
    let blank = |text: &str| text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
    let (mut outside, mut inside) = (String::new(), String::new());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        let length = item_length(&rest[start..]);
        let (before, item, after) = (&rest[..start], &rest[start..start + length], &rest[start + length..]);
        outside.push_str(before);
        outside.push_str(&blank(item));
        inside.push_str(&blank(before));
        inside.push_str(item);
        rest = after;
    }
    outside.push_str(rest);
    inside.push_str(&blank(rest));
    (outside, inside)
}

/// The length of an item: to its closing brace, or to a semicolon that comes before any brace.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// One path of the code, `use` trees taken apart: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    /// It stands in a `use` declaration.
    pub(super) imported: bool,
    /// How many inline modules of the file are around it.
    pub(super) inline_modules: usize,
}

/// Every path of `code` (without comments and literals), single names among them.
pub(super) fn paths(code: &str) -> Vec<Path> {
    let mut walk = Walk { tokens: tokens(code), at: 0, found: Vec::new(), depth: 0, modules: Vec::new() };
    while let Some((_, token)) = walk.tokens.get(walk.at) {
        match *token {
            // `impl Trait + use<'a>` says what is captured; it imports nothing.
            "use" if walk.token(1) == "<" => walk.at += 1,
            "use" => {
                walk.at += 1;
                walk.tree(&[]);
            }
            "mod" if walk.token(2) == "{" => {
                walk.depth += 1;
                walk.modules.push(walk.depth);
                walk.at += 3;
            }
            "{" => {
                walk.depth += 1;
                walk.at += 1;
            }
            "}" => {
                if walk.modules.last() == Some(&walk.depth) {
                    walk.modules.pop();
                }
                walk.depth = walk.depth.saturating_sub(1);
                walk.at += 1;
            }
            token if is_word(token.as_bytes()[0]) => walk.plain(),
            _ => walk.at += 1,
        }
    }
    walk.found
}

struct Walk<'c> {
    tokens: Vec<(usize, &'c str)>,
    at: usize,
    found: Vec<Path>,
    depth: usize,
    modules: Vec<usize>,
}

impl Walk<'_> {
    fn token(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |(_, token)| token)
    }

    fn push(&mut self, line: usize, segments: Vec<String>, imported: bool) {
        self.found.push(Path { line, segments, imported, inline_modules: self.modules.len() });
    }

    /// `a::b::c` outside of `use`.
    fn plain(&mut self) {
        let line = self.tokens[self.at].0;
        let mut segments = vec![self.token(0).to_owned()];
        self.at += 1;
        while self.token(0) == "::" && self.token(1).starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            segments.push(self.token(1).to_owned());
            self.at += 2;
        }
        self.push(line, segments, false);
    }

    /// A `use` tree below `prefix`, to its comma, closing brace or semicolon.
    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(line, _)| *line);
        while self.at < self.tokens.len() {
            match self.token(0).to_owned().as_str() {
                "," | "}" | ";" => break,
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | ";" | "") {
                        self.tree(&segments);
                        if self.token(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => self.at += 2,
                "::" => self.at += 1,
                name => {
                    segments.push(name.to_owned());
                    self.at += 1;
                }
            }
        }
        self.push(line, segments, true);
    }
}

/// The modules that `code` declares and keeps in files of their own: `mod x;`.
pub(super) fn file_modules(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let declared = tokens.windows(3).filter(|three| three[0].1 == "mod" && three[2].1 == ";");
    declared.map(|three| three[1].1.to_owned()).collect()
}

/// Words, `::`, and single signs, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if first.is_alphanumeric() || first == '_' => {
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
                }
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push((index + 1, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{Path, paths, split_tests, without_comments_and_literals};

    fn names(code: &str) -> Vec<String> {
        paths(code).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        let cases = [
            ("a // tokio\nb", "a         \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            ("f(\"tokio \\\" x\", y)", "f(            , y)"),
            ("r#\"a \" b\"# c", "           c"),
            ("br\"a\\\" c", "       c"),
            ("'\"' 'x 'static '\\'' z", "    'x 'static      z"),
            ("for_r\"x\"", "for_r   "),
            ("é \"é\" é", "é     é"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_comments_and_literals(text), expected, "{text}");
        }
    }

    #[test]
    fn unit_tests_are_told_from_code() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\nfn c() {}\n#[cfg(test)]\nuse d;\nfn e() {}";
        let (outside, inside) = split_tests(code);
        assert_eq!(names(&outside).join(" "), "fn a fn c fn e");
        assert_eq!(names(&inside).join(" "), "cfg test fn b cfg test d");
        assert_eq!((outside.lines().count(), inside.lines().count()), (7, 7));
    }

    #[test]
    fn captures_are_no_imports() {
        let found = paths("fn a() -> impl Fn() + use<> {\n    b(c);\n}");
        assert!(found.iter().all(|path| !path.imported), "{found:?}");
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(
            names("pub use crate::{a, b::{self, c as d}, e::*};\nuse x;"),
            ["pub", "crate::a", "crate::b::self", "crate::b::c", "crate::e::*", "x"]
        );
    }

    #[test]
    fn paths_keep_their_line_and_the_modules_around_them() {
        let found = paths("mod a {\n  fn f() { std::fs::read::<T>() }\n}\nx");
        let read = found.iter().find(|path| path.segments[0] == "std");
        let segments = ["std", "fs", "read"].map(str::to_owned).to_vec();
        assert_eq!(read, Some(&Path { line: 2, segments, imported: false, inline_modules: 1 }));
        assert_eq!(found.last().map(|path| path.inline_modules), Some(0));
    }
}
