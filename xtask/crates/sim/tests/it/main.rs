//! The simulated server seen from outside, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what fails by failing")]

mod client;
mod faults;
mod process;
mod serving;
mod wire;

use sim::Config;

/// A server whose steps take well under a millisecond.
fn fast() -> Config {
    Config { speed: 20.0, ..Config::steady() }
}
