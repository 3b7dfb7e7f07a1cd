//! What `/proc` says of a process.

use std::fs::File;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sees_oneself_and_nobody_where_nobody_is() {
        let own = command(std::process::id()).unwrap();
        assert!(own.contains("probe"), "{own}");
        assert_eq!(command(u32::MAX), None);
    }
}
