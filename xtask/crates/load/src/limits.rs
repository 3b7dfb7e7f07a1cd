//! What the operating system allows this process and what it has used.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;

use crate::error::DriveError;

/// Files that the process needs beside its connections: results, logs, the server's pipes, GPU
/// devices.
const OTHER_FILES: u64 = 256;

/// Makes room for so many connections at once.
pub(crate) fn allow_connections(connections: usize) -> Result<(), DriveError> {
    let needed = connections as u64 + OTHER_FILES;
    // Where the limit cannot be read, a request that finds no place says so itself.
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed <= soft {
        return Ok(());
    }
    if hard < needed || setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_err() {
        return Err(DriveError::TooFewFiles { needed, allowed: hard });
    }
    Ok(())
}

/// The ports that the kernel gives to connections that ask for none.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Those of them that it keeps for others.
const RESERVED_PORTS: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Most local addresses that connections come from: those of `127.0.0.0/24`.
const MOST_LOCAL: usize = 254;

/// The local addresses that so many connections to one address come from.
///
/// A port leads to one address and port only once. On the loopback device every address of its
/// network is ours, and each brings all ports anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The one that the kernel chooses.
    Usual,
    /// So many of the loopback network, in turns.
    Loopback(u8),
}

impl Origin {
    /// Where the `nth` connection comes from, if the kernel is not to choose.
    pub(crate) fn of(self, nth: u32) -> Option<SocketAddr> {
        let Self::Loopback(addresses) = self else { return None };
        let turn = u8::try_from(nth % u32::from(addresses)).unwrap_or(0);
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, turn + 1), 0)))
    }
}

/// Whether there are local ports for so many connections at once to one address.
///
/// # Errors
///
/// [`DriveError::TooFewPorts`].
pub(crate) fn origin(to: Option<&SocketAddr>, connections: usize) -> Result<Origin, DriveError> {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    // Where the kernel does not tell, a connection that finds no port says so itself.
    let Some(ports) = ports(&read(PORT_RANGE), &read(RESERVED_PORTS)) else {
        return Ok(Origin::Usual);
    };
    origin_of(to.map(SocketAddr::ip), connections, ports)
}

fn origin_of(to: Option<IpAddr>, needed: usize, ports: usize) -> Result<Origin, DriveError> {
    // Some are held by others, and by connections that were closed within the last minute.
    let free = ports - ports / 8;
    if needed <= free {
        return Ok(Origin::Usual);
    }
    let loopback = matches!(to, Some(IpAddr::V4(to)) if to.is_loopback());
    let addresses = needed.div_ceil(free.max(1));
    match u8::try_from(addresses) {
        Ok(addresses) if loopback && usize::from(addresses) <= MOST_LOCAL => {
            Ok(Origin::Loopback(addresses))
        }
        _one_address if needed <= ports => Ok(Origin::Usual),
        _too_many => Err(DriveError::TooFewPorts { needed, available: ports }),
    }
}

/// How many ports lie in a range and are not reserved.
fn ports(range: &str, reserved: &str) -> Option<usize> {
    let mut ends = range.split_whitespace().map(str::parse::<usize>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
    let kept = reserved.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse::<usize>().ok()?, to.parse::<usize>().ok()?);
        Some((to.min(last) + 1).saturating_sub(from.max(first)))
    });
    Some((last + 1).saturating_sub(first).saturating_sub(kept.sum()))
}

/// CPU time that all threads of this process have used so far, in ns.
pub(crate) fn cpu_ns() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    u64::try_from(micros).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use domain::hint::Hinted as _;

    use super::*;

    #[test]
    fn more_connections_than_the_hard_limit_are_refused_with_a_way_out() {
        let error = allow_connections(usize::MAX / 2).unwrap_err();
        assert!(matches!(error, DriveError::TooFewFiles { .. }), "{error}");
        assert!(error.hint().is_some());
        assert!(allow_connections(8).is_ok());
    }

    #[test]
    fn ports_are_those_of_the_range_without_the_reserved() {
        assert_eq!(ports("32768\t60999\n", "\n"), Some(28_232));
        assert_eq!(ports("1000 1999", "1100-1199,1500,5000-6000"), Some(899));
        assert_eq!(ports("", ""), None);
    }

    #[test]
    fn more_connections_than_ports_come_from_several_loopback_addresses_or_are_refused() {
        let (near, far) = ("127.0.0.1".parse().ok(), "192.0.2.1".parse().ok());
        assert_eq!(origin_of(far, 100, 100).unwrap(), Origin::Usual);
        assert_eq!(origin_of(near, 88, 100).unwrap(), Origin::Usual);
        assert_eq!(origin_of(near, 100, 100).unwrap(), Origin::Loopback(2));
        assert_eq!(origin_of(near, 201, 100).unwrap(), Origin::Loopback(3));
        let from: Vec<_> = (0..4).filter_map(|nth| Origin::Loopback(3).of(nth)).collect();
        assert_eq!(from[3], from[0]);
        assert_eq!(from[2].to_string(), "127.0.0.3:0");
        for (to, needed) in [(far, 101), (near, 100 * 255), (None, 101)] {
            let error = origin_of(to, needed, 100).unwrap_err();
            assert!(matches!(error, DriveError::TooFewPorts { .. }), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn cpu_time_is_known_and_does_not_go_back() {
        let before = cpu_ns().unwrap();
        assert!(before <= cpu_ns().unwrap());
    }
}
