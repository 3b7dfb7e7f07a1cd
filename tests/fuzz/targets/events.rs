//! The events of an answer, one a line, read as each wire's.
#![no_main]

use domain::framework::Wire;
use fuzz::{compact, spaced};
use libfuzzer_sys::fuzz_target;
use load::fuzz::{Event, events};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split(|byte| *byte == b'\n');
    for wire in Wire::ALL {
        let read = events(*wire, lines());
        assert_eq!(read.len(), lines().count());
    }
    // How a server writes its JSON changes nothing: neither blanks nor the order of the keys.
    let values: Vec<Value> = lines().map_while(|line| serde_json::from_slice(line).ok()).collect();
    let (compact, spaced): (Vec<_>, Vec<_>) =
        values.iter().map(|value| (compact(value), spaced(value))).unzip();
    for wire in Wire::ALL {
        let read = events(*wire, compact.iter().map(Vec::as_slice));
        assert_eq!(events(*wire, spaced.iter().map(Vec::as_slice)), read, "{wire}");
        for (value, event) in values.iter().zip(read) {
            assert!(!is_error(value) || !matches!(event, Event::Said(_)), "{wire}: {value}");
        }
    }
});

/// Whether an event is an object that names an error.
fn is_error(event: &Value) -> bool {
    event.get("error").is_some_and(|error| !error.is_null())
}
