//! Where the history goes: the end of a file, flushed to its disk, or standard output.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::history::{Known, each_line};

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// Behind what is in this file. It is opened for each write, so that one that was moved away is not written to.
    File(PathBuf),
    /// Standard output, which carries nothing else.
    Stdout,
}

impl Sink {
    /// What was written so far; none: that cannot be read here.
    ///
    /// # Errors
    /// One sentence: the file is there and cannot be read.
    pub fn known(&self) -> Result<Option<Known>, String> {
        match self {
            Sink::Stdout => Ok(None),
            Sink::File(path) => match read(path) {
                Ok(known) => Ok(Some(known)),
                Err(error) => Err(format!("cannot read {}: {error}", path.display())),
            },
        }
    }

    /// Writes lines, each with its end, and takes out of `lines` what is written.
    ///
    /// # Errors
    /// One sentence. Lines that were written and not flushed to the disk are written once more: readers take that for one.
    pub fn append(&self, lines: &mut VecDeque<String>) -> Result<(), String> {
        match self {
            Sink::File(path) => {
                let appended = append(path, lines);
                appended.map_err(|error| format!("cannot write {}: {error}", path.display()))
            }
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                let mut write = |line: &String| out.write_all(line.as_bytes()).and_then(|()| out.flush());
                while let Some(line) = lines.front() {
                    write(line).map_err(|error| format!("cannot write to standard output: {error}"))?;
                    lines.pop_front();
                }
                Ok(())
            }
        }
    }
}

fn append(path: &Path, lines: &mut VecDeque<String>) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    for line in &*lines {
        file.write_all(line.as_bytes())?;
    }
    file.sync_data()?;
    lines.clear();
    Ok(())
}

/// Whether the last line is half of one: whoever wrote it was killed, or its disk was full.
fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A file that is not there is empty.
fn read(path: &Path) -> io::Result<Known> {
    let mut known = Known::default();
    let mut reader = match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => BufReader::new(file),
        // A device may have no end.
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(known),
        Err(error) => return Err(error),
    };
    each_line(&mut reader, |line| known.line(line))?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs;

    use super::Sink;
    use crate::history::{Known, Record, Session, What};

    fn line(second: i64) -> String {
        let time = jiff::Timestamp::from_second(second).unwrap();
        Record { time, what: What::Watching { since: time, resumes: true } }.line()
    }

    fn lines(lines: &[&str]) -> VecDeque<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn lines_are_appended_and_read_back_also_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let sink = Sink::File(path.clone());
        assert_eq!(sink.known(), Ok(Some(Known::default())), "a file that is not there is empty");
        let mut waiting = lines(&[&line(1), &line(2)]);
        sink.append(&mut waiting).unwrap();
        assert!(waiting.is_empty());
        Sink::File(path.clone()).append(&mut lines(&[&line(3)])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), [line(1), line(2), line(3)].concat());
        let mut expected = Known::default();
        expected.line(&line(3));
        assert_eq!(sink.known(), Ok(Some(expected)));
    }

    #[test]
    fn half_a_line_is_ended_and_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let half = &line(2)[..30];
        fs::write(&path, line(1) + half).unwrap();
        let sink = Sink::File(path.clone());
        let mut expected = Known::default();
        expected.line(&line(1));
        assert_eq!(sink.known(), Ok(Some(expected.clone())));
        sink.append(&mut lines(&[&line(3)])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}{half}\n{}", line(1), line(3)));
        expected.line(&line(3));
        assert_eq!(sink.known(), Ok(Some(expected)));
    }

    #[test]
    fn what_is_no_text_or_endless_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut bytes = b"\xff\xfe\n".to_vec();
        bytes.extend(vec![b'{'; 300_000]);
        bytes.extend(format!("\n{}", line(7)).into_bytes());
        fs::write(&path, bytes).unwrap();
        let mut expected = Known::default();
        expected.line(&line(7));
        assert_eq!(Sink::File(path).known(), Ok(Some(expected)));
    }

    #[test]
    fn a_full_disk_keeps_the_lines_for_another_try() {
        let sink = Sink::File("/dev/full".into());
        let mut waiting = lines(&[&line(1), &line(2)]);
        let said = sink.append(&mut waiting).unwrap_err();
        assert!(said.starts_with("cannot write /dev/full: "), "{said}");
        assert_eq!(waiting, lines(&[&line(1), &line(2)]));
    }

    #[test]
    fn a_folder_in_its_place_is_an_error_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::File(folder.path().to_owned());
        assert!(sink.known().unwrap_err().ends_with("it is no regular file"));
        assert!(Sink::File("/dev/full".into()).known().unwrap_err().ends_with("it is no regular file"));
        let missing = Sink::File(folder.path().join("missing/history.jsonl"));
        assert!(missing.append(&mut lines(&[&line(1)])).unwrap_err().starts_with("cannot write "));
    }

    #[test]
    fn nothing_can_be_read_back_from_standard_output() {
        assert_eq!(Sink::Stdout.known(), Ok(None));
        assert!(!Session::new(None).watches());
    }
}
