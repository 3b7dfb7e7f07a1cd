//! The simulated inference server.
//!
//! A real HTTP server whose engine behaves like one on a GPU: it batches, it prefills in chunks,
//! its KV cache fills up and its prefix cache hits. It serves three purposes: to try servegate
//! out without a GPU, to test servegate against every fault that a server can have, and to be
//! the truth that a client's measurements are judged against (see [`truth`], and [`fixed`] for the
//! server that does nothing else).
//!
//! Times come only from the engine's cost model and the machine; nothing in here may make an
//! answer seem earlier or faster than it was.

mod app;
mod config;
mod control;
mod driver;
pub mod engine;
pub mod fault;
pub mod fixed;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod generate;
mod generation;
mod gpu;
mod http;
mod process;
mod server;
mod stream;
pub mod tokens;
pub mod truth;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use crate::config::{Config, SimArgs};
pub use crate::fault::{Fault, FaultSpec};
pub use crate::process::main_loop;
pub use crate::truth::{TruthLog, TruthReport};

/// Serves on a listener until `stop` turns true or its sender is dropped.
///
/// Answers in flight are cut off then. Fails if the fault `crash` strikes.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    server::run(listener, Arc::new(app::App::new(config)), stop).await
}

/// Starts a server on a free port of 127.0.0.1, as a task of the current runtime.
pub async fn start(config: Config) -> io::Result<Running> {
    let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let addr = listener.local_addr()?;
    let app = Arc::new(app::App::new(config));
    let truth = app.truth.clone();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(server::run(listener, app, stopped));
    Ok(Running { addr, truth, stop, task })
}

/// A server that was started with [`start`]. Dropping it stops the server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    truth: TruthLog,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it really received and sent.
    pub const fn truth(&self) -> &TruthLog {
        &self.truth
    }

    /// Whether it still serves; after the fault `crash` it does not.
    pub fn is_serving(&self) -> bool {
        !self.task.is_finished()
    }

    /// Stops it and says how it ended.
    pub async fn stop(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.task.await.map_err(io::Error::other)?
    }
}
