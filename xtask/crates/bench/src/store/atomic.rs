//! Writing a file so that it is either complete or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Writes a new file: temporary name, fsync, then its own name. Fails if the name is taken.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    // Unlike a rename, a hard link refuses to take the place of an existing file.
    let publish = |temporary: &Path| {
        let linked = fs::hard_link(temporary, path);
        fs::remove_file(temporary)?;
        linked
    };
    write(path, bytes, publish).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Gives a file that is complete a second name in the results tree. Fails if the name is taken.
pub fn link_new(file: &Path, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::hard_link(file, path))
        .and_then(|()| File::open(folder)?.sync_all())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes a file that can be remade at any time from what is never overwritten, in place of an
/// older one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let publish = |temporary: &Path| fs::rename(temporary, path);
    write(path, bytes, publish).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes a new file of strict, indented JSON.
pub fn write_new_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes =
        serde_json::to_vec_pretty(value).context("cannot express the record as JSON")?;
    bytes.push(b'\n');
    write_new(path, &bytes)
}

fn write(
    path: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let fill = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let published = fill().and_then(|()| publish(&temporary));
    if published.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    published?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/result.json");
        write_new(&path, b"first").unwrap();
        assert!(write_new(&path, b"second").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "no temporary file stays behind");
    }
}
