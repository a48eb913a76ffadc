//! Images of a Dockerfile: `FROM`, `COPY --from=` and `RUN --mount=...,from=`.
//!
//! The file is read as BuildKit reads it (<https://docs.docker.com/reference/dockerfile/>), as far as these need it.

mod lex;
mod variables;

use std::collections::HashSet;

use super::spot::{Reason, Spot, Target};
use crate::cli::files;
use crate::document::Span;
use lex::{Instruction, Word};
use variables::Variables;

/// Whether a file is a Dockerfile by its name.
pub(super) fn is_named(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ours =
        |word: &str| lower == word || lower.ends_with(&format!(".{word}")) || lower.starts_with(&format!("{word}."));
    (ours("dockerfile") || ours("containerfile")) && !lower.ends_with(".dockerignore") && !files::is_manifest(&lower)
}

/// Whether a text of no telling name is a Dockerfile: it begins with `FROM` or `ARG`.
pub(super) fn looks_like(text: &str) -> bool {
    let first = lex::instructions(text).instructions.into_iter().next();
    first.is_some_and(|first| {
        let word = first.words.first().map_or("", |word| word.text(text));
        first.words.len() > 1 && (word.eq_ignore_ascii_case("FROM") || word.eq_ignore_ascii_case("ARG"))
    })
}

/// Takes the images of a Dockerfile.
pub(super) fn spots(text: &str, spots: &mut Vec<Spot>) {
    let file = lex::instructions(text);
    if let Some(span) = file.syntax {
        let image = text[span.clone()].to_owned();
        let why = "the builder's own frontend is no part of what is built; write its digest by hand where you want it";
        spots.push(Spot { place: span, image, target: Target::Left(why.into()) });
    }
    let mut reader = Reader { text, variables: Variables::default(), stages: HashSet::new(), begun: false, spots };
    file.instructions.iter().for_each(|instruction| reader.instruction(instruction));
}

struct Reader<'t, 's> {
    text: &'t str,
    /// Arguments declared before the first stage: the only ones that `FROM` sees.
    variables: Variables,
    /// Names of the stages so far, in lower case.
    stages: HashSet<String>,
    begun: bool,
    spots: &'s mut Vec<Spot>,
}

impl Reader<'_, '_> {
    fn instruction(&mut self, instruction: &Instruction) {
        let mut words = instruction.words.as_slice();
        if let [first, rest @ ..] = words
            && first.text(self.text).eq_ignore_ascii_case("ONBUILD")
        {
            words = rest;
        }
        let [name, arguments @ ..] = words else { return };
        match name.text(self.text).to_ascii_uppercase().as_str() {
            "ARG" if !self.begun => {
                arguments.iter().for_each(|word| self.variables.declare(word.text(self.text)));
            }
            "FROM" => self.from(arguments),
            "COPY" => self.flags(arguments, |flag| flag.strip_prefix("--from=")),
            "RUN" => self.flags(arguments, |flag| {
                flag.strip_prefix("--mount=")?.split(',').find_map(|part| part.strip_prefix("from="))
            }),
            _ => {}
        }
    }

    fn from(&mut self, arguments: &[Word]) {
        self.begun = true;
        let arguments: Vec<&Word> = arguments.iter().filter(|word| !word.text(self.text).starts_with("--")).collect();
        let Some(word) = arguments.first() else { return };
        let written = unquoted(self.text, &word.span);
        if word.broken {
            let reason = Reason::new("it is written over two lines", "write it on one");
            self.push(written.clone(), self.text[written].to_owned(), Target::Unknown(reason));
        } else if self.text[written.clone()].contains('$') {
            self.expanded(written);
        } else {
            self.image(written);
        }
        if let [_, keyword, name, ..] = arguments.as_slice()
            && keyword.text(self.text).eq_ignore_ascii_case("AS")
        {
            self.stages.insert(name.text(self.text).to_ascii_lowercase());
        }
    }

    /// An image that is put together from arguments: it can be read where all of them have defaults, and not written.
    fn expanded(&mut self, span: Span) {
        let written = self.text[span.clone()].to_owned();
        match self.variables.expand(&written) {
            Ok(image) if self.is_stage(&image) || image == "scratch" => {}
            Ok(image) => {
                let help = "write the image, digest and all, as the default of one ARG, or here without variables";
                let reason = Reason::new(format!("{written} is put together from build arguments"), help);
                self.push(span, image, Target::Fixed(reason));
            }
            Err(name) => {
                let why = format!("the argument {name} has no default in this file");
                let reason =
                    Reason::new(why, "give it one before the first FROM, or write the image without variables");
                self.push(span, written, Target::Unknown(reason));
            }
        }
    }

