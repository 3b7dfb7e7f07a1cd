//! Everything that is written to disk: a result is never overwritten, a file never half written.

mod atomic;
mod journal;
mod layout;

pub use atomic::{link_new, replace, write_new, write_new_json};
pub use journal::{Journal, read_entries};
pub use layout::{Results, SessionFolder};
