//! A server's output: written to a file by the server itself, so that it outlives us, and read
//! back here from its end.
//!
//! The server may write without limit; what is read of it never is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// At most this much of a log's end is read. A start that fails says why within far less; a
/// server that ran for hours has access lines by the gigabyte.
const END_BYTES: u64 = 1 << 20;

/// A line is shown up to here. Servers print their whole configuration in one line.
pub(crate) const LINE_BYTES: usize = 400;

/// The log of one start, within a file that earlier starts may have written to.
#[derive(Clone, Debug)]
pub(crate) struct ServerLog {
    path: PathBuf,
    /// Where this start begins.
    from: u64,
}

impl ServerLog {
    /// Opens the file for a server to write to, after what it already holds.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, File)> {
        let file = File::options().create(true).append(true).open(path)?;
        let from = file.metadata()?.len();
        Ok((Self { path: path.to_owned(), from }, file))
    }

    /// The end of what this start wrote. A log that cannot be read is an empty one: it explains
    /// a failure and is never the failure itself.
    pub(crate) fn end(&self) -> String {
        self.read_end().unwrap_or_default()
    }

    fn read_end(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        let start = self.from.max(length.saturating_sub(END_BYTES));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(END_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last `lines` lines, each cut to size.
    pub(crate) fn tail(&self, lines: usize) -> Vec<String> {
        let end = self.end();
        let mut tail: Vec<String> = end.lines().rev().take(lines).map(cut).collect();
        tail.reverse();
        tail
    }
}

/// `line` up to [`LINE_BYTES`].
pub(crate) fn cut(line: &str) -> String {
    if line.len() <= LINE_BYTES {
        return line.to_owned();
    }
    let fits = |(at, _): &(usize, char)| *at <= LINE_BYTES;
    let end = line.char_indices().take_while(fits).last().map_or(0, |(at, _)| at);
    format!("{}…", &line[..end])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_this_start_is_read_and_only_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        std::fs::write(&path, "an earlier start\n").unwrap();
        let (log, mut file) = ServerLog::open(&path).unwrap();
        assert_eq!(log.tail(10), Vec::<String>::new());
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(log.tail(2), ["two", "three"]);
        assert_eq!(log.tail(10), ["one", "two", "three"]);
    }

    #[test]
    fn a_huge_log_is_read_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (log, mut file) = ServerLog::open(&folder.path().join("server.log")).unwrap();
        for number in 0..200_000 {
            writeln!(file, "line {number}").unwrap();
        }
        assert!(u64::try_from(log.end().len()).unwrap() <= END_BYTES);
        assert_eq!(log.tail(1), ["line 199999"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = "é".repeat(LINE_BYTES);
        let cut = cut(&line);
        assert!(cut.len() <= LINE_BYTES + '…'.len_utf8());
        assert!(cut.ends_with("é…"));
    }

    #[test]
    fn a_log_that_is_gone_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let (log, _) = ServerLog::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(log.tail(3), Vec::<String>::new());
    }
}
