//! The journal of a session, and the state that it folds to.
//!
//! The reader is the one of the binary, file and all: torn lines are its business.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek as _, Write as _};
use std::sync::LazyLock;

use domain::event::{Entry, Event};
use libfuzzer_sys::fuzz_target;
use sequencer::State;
use skill::Plan;
use tempfile::NamedTempFile;

// The half of the module that writes is not used here.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../xtask/crates/bench/src/store/journal.rs"]
mod journal;

use journal::{Journal, JournalError, read_entries};

/// A session of the simulated server, which has every kind of step.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let request = fuzz::request(include_str!("../corpus/plan/whole.json"));
    let request = request.expect("it is a request");
    skill::resolve(&request).expect("it can be planned")
});

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(file());
}

/// A file in memory, where there is such a place: on a disk each input would wait for it.
fn file() -> NamedTempFile {
    let in_memory = NamedTempFile::new_in("/dev/shm");
    in_memory.or_else(|_| NamedTempFile::new()).expect("a temporary file")
}

fuzz_target!(|bytes: &[u8]| FILE.with_borrow_mut(|file| {
    file.as_file().set_len(0).expect("it can be emptied");
    file.rewind().expect("it can be rewound");
    file.write_all(bytes).expect("it can be written");
    let entries = match read_entries(file.path()) {
        Ok(entries) => entries,
        Err(JournalError::Corrupt { line, .. }) => {
            assert!(
                line <= bytes.iter().filter(|byte| **byte == b'\n').count(),
                "a torn line is no corruption"
            );
            return;
        }
        Err(JournalError::Empty { .. }) => return,
        Err(error @ JournalError::Io { .. }) => panic!("{error}"),
    };
    let (_, reopened) = Journal::reopen(file.path()).expect("it could be read");
    assert_eq!(reopened, entries);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let left = file.as_file().metadata().expect("it is there").len();
    assert_eq!(left, whole as u64, "a whole line was dropped, or a torn one kept");
    for entry in &entries {
        let line = serde_json::to_string(entry).expect("an entry can be written");
        let read: Entry = serde_json::from_str(&line).expect("a written entry can be read");
        assert_eq!(read, *entry, "an entry changes by being written");
    }
    fold(&entries);
}));

/// Folds the journal as far as it is legal, and resumes there.
fn fold(entries: &[Entry]) {
    let mut state = State::new(&PLAN);
    for entry in entries {
        let Ok(after) = state.after(&entry.event) else { return };
        if let Some(step) = after.running() {
            assert!(step < PLAN.steps().len());
        }
        state = after;
    }
    let _resumed = state.after(&Event::SessionResumed { pid: 1 });
}
