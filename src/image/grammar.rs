//! The grammar of distribution/reference as scanners over bytes, each of which ends where its production ends.
//!
//! Two facts make one pass enough. A host label and a component of a path differ only in what may occur inside (a
//! label takes upper-case letters, a component takes `_`), so both are read by [`segment`], which notes which of the
//! two it saw. And what follows the first `:` is a port exactly if a `/` ends it, since no tag holds a `/`.

/// The longest tag, in bytes.
pub(super) const MAX_TAG_BYTES: usize = 128;

/// What does not fit, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) position: usize,
}

/// Everything that can be wrong with a reference; each has its own sentence in `error.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotText,
    Empty,
    InputTooLong,
    PathTooLong,
    ImageId,
    NonAscii,
    Space,
    Uppercase,
    Character(u8),
    EmptyComponent,
    Separator(u8),
    Scheme,
    HostUnderscore,
    Bracket,
    BracketAlone,
    Port,
    TagEmpty,
    TagStart(u8),
    TagTooLong,
    DigestShape,
    DigestAlgorithm,
    DigestHex,
    DigestLength,
}

impl Problem {
    pub(super) fn at(self, position: usize) -> Fault {
        Fault { problem: self, position }
    }

    /// The fault at `position`, where this problem gives way to a more telling one: a byte that no reference holds.
    pub(super) fn unless_foreign(self, bytes: &[u8], position: usize) -> Fault {
        let problem = match bytes.get(position) {
            Some(byte) if !byte.is_ascii() => Problem::NonAscii,
            Some(byte) if byte.is_ascii_whitespace() || byte.is_ascii_control() => Problem::Space,
            _ => self,
        };
        problem.at(position)
    }
}

/// What a byte is to a host label, a component of a path or a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[a-z0-9]`.
    Alnum,
    /// `[A-Z]`.
    Upper,
    Dot,
    Dash,
    Underscore,
    /// `/`, `:` and `@`, which end a segment, as the end of the input does.
    End,
    Other,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' => Kind::Alnum,
            b'A'..=b'Z' => Kind::Upper,
            b'.' => Kind::Dot,
            b'-' => Kind::Dash,
            b'_' => Kind::Underscore,
            b'/' | b':' | b'@' => Kind::End,
            _ => Kind::Other,
        };
        byte += 1;
    }
    kinds
};

fn kind(bytes: &[u8], at: usize) -> Kind {
    bytes.get(at).map_or(Kind::End, |&byte| KINDS[usize::from(byte)])
}

/// A host without port, or one component of a path: letters and digits joined by single separators.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Where it ends: at `/`, `:`, `@` or the end of the input.
    pub(super) end: usize,
    /// The first upper-case letter: this is a host, or wrong.
    pub(super) upper: Option<usize>,
    /// It holds a `.`.
    pub(super) dot: bool,
    /// The first `_`: this is a component of a path, or wrong.
    pub(super) underscore: Option<usize>,
}

/// Reads a segment. Separators are `.`, `_`, `__` and runs of `-`; they stand between letters or digits.
pub(super) fn segment(bytes: &[u8], start: usize) -> Result<Segment, Fault> {
    let mut seen = Segment { end: start, upper: None, dot: false, underscore: None };
    let mut at = start;
    loop {
        let first = at;
        loop {
            match kind(bytes, at) {
                Kind::Alnum => {}
                Kind::Upper => seen.upper = seen.upper.or(Some(at)),
                _ => break,
            }
            at += 1;
        }
        if at == first {
            return Err(misplaced(bytes, start, at));
        }
        match kind(bytes, at) {
            Kind::End => {
                seen.end = at;
                return Ok(seen);
            }
            Kind::Dot => {
                seen.dot = true;
                at += 1;
            }
            Kind::Dash => {
                while kind(bytes, at) == Kind::Dash {
                    at += 1;
                }
            }
            Kind::Underscore => {
                seen.underscore = seen.underscore.or(Some(at));
                at += 1;
                if kind(bytes, at) == Kind::Underscore {
                    at += 1;
                }
            }
            _ => return Err(misplaced(bytes, start, at)),
        }
    }
}

/// What is wrong at `at`, in a segment that began at `start`.
#[cold]
fn misplaced(bytes: &[u8], start: usize, at: usize) -> Fault {
    let problem = match kind(bytes, at) {
        Kind::Dot | Kind::Dash | Kind::Underscore => Problem::Separator(bytes[at]),
        Kind::End if at == start => Problem::EmptyComponent,
        Kind::End => Problem::Separator(bytes[at - 1]),
        _ => bytes.get(at).map_or(Problem::EmptyComponent, |&byte| Problem::Character(byte)),
    };
    problem.unless_foreign(bytes, at)
}

/// Reads `[`, hex digits and colons, `]`; returns where that ends. Whether it is an address is not asked here.
pub(super) fn bracketed(bytes: &[u8]) -> Result<usize, Fault> {
    let mut at = 1;
    while bytes.get(at).is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':') {
        at += 1;
    }
    if at == 1 || bytes.get(at) != Some(&b']') {
        return Err(Problem::Bracket.unless_foreign(bytes, at));
    }
    Ok(at + 1)
}

/// Reads the digits of a port, which a `/` must end; returns the place of that `/`.
pub(super) fn port(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start || bytes.get(at) != Some(&b'/') {
        return Err(Problem::Port.unless_foreign(bytes, at));
    }
    Ok(at)
}

/// The end of a run of bytes that a tag may hold.
pub(super) fn word_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while !matches!(kind(bytes, at), Kind::End | Kind::Other) {
        at += 1;
    }
    at
}

/// Reads a tag, `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`, which `@` or the end of the input must end; returns where.
pub(super) fn tag(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let end = word_end(bytes, start);
    if let Some(&byte) = bytes.get(start)
        && matches!(byte, b'.' | b'-')
    {
        return Err(Problem::TagStart(byte).at(start));
    }
    if end - start > MAX_TAG_BYTES {
        return Err(Problem::TagTooLong.at(start + MAX_TAG_BYTES));
    }
    match bytes.get(end) {
        None | Some(b'@') if end == start => Err(Problem::TagEmpty.at(start)),
        None | Some(b'@') => Ok(end),
        Some(&byte) => Err(Problem::Character(byte).unless_foreign(bytes, end)),
    }
}
