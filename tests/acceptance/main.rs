//! Acceptance tests: the real binary, real processes, real sockets.
//!
//! A test whose part is missing (see `cargo xtask parts`) says so and is listed as skipped; it
//! never passes silently.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod ab;
mod actions;
mod basics;
mod certified;
mod crash;
mod drop_in;
mod engine;
mod fair;
mod faults;
mod fleet;
mod gate;
mod health;
mod junit;
mod lease;
mod real;
mod recorder;
mod runner;
mod scripts;
mod signals;
mod skills;
mod store;
mod workflows;
mod world;
