//! What `/proc` says of a process.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Command lines can have megabytes; this much tells whose process it is.
const COMMAND_BYTES: u64 = 4096;

/// The command line of a process that can be seen from here, its arguments with spaces between.
/// A kernel thread or a process that has ended, but was not waited for, has none.
pub(crate) fn command(pid: u32) -> Option<String> {
    let path = Path::new("/proc").join(pid.to_string()).join("cmdline");
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(COMMAND_BYTES).read_to_end(&mut bytes).ok()?;
    let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let line = words.collect::<Vec<_>>().join(" ");
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Processes that have this file open, of those whose open files may be looked at.
pub(crate) fn holders(file: &Path) -> Vec<u32> {
    let is_open = |pid: &u32| {
        let folder = Path::new("/proc").join(pid.to_string()).join("fd");
        let Ok(open) = fs::read_dir(folder) else { return false };
        open.filter_map(Result::ok)
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
    };
    all().filter(is_open).collect()
}

/// Processes whose program has a name that begins so, as the kernel cuts it to 15 letters.
pub(crate) fn named(beginning: &str) -> Vec<u32> {
    let is_named = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with(beginning))
    };
    all().filter(is_named).collect()
}

/// Every process that can be seen from here.
fn all() -> impl Iterator<Item = u32> {
    let listing = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    listing.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_open_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holders(file.path()), [std::process::id()]);
        assert_eq!(holders(Path::new("/nonexistent/nvidia0")), [] as [u32; 0]);
        assert!(named("no-such-program").is_empty());
    }

    #[test]
    fn one_sees_oneself_and_nobody_where_nobody_is() {
        let own = command(std::process::id()).unwrap();
        assert!(own.contains("probe"), "{own}");
        assert_eq!(command(u32::MAX), None);
    }
}
