//! What happens next, and what is proved.
//!
//! One pure transition function serves the live session and its recovery; evidence tokens make
//! the compiler refuse a launch without a healthy GPU and a load without a verified server. This
//! crate knows no clock, no file and no process: it is handed what was seen and says what it
//! means.

pub mod evidence;
pub mod experiment;
pub mod health;
pub mod phase;
pub mod run;
pub mod server;
pub mod state;

pub use evidence::{Evidence, Fact, GpuHealthy, Measured, ServerVerified};
pub use phase::Phase;
pub use state::{Directive, IllegalEvent, State};
