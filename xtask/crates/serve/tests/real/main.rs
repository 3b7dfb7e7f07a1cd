//! The crate against real processes and real sockets.

mod attached;
mod common;
mod llama_cpp;
mod processes;
