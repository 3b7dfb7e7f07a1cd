//! TCP ports: a free one, who holds one, and whether one is free again.
//!
//! A port is never taken from anybody: a held port is reported with its holder.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tokio::net::TcpSocket;

use crate::procfs;

/// A free port of 127.0.0.1, chosen by the kernel.
///
/// Another process may take it before the server does; the server's log then says so.
///
/// # Errors
///
/// When the kernel has none to give.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What to do about a port that somebody else has.
pub(crate) const ADVICE: &str = "start again without `--port`, so that a free one is chosen";

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; absent for a process that cannot be seen from here.
    pub pid: Option<u32>,
    /// Its command line, if it can be seen.
    pub command: Option<String>,
}

impl Holder {
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid: Some(pid), command: procfs::command_line(pid) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "process {pid} (`{command}`)"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Who holds `port`; `None` if a server can bind it.
///
/// # Errors
///
/// When it cannot be bound for another reason than a holder, for example a port below 1024.
pub fn port_holder(port: u16) -> io::Result<Option<Holder>> {
    match bind_strictly(port) {
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => return Err(error),
    }
    let entries = tcp_entries(port);
    let held: Vec<u64> = entries.iter().map(|entry| entry.inode).filter(|at| *at != 0).collect();
    // Connections of a server that has ended linger for a minute and belong to nobody. Every
    // framework sets SO_REUSEADDR and so may bind over them.
    if held.is_empty() && !entries.is_empty() {
        return Ok(None);
    }
    let unseen = Holder { pid: None, command: None };
    Ok(Some(procfs::socket_holder(&held).map_or(unseen, Holder::of)))
}

/// The process that listens on `port`, if it can be seen.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let listening: Vec<u64> = tcp_entries(port)
        .iter()
        .filter(|entry| entry.state == LISTEN)
        .map(|entry| entry.inode)
        .collect();
    procfs::socket_holder(&listening)
}

/// Binds every address of the host without SO_REUSEADDR, which the standard library's listener
/// would set: with it, a port that is bound but does not listen yet would look free.
fn bind_strictly(port: u16) -> io::Result<()> {
    TcpSocket::new_v4()?.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN` of the kernel's `tcp_states.h`).
const LISTEN: u8 = 0x0A;

/// One socket of `/proc/net/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TcpEntry {
    port: u16,
    state: u8,
    /// Zero once no process has it open.
    inode: u64,
}

fn tcp_entries(port: u16) -> Vec<TcpEntry> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    lines.filter_map(parse_entry).filter(|entry| entry.port == port).collect()
}

fn parse_entry(line: &str) -> Option<TcpEntry> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    Some(TcpEntry {
        port: u16::from_str_radix(port, 16).ok()?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_port_is_free() {
        assert_eq!(port_holder(free_port().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_held_port_names_its_holder() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let holder = port_holder(port).unwrap().unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.to_string().starts_with(&format!("process {} (`", std::process::id())));
        assert_eq!(listener(port), Some(std::process::id()));
    }

    #[test]
    fn a_port_that_is_bound_but_does_not_listen_is_held() {
        let bound = TcpSocket::new_v4().unwrap();
        bound.set_reuseaddr(true).unwrap();
        bound.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = bound.local_addr().unwrap().port();
        assert!(port_holder(port).unwrap().is_some());
    }

    #[test]
    fn a_line_of_the_kernel_table_is_read() {
        let line = "   0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 123456 1 0000000000000000 100 0 0 10 0";
        let entry = parse_entry(line).unwrap();
        assert_eq!(entry, TcpEntry { port: 30000, state: LISTEN, inode: 123_456 });
        assert_eq!(parse_entry("  sl  local_address rem_address   st tx_queue"), None);
    }
}
