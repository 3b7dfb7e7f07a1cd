//! The truth mode: answers on a fixed schedule, with a record of when they were really sent.
//!
//! There is no engine here and no batching: the first event comes so long after the request was
//! read, then one each gap. One thread serves everything, so that it can be pinned to a core and
//! no hand-over blurs what the log says. It must never send earlier than its schedule, and after a
//! stall it goes on at its pace: a rush is something that no engine does.

mod connection;
mod request;
mod script;
mod server;
mod timing;
pub mod truth;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::app::App;
use crate::config::Config;
pub use crate::config::Schedule;

/// Starts a truth server on a free port of 127.0.0.1, on a thread of its own.
///
/// # Errors
///
/// The system gives no socket, thread or timer.
pub fn start(config: Config, schedule: Schedule) -> io::Result<Running> {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let addr = listener.local_addr()?;
    let stop = Arc::new(stopper()?);
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("truth".to_owned())
        .spawn(move || serve(listener, config, schedule, &stopped))?;
    Ok(Running { addr, stop, thread: Some(thread) })
}

/// Serves until something is written to `stop`.
pub(crate) fn serve(
    listener: TcpListener,
    config: Config,
    schedule: Schedule,
    stop: &EventFd,
) -> io::Result<()> {
    server::Server::new(listener, App::new(config), schedule, stop)?.run()
}

pub(crate) use server::bind;

/// What a running server is told to stop with.
pub(crate) fn stopper() -> io::Result<EventFd> {
    Ok(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)
}

/// A truth server that was started with [`start`]. Dropping it stops the server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Were it not heard, joining would wait for ever.
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // How it ended no longer matters to whoever drops it.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
