//! Errors of GPUs in the kernel log.
//!
//! The driver tells a program only of errors that come after it asked; what was before stands in
//! the kernel log alone. Reading it needs rights that a runner often lacks: then it is unreadable,
//! which is not the same as empty.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use domain::facts::PastXid;
use nix::fcntl::OFlag;
use nix::libc;
use nix::time::{ClockId, clock_gettime};

/// The kernel gives out one record a read; its longest is shorter than this.
const RECORD_BYTES: usize = 16 << 10;

/// The kernel's buffer holds far fewer records; more would mean that it is written faster than read.
const RECORDS: usize = 200_000;

/// Xid of a card that has fallen off the bus, which the driver also says without a number.
const FALLEN_OFF_THE_BUS: u32 = 79;

/// The driver's lines of the kernel log.
#[derive(Debug)]
pub(crate) struct KernelLog {
    lines: Vec<String>,
    /// When it was read, in µs since the host was started, which is the clock of the log.
    read_us: Option<u64>,
}

impl KernelLog {
    /// Reads the kernel's buffer: what was logged since the host was started, as far as it has not
    /// been overwritten.
    pub(crate) fn read() -> Result<Self, String> {
        Self::read_from(Path::new("/dev/kmsg")).map_err(|error| format!("/dev/kmsg: {error}"))
    }

    fn read_from(path: &Path) -> io::Result<Self> {
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let mut log = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
        let mut record = vec![0; RECORD_BYTES];
        let mut lines = Vec::new();
        for _ in 0..RECORDS {
            match log.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    lines.extend(
                        text.lines().filter(|line| line.contains("NVRM")).map(str::to_owned),
                    );
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The record was overwritten while the reader stood on it; the next is there.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { lines, read_us: since_start_us() })
    }

    /// The Xids of the card at this PCI address, in the order of the log.
    pub(crate) fn xids_of(&self, bus_id: &str) -> Result<Vec<PastXid>, String> {
        let card =
            Address::parse(bus_id).ok_or_else(|| format!("strange PCI address `{bus_id}`"))?;
        let xids = self.lines.iter().filter_map(|line| {
            let (address, xid) = xid(line)?;
            let age_us = self.read_us.zip(logged_us(line)).map(|(now, at)| now.saturating_sub(at));
            let age_s = age_us.map(|us| us / 1_000_000);
            (address == card).then_some(PastXid { xid, age_s })
        });
        Ok(xids.collect())
    }
}

/// The time of a record, which begins with `priority,number,µs,flags;`.
fn logged_us(line: &str) -> Option<u64> {
    line.split_once(';')?.0.split(',').nth(2)?.parse().ok()
}

fn since_start_us() -> Option<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    u64::try_from(Duration::from(time).as_micros()).ok()
}

/// A PCI address without its function, which is 0 for every GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    domain: u32,
    bus: u32,
    device: u32,
}

impl Address {
    /// Reads `00000000:00:06.0` as well as `PCI:0000:00:06`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("PCI:").unwrap_or(text);
        let mut parts = text.split([':', '.']).map(|part| u32::from_str_radix(part, 16).ok());
        Some(Self { domain: parts.next()??, bus: parts.next()??, device: parts.next()?? })
    }
}

/// The card and the number of a line that reports an Xid.
fn xid(line: &str) -> Option<(Address, u32)> {
    if let Some((_, rest)) = line.split_once("NVRM: Xid (") {
        let (address, rest) = rest.split_once(')')?;
        let (_, rest) = rest.split_once(": ")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        return Some((Address::parse(address)?, rest[..digits].parse().ok()?));
    }
    let (_, rest) = line.split_once("NVRM: GPU ")?;
    let (address, rest) = rest.split_once(": ")?;
    rest.contains("has fallen off the bus").then_some(())?;
    Some((Address::parse(address)?, FALLEN_OFF_THE_BUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
6,1301,5160131,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.159.04\n\
4,1388,91612345,-;NVRM: Xid (PCI:0000:00:06): 31, pid=4242, name=python3, Ch 00000008\n\
4,1389,91612399,-;NVRM: Xid (PCI:0000:18:00): 63, Row Remapper: New row marked\n\
4,1390,91612400,-;NVRM: Xid (PCI:0001:00:06): 48, pid='<unknown>'\n\
4,1391,91612499,-;NVRM: GPU 0000:00:06.0: GPU has fallen off the bus.\n\
6,1392,91612500,-;usb 1-1: Xid (PCI:0000:00:06): 13, of somebody else\n\
4,1393,91612501,-;NVRM: Xid (PCI:zzzz): nothing\n";

    fn log(text: &str) -> KernelLog {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kmsg");
        std::fs::write(&file, text).unwrap();
        KernelLog { read_us: Some(95_612_450), ..KernelLog::read_from(&file).unwrap() }
    }

    fn past(xid: u32, age_s: u64) -> PastXid {
        PastXid { xid, age_s: Some(age_s) }
    }

    #[test]
    fn each_card_gets_its_own_xids() {
        let log = log(LOG);
        assert_eq!(log.xids_of("00000000:00:06.0"), Ok(vec![past(31, 4), past(79, 3)]));
        assert_eq!(log.xids_of("00000000:18:00.0"), Ok(vec![past(63, 4)]));
        assert_eq!(log.xids_of("00000001:00:06.0"), Ok(vec![past(48, 4)]));
        assert_eq!(log.xids_of("00000000:5E:00.0"), Ok(vec![]));
    }

    #[test]
    fn an_empty_log_is_not_an_unreadable_one() {
        assert_eq!(log("").xids_of("00000000:00:06.0"), Ok(vec![]));
        assert!(log("").xids_of("GPU-0").is_err());
        assert!(KernelLog::read_from(Path::new("/nonexistent/kmsg")).is_err());
    }
}
