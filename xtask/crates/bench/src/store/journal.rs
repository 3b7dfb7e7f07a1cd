//! The append-only journal: one JSON object a line, on disk before the next effect starts.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use domain::event::Entry;
use nix::sys::signal::{Signal, raise};

/// A journal that cannot be written or believed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error("cannot use the journal `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line other than a torn last one is not an entry.
    #[error("the journal `{}` is corrupt in line {line}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// There is not one whole line.
    #[error("the journal `{}` has no entry: the session ended before it began", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    entries: u64,
    crash_after: Option<u64>,
}

/// Crash tests set this to the number of the entry after which the process kills itself; it is
/// the only way to stop exactly between two lines.
const CRASH_AFTER: &str = "SERVEGATE_CRASH_AFTER_ENTRY";

impl Journal {
    /// Starts a new journal.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        // Not only the file has to be on disk, but its name in the folder as well.
        let named = file.and_then(|file| {
            File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
            Ok(file)
        });
        Self::opened(path, named, 0)
    }

    /// Goes on with a journal: returns what stands in it, and drops a torn last line.
    pub fn reopen(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let (entries, whole_bytes) = parse(path)?;
        let file = OpenOptions::new().append(true).open(path).and_then(|file| {
            file.set_len(whole_bytes)?;
            Ok(file)
        });
        let journal = Self::opened(path, file, entries.len() as u64)?;
        Ok((journal, entries))
    }

    fn opened(path: &Path, file: io::Result<File>, entries: u64) -> Result<Self, JournalError> {
        let path = path.to_path_buf();
        let crash_after = std::env::var(CRASH_AFTER).ok().and_then(|text| text.parse().ok());
        match file {
            Ok(file) => Ok(Self { file, path, entries, crash_after }),
            Err(source) => Err(JournalError::Io { path, source }),
        }
    }

    /// Appends an entry; it is on disk when this returns.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.write(entry).map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        self.entries += 1;
        if self.crash_after == Some(self.entries) {
            let _ = raise(Signal::SIGKILL);
        }
        Ok(())
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let whole = self.file.metadata()?.len();
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.inspect_err(|_| {
            // A full disk takes half a line; the next one must not be glued to it.
            let _ = self.file.set_len(whole);
        })
    }
}

/// Reads a journal without opening it for writing; a torn last line is left out.
pub fn read_entries(path: &Path) -> Result<Vec<Entry>, JournalError> {
    parse(path).map(|(entries, _)| entries)
}

/// The entries of whole lines, and how many bytes those lines take.
fn parse(path: &Path) -> Result<(Vec<Entry>, u64), JournalError> {
    match std::fs::read(path) {
        Ok(text) => parse_text(path, &text),
        Err(source) => Err(JournalError::Io { path: path.to_path_buf(), source }),
    }
}

/// The entries of a journal that was read; a torn last line is left out.
pub fn entries_of(path: &Path, text: &[u8]) -> Result<Vec<Entry>, JournalError> {
    parse_text(path, text).map(|(entries, _)| entries)
}

fn parse_text(path: &Path, text: &[u8]) -> Result<(Vec<Entry>, u64), JournalError> {
    let path = path.to_path_buf();
    // Only a line that ends is whole: a crash tears the last one.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut entries = Vec::new();
    for (number, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(source) => return Err(JournalError::Corrupt { path, line: number + 1, source }),
        }
    }
    if entries.is_empty() {
        return Err(JournalError::Empty { path });
    }
    Ok((entries, whole as u64))
}

#[cfg(test)]
mod tests {
    use domain::event::{Event, StopRequest};
    use domain::timestamp::Timestamp;

    use super::*;

    fn entries() -> Vec<Entry> {
        let at = Timestamp::from_unix_millis(0);
        let events = [
            Event::SessionResumed { pid: 7 },
            Event::StopRequested { by: StopRequest::Asked },
            Event::SessionClosed { exit: 0 },
        ];
        events.into_iter().map(|event| Entry { at, event }).collect()
    }

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("journal.jsonl");
        let mut journal = Journal::create(&path).unwrap();
        entries().iter().for_each(|entry| journal.append(entry).unwrap());
        path
    }

    #[test]
    fn cut_at_any_byte_it_loses_at_most_its_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let text = std::fs::read(&path).unwrap();
        for cut in 0..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let whole = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            match Journal::reopen(&path) {
                Ok((mut journal, read)) => {
                    assert_eq!(read, entries()[..whole]);
                    journal.append(&entries()[0]).unwrap();
                    assert_eq!(read_entries(&path).unwrap().len(), whole + 1);
                }
                Err(error) => assert!(whole == 0, "{error}"),
            }
        }
    }

    #[test]
    fn anything_else_odd_is_corruption() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("session-resumed", "session-rseumed", 1)).unwrap();
        let error = Journal::reopen(&path).unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { line: 1, .. }), "{error}");
    }

    #[test]
    fn a_journal_is_never_started_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        assert!(matches!(Journal::create(&path), Err(JournalError::Io { .. })));
    }
}