    /// The image in a flag, the first of those before the other arguments that has one.
    fn flags(&mut self, arguments: &[Word], image_of: impl Fn(&str) -> Option<&str>) {
        for word in arguments.iter().take_while(|word| word.text(self.text).starts_with("--")) {
            let flag = word.text(self.text);
            let Some(image) = image_of(flag) else { continue };
            // It is a part of the flag, so its place is known.
            let start = word.span.start + (image.as_ptr() as usize - flag.as_ptr() as usize);
            let span = start..start + image.len();
            if word.broken || image.is_empty() || image.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            if image.contains('$') {
                let reason = Reason::new("variables are not expanded here", "write the image, or the stage's name");
                self.push(span, image.to_owned(), Target::Unknown(reason));
            } else if image.contains(['/', ':', '@']) || self.is_stage(image) {
                self.image(span);
            } else {
                let why = "it is a stage or a build context of that name, or an image without a tag";
                self.push(span, image.to_owned(), Target::Left(why.into()));
            }
        }
    }

    fn image(&mut self, span: Span) {
        let image = &self.text[span.clone()];
        if !self.is_stage(image) && image != "scratch" {
            self.spots.push(Spot::ending(self.text, &span, image, image.to_owned()));
        }
    }

    fn is_stage(&self, name: &str) -> bool {
        self.stages.contains(&name.to_ascii_lowercase())
    }

    fn push(&mut self, place: Span, image: String, target: Target) {
        self.spots.push(Spot { place, image, target });
    }
}

