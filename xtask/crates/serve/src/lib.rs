//! Framework processes: launch, verify, stop.
//!
//! A server is started held, so that it stands in the journal before it runs ([`prepare`],
//! [`Held::release`]). It is verified by climbing a ladder of rungs ([`verify`]), which reports
//! what it saw and leaves the judgement to `sequencer`. It is ended with everything that descends
//! from it ([`Server::stop`], [`end_leftover`]).
//!
//! This crate never signals a process that is not provably ours, never downloads, and listens on
//! 127.0.0.1 only.

mod about;
mod cache;
mod classify;
mod control;
mod frameworks;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod generation;
mod ladder;
mod launch;
mod log;
mod look;
mod port;
mod process;
mod procfs;
mod rungs;
mod seen;
mod spec;
mod started;
mod stop;
mod terms;
mod threads;

pub use about::{kv_cache_tokens, told};
pub use classify::{LogCause, LogClass};
pub use control::{Endpoint, EndpointError, check_url};
pub use frameworks::{CannotLaunch, command};
pub use ladder::{NotHealthy, flush, healthy, verify};
pub use launch::{Alive, Held, LaunchError, Server, prepare};
pub use port::{Holder, free_port, port_holder};
pub use process::{Command, ScriptFile, TAG, is_tagged};
pub use seen::capability_table;
pub use spec::LaunchSpec;
pub use stop::{Means, PortLeft, StopLimits, StopReport, end_leftover, end_tagged};
pub use terms::{CacheReading, cache_count, cache_reading};
pub use threads::thread_states;
