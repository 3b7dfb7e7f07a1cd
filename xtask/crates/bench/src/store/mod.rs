//! Everything that is written to disk: a result is never overwritten, a file never half written.

mod artifacts;
mod atomic;
mod journal;
mod layout;
mod objects;

pub use artifacts::{Artifact, artifacts};
pub use atomic::{link_new, replace, write_new, write_new_json};
pub use journal::{Journal, JournalError, entries_of, read_entries};
pub use layout::{Results, SessionFolder, file_name};
pub use objects::{Access, Objects, ReadOnly, StoreError, StoreUrl};
