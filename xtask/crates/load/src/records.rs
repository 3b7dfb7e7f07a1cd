//! Files of request records: gzip of one JSON object a line.
//!
//! A file appears whole or not at all, and is never overwritten.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use domain::request::RequestRecord;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// A file of records could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is such a file already.
    #[error("`{path}` exists and is not overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The path names no file.
    #[error("`{path}` is not the name of a file")]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// Writing failed.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not a record.
    #[error("line {line} of `{path}` is not a request record")]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes records to a new file, and returns when they are on the disk.
///
/// # Errors
///
/// [`RecordsError::Exists`] when there is such a file, [`RecordsError::Write`] when it cannot be
/// written.
pub fn write(path: &Path, records: &[RequestRecord]) -> Result<(), RecordsError> {
    let name = path.file_name().ok_or_else(|| RecordsError::NoName { path: path.to_owned() })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // Unlike a rename, a link never replaces a file that appeared meanwhile.
    let written = write_all(&temporary, records).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    let finished = written.and(removed).and_then(|()| sync_folder(path));
    finished.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RecordsError::Exists { path: path.to_owned() },
        _ => RecordsError::Write { path: path.to_owned(), source },
    })
}

fn write_all(path: &Path, records: &[RequestRecord]) -> io::Result<()> {
    let mut gzip = GzEncoder::new(BufWriter::new(File::create(path)?), Compression::default());
    for record in records {
        serde_json::to_writer(&mut gzip, record)?;
        gzip.write_all(b"\n")?;
    }
    let file = gzip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Makes the file's name last, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads the records of a file.
///
/// # Errors
///
/// [`RecordsError::Read`] when the file cannot be read or is cut short,
/// [`RecordsError::NotARecord`] for the first line that is not a record.
pub fn read(path: &Path) -> Result<Vec<RequestRecord>, RecordsError> {
    let unreadable = |source| RecordsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    let records = lines.zip(1..).map(|(line, number)| {
        serde_json::from_str(&line.map_err(unreadable)?).map_err(|source| {
            RecordsError::NotARecord { path: path.to_owned(), line: number, source }
        })
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use domain::failure::{FailureKind, RequestFailure};
    use domain::request::Chunk;

    use super::*;

    fn chunk(at_ns: u64, late_ns: Option<u32>, tokens: Option<u32>) -> Chunk {
        Chunk { at_ns, late_ns, tokens }
    }

    fn record(index: u32) -> RequestRecord {
        RequestRecord {
            index,
            due_ns: Some(5),
            sent_ns: Some(7),
            write_ns: Some(1),
            connect_ns: None,
            chunks: vec![chunk(9, Some(3), Some(2)), chunk(11, None, None)],
            done_ns: Some(12),
            prompt_tokens: 8,
            server_prompt_tokens: None,
            cached_tokens: Some(0),
            asked_tokens: 4,
            server_output_tokens: Some(4),
            reported_output_tokens: None,
            reached_length: false,
            server_times: None,
            status: Some(200),
            pings: 0,
            failure: Some(RequestFailure::new(FailureKind::NoTokens, "é\n")),
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl.gz");
        let records = [record(0), record(1)];
        write(&path, &records).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl.gz");
        write(&path, &[record(0)]).unwrap();
        let error = write(&path, &[]).unwrap_err();
        assert!(matches!(error, RecordsError::Exists { .. }), "{error}");
        assert_eq!(read(&path).unwrap(), [record(0)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_file_cut_anywhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl.gz");
        write(&path, &[record(0), record(1)]).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).is_err(), "cut at {cut} of {}", whole.len());
        }
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl.gz");
        let mut gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        serde_json::to_writer(&mut gzip, &record(0)).unwrap();
        gzip.write_all(b"\n{}\n").unwrap();
        gzip.finish().unwrap();
        let error = read(&path).unwrap_err().to_string().replace(&path.display().to_string(), "F");
        insta::assert_snapshot!(error, @"line 2 of `F` is not a request record");
    }
}