/// A word without the quotes around it.
fn unquoted(text: &str, span: &Span) -> Span {
    let word = &text[span.clone()];
    let quoted = |quote| word.len() > 1 && word.starts_with(quote) && word.ends_with(quote);
    if quoted('"') || quoted('\'') { span.start + 1..span.end - 1 } else { span.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text with `@NEW` behind every image that can be written, and what is told of the others.
    fn written(text: &str) -> (String, Vec<String>) {
        let mut found = Vec::new();
        spots(text, &mut found);
        let mut edits = crate::document::Edits::default();
        let mut told = Vec::new();
        for spot in &found {
            match &spot.target {
                Target::Slot(slot) => assert!(edits.add(slot.edit("NEW"))),
                Target::Fixed(reason) => told.push(format!("{}: {}", spot.image, reason.why)),
                Target::Unknown(reason) => told.push(format!("{}? {}", spot.image, reason.why)),
                Target::Left(why) => told.push(format!("{}, left: {why}", spot.image)),
            }
        }
        (edits.apply(text), told)
    }

    #[track_caller]
    fn becomes(before: &str, after: &str) {
        assert_eq!(written(before), (after.to_owned(), Vec::new()), "{before}");
    }

    #[test]
    fn from_is_pinned_and_stages_are_no_images() {
        becomes(
            "# c\nFROM --platform=$BUILDPLATFORM golang:1.22 AS build\nRUN make\n\nfrom build as test\nFROM scratch\nCOPY --from=build /a /a\n",
            "# c\nFROM --platform=$BUILDPLATFORM golang:1.22@NEW AS build\nRUN make\n\nfrom build as test\nFROM scratch\nCOPY --from=build /a /a\n",
        );
        becomes("FROM a:1\r\nRUN x\r\n", "FROM a:1@NEW\r\nRUN x\r\n");
        becomes("\tFROM\ta:1", "\tFROM\ta:1@NEW");
        becomes("FROM 'a:1'\n", "FROM 'a:1@NEW'\n");
        becomes("\u{feff}FROM a:1\n", "\u{feff}FROM a:1@NEW\n");
        becomes("FROM a:1 AS a\nFROM A\n", "FROM a:1@NEW AS a\nFROM A\n");
        becomes("FROM later:1\nFROM b:1 AS later\n", "FROM later:1@NEW\nFROM b:1@NEW AS later\n");
    }

    #[test]
    fn images_of_copy_and_mounts_are_pinned() {
        becomes(
            "FROM a:1\nCOPY --chown=1 --from=r.example.com/b:1 /x /y\n",
            "FROM a:1@NEW\nCOPY --chown=1 --from=r.example.com/b:1@NEW /x /y\n",
        );
        becomes(
            "FROM a:1\nRUN --mount=type=bind,from=b:1,target=/x ls\n",
            "FROM a:1@NEW\nRUN --mount=type=bind,from=b:1@NEW,target=/x ls\n",
        );
        becomes(
            "FROM a:1\nCOPY --from=0 /x /y\nRUN echo --mount=from=b:1\n",
            "FROM a:1@NEW\nCOPY --from=0 /x /y\nRUN echo --mount=from=b:1\n",
        );
        let (after, told) = written("FROM a:1\nCOPY --from=assets /x /y\nCOPY --from=$B /x /y\n");
        assert_eq!(after, "FROM a:1@NEW\nCOPY --from=assets /x /y\nCOPY --from=$B /x /y\n");
        assert!(told[0].starts_with("assets, left: it is a stage or a build context"), "{told:?}");
        assert_eq!(told[1], "$B? variables are not expanded here");
    }

    #[test]
    fn lines_that_go_on_and_texts_within_are_no_instructions() {
        becomes(
            "FROM \\\n  # c\n\n  a:1 \\\n  AS b\nRUN x \\\n  FROM c:1\n",
            "FROM \\\n  # c\n\n  a:1@NEW \\\n  AS b\nRUN x \\\n  FROM c:1\n",
        );
        becomes(
            "# escape=`\nFROM `\n  a:1\nRUN dir c:\\\nFROM b:1\n",
            "# escape=`\nFROM `\n  a:1@NEW\nRUN dir c:\\\nFROM b:1@NEW\n",
        );
        becomes(
            "FROM a:1\nRUN <<EOF cat <<-'TWO'\nFROM b:1\nEOF\nFROM c:1\n\tTWO\nFROM d:1\n",
            "FROM a:1@NEW\nRUN <<EOF cat <<-'TWO'\nFROM b:1\nEOF\nFROM c:1\n\tTWO\nFROM d:1@NEW\n",
        );
        becomes(
            "FROM a:1\nRUN echo \"x <<EOF y\" $((1<<2)) <<<z\nFROM b:1\n",
            "FROM a:1@NEW\nRUN echo \"x <<EOF y\" $((1<<2)) <<<z\nFROM b:1@NEW\n",
        );
        becomes("FROM a:1\nENV X=<<EOF\nFROM b:1\nEOF\n", "FROM a:1@NEW\nENV X=<<EOF\nFROM b:1@NEW\nEOF\n");
    }

    #[test]
    fn arguments_are_read_and_told() {
        let text = "ARG A=a:1\nARG V=2 W\nARG N=\"${V}\"\nFROM ${A}\nFROM $A AS s\nFROM b:${N}\nFROM c:${U:-3}\nFROM ${W}\nFROM ${X%x}\nARG Y=1\nFROM d:${Y}\n";
        let (after, told) = written(text);
        assert_eq!(after, text);
        let expected = [
            "a:1: ${A} is put together from build arguments",
            "a:1: $A is put together from build arguments",
            "b:2: b:${N} is put together from build arguments",
            "c:3: c:${U:-3} is put together from build arguments",
            "${W}? the argument W has no default in this file",
            "${X%x}? the argument X%x has no default in this file",
            "d:${Y}? the argument Y has no default in this file",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_frontend_is_left() {
        let (after, told) = written("# syntax=docker/dockerfile:1\n# check=skip=all\nFROM a:1\n# syntax=b:1\n");
        assert_eq!(after, "# syntax=docker/dockerfile:1\n# check=skip=all\nFROM a:1@NEW\n# syntax=b:1\n");
        assert!(told.len() == 1 && told[0].starts_with("docker/dockerfile:1, left: "), "{told:?}");
        let late = "# a comment\n# syntax=docker/dockerfile:1\nFROM scratch\n";
        assert_eq!(written(late), (late.to_owned(), Vec::new()), "after a comment it is one itself");
    }

    #[test]
    fn a_dockerfile_is_known_by_name_or_by_its_first_word() {
        for name in ["Dockerfile", "Containerfile", "api.Dockerfile", "Dockerfile.prod", "api.dockerfile"] {
            assert!(is_named(name), "{name}");
        }
        for name in ["Dockerfile.dockerignore", "dockerfile.yaml", "Dockerfiles", "MyDockerfile"] {
            assert!(!is_named(name), "{name}");
        }
        assert!(looks_like("# c\n\nfrom a\n") && looks_like("ARG A=b\nFROM $A\n"));
        assert!(!looks_like("from: a\n") && !looks_like("FROM\n") && !looks_like("") && !looks_like("kind: Pod\n"));
    }
}
