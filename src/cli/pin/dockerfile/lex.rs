//! From a Dockerfile's text to its instructions: lines that go on, comments, directives, here-documents.

use crate::document::Span;

/// A Dockerfile, as far as it is read.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    /// What the directive `# syntax=` names.
    pub syntax: Option<Span>,
    pub instructions: Vec<Instruction>,
}

/// One instruction, its name among its words.
#[derive(Debug, Default)]
pub(super) struct Instruction {
    pub words: Vec<Word>,
}

/// What stands between spaces.
#[derive(Debug)]
pub(super) struct Word {
    pub span: Span,
    /// It goes on in the next line, so its bytes are not its text.
    pub broken: bool,
    /// It begins within quotes.
    quoted: bool,
}

impl Word {
    pub fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.span.clone()]
    }
}

/// Reads a text; whatever it is, every word is somewhere.
pub(super) fn instructions(text: &str) -> Lexed {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = Lines { text, at: start };
    let (escape, syntax) = directives(&mut lines);
    let mut lexed = Lexed { syntax, instructions: Vec::new() };
    let mut open: Option<Open> = None;
    while let Some(line) = lines.next() {
        let written = &text[line.clone()];
        // Comments and empty lines do not end an instruction that goes on.
        if written.trim().is_empty() || written.trim_start().starts_with('#') {
            continue;
        }
        let mut instruction = open.take().unwrap_or_default();
        let body = written.trim_end();
        let goes_on = body.strip_suffix(escape).filter(|front| !front.ends_with(escape));
        instruction.take(text, line.start..line.start + goes_on.unwrap_or(body).len());
        if goes_on.is_some() {
            open = Some(instruction);
            continue;
        }
        here_documents(text, &instruction.words).iter().for_each(|document| lines.skip_to_end_of(document));
        lexed.instructions.push(Instruction { words: instruction.words });
    }
    lexed.instructions.extend(open.map(|open| Instruction { words: open.words }));
    lexed
}

/// The lines of a text without their ends.
struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = self.at..self.at + length;
        self.at = (line.end + 1).min(self.text.len());
        Some(line)
    }
}

impl Lines<'_> {
    /// Passes over a here-document; one without an end hides nothing.
    fn skip_to_end_of(&mut self, document: &HereDocument) {
        let mut ahead = Lines { text: self.text, at: self.at };
        while let Some(line) = ahead.next() {
            let line = self.text[line].trim_end_matches('\r');
            let line = if document.tabs { line.trim_start_matches('\t') } else { line };
            if line == document.end {
                self.at = ahead.at;
                return;
            }
        }
    }
}

/// Reads `# key=value` lines at the very top: the escape character, and what `syntax` names.
fn directives(lines: &mut Lines<'_>) -> (char, Option<Span>) {
    let (mut escape, mut syntax) = ('\\', None);
    loop {
        let before = lines.at;
        let text = lines.text;
        let read = lines.next().and_then(|line| {
            let (key, value) = text[line.clone()].trim_start().strip_prefix('#')?.split_once('=')?;
            let key = key.trim();
            let known = matches!(key.to_ascii_lowercase().as_str(), "syntax" | "escape" | "check");
            let value = value.trim();
            let start = line.start + text[line].find(value)?;
            known.then(|| (key.to_ascii_lowercase(), start..start + value.len()))
        });
        let Some((key, value)) = read else {
            lines.at = before;
            return (escape, syntax);
        };
        match key.as_str() {
            "escape" if &text[value.clone()] == "`" => escape = '`',
            "syntax" if !value.is_empty() => syntax = Some(value),
            _ => {}
        }
    }
}

/// An instruction that is being read.
#[derive(Default)]
struct Open {
    words: Vec<Word>,
    quote: Option<char>,
    /// Where the last line ended, if that was within a word.
    within: bool,
}

impl Open {
    /// Takes the words of one line.
    fn take(&mut self, text: &str, line: Span) {
        let mut word: Option<Word> = None;
        let mut first = true;
        for (at, c) in text[line.clone()].char_indices() {
            let at = line.start + at;
            if c.is_whitespace() {
                self.words.extend(word.take());
            } else if first && self.within {
                // The line before ended within a word, which goes on here.
                word = self.words.pop().map(|last| Word { broken: true, ..last });
            } else if word.is_none() {
                word = Some(Word { span: at..at, broken: false, quoted: self.quote.is_some() });
            }
            if let Some(word) = word.as_mut().filter(|_| !c.is_whitespace()) {
                word.span.end = if word.broken { word.span.end } else { at + c.len_utf8() };
            }
            match self.quote {
                None if matches!(c, '"' | '\'') => self.quote = Some(c),
                Some(quote) if c == quote => self.quote = None,
                _ => {}
            }
            first = false;
        }
        self.within = word.is_some();
        self.words.extend(word);
    }
}

/// The end of a here-document.
struct HereDocument {
    end: String,
    /// Tabs before its lines do not count.
    tabs: bool,
}

/// The here-documents that an instruction opens, in order.
fn here_documents(text: &str, words: &[Word]) -> Vec<HereDocument> {
    let is = |word: &Word, name: &str| word.text(text).eq_ignore_ascii_case(name);
    let words = match words {
        [first, rest @ ..] if is(first, "ONBUILD") => rest,
        words => words,
    };
    let [name, arguments @ ..] = words else { return Vec::new() };
    if !["RUN", "COPY", "ADD"].iter().any(|known| is(name, known)) {
        return Vec::new();
    }
    arguments.iter().filter(|word| !word.quoted).filter_map(|word| here_document(word.text(text))).collect()
}

fn here_document(word: &str) -> Option<HereDocument> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let end: String = rest.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    let fits = !end.is_empty() && !end.contains('<');
    fits.then_some(HereDocument { end, tabs })
}
