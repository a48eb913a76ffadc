//! Lines of whatever stream, one at a time, however long and whatever is in them.

use std::io::{self, BufRead, Read as _};

/// Bytes of one line; ours are far shorter.
const LINE: u64 = 64 << 10;

/// Gives each line of `from` to `take`. One that is longer than any of ours comes in pieces, none of which is one of ours;
/// one that is no text does not come.
///
/// # Errors
/// `from` cannot be read.
pub fn each_line(from: &mut dyn BufRead, mut take: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    while (&mut *from).take(LINE).read_until(b'\n', &mut line)? > 0 {
        if let Ok(text) = std::str::from_utf8(&line) {
            take(text);
        }
        line.clear();
    }
    Ok(())
}
