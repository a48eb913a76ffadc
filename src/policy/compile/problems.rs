//! Problems that several parts of compiling note: what they say, and where they point.

use super::OwnClasses;
use crate::document::{Reader, Span, Spanned, nearest};
use crate::image::{Class, GlobError, GlobSet};
use crate::policy::file::Text;
use crate::policy::printable;

/// Notes that something known is not built yet.
pub(super) fn not_supported(reader: &mut Reader<'_>, span: Span, what: &str) {
    let error = reader.error(span, format!("{what} is not supported yet"));
    error.help.push("a later version will know it; take it out for now".to_owned());
}

/// Notes a problem inside a text, at a byte offset of its value.
pub(super) fn inside(reader: &mut Reader<'_>, text: &Text, error: &GlobError) {
    let written = reader.source.text().get(text.span.clone()).unwrap_or_default();
    let quotes = usize::from(written.starts_with(['"', '\'']));
    // Where escapes or line folds make the written text differ from its value, the whole of it is pointed at.
    let same = written.get(quotes..quotes + text.value.len()) == Some(text.value.as_str());
    let span = match same {
        true => {
            let start = text.span.start + quotes + error.position.min(text.value.len());
            start..(start + 1).min(text.span.end.max(start))
        }
        false => text.span.clone(),
    };
    let noted = reader.error(span, error.message.clone());
    noted.help.extend(error.help.clone());
}

/// Notes a list that must not be empty.
pub(super) fn not_empty<T>(list: &Spanned<Vec<T>>, what: &str, reader: &mut Reader<'_>) {
    if list.value.is_empty() {
        reader.error(list.span.clone(), format!("an empty list matches nothing: name at least one {what}"));
    }
}

/// Notes a class name that is none, with the nearest that is.
pub(super) fn unknown_class(text: &Text, own: &OwnClasses, wanted: &str, reader: &mut Reader<'_>) {
    if reader.is_full() {
        return;
    }
    let mut known: Vec<&str> = own.list.iter().map(|class| class.name.as_str()).collect();
    known.extend(Class::ALL.iter().map(|class| class.name()));
    let shown = printable(&text.value, 60);
    let error = reader.error(text.span.clone(), format!("'{shown}' is not {wanted}"));
    error.help.push(match nearest(&text.value, &known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("tag classes: {}", known.join(", ")),
    });
}

/// Notes what is wrong with a pattern over tags.
pub(super) fn check_pattern(text: &Text, reader: &mut Reader<'_>) {
    if let Err((_, message)) = GlobSet::new(&[&text.value]) {
        reader.error(text.span.clone(), message);
    }
}
