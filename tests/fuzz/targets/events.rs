//! The events of an answer, one a line, read as each wire's.
#![no_main]

use domain::framework::Wire;
use fuzz::{compact, spaced};
use libfuzzer_sys::fuzz_target;
use load::fuzz::{Event, Way, events};
use load::workload::Json;

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for wire in Wire::ALL {
        let read = |way| events(way, *wire, lines.iter().copied());
        agree(*wire, &lines, &read(Way::Quick), &read(Way::Parsed));
    }
    let values: Vec<Json> =
        lines.iter().map_while(|line| serde_json::from_slice(line).ok()).collect();
    let (compact, spaced): (Vec<_>, Vec<_>) =
        values.iter().map(|value| (compact(value), spaced(value))).unzip();
    for wire in Wire::ALL {
        let read =
            |way, written: &[String]| events(way, *wire, written.iter().map(String::as_bytes));
        let parsed = read(Way::Parsed, &compact);
        // How a server writes its JSON changes nothing.
        assert_eq!(read(Way::Parsed, &spaced), parsed, "{wire}");
        for written in [&compact, &spaced] {
            let lines: Vec<&[u8]> = written.iter().map(String::as_bytes).collect();
            agree(*wire, &lines, &read(Way::Quick, written), &parsed);
        }
        for (value, event) in values.iter().zip(&parsed) {
            assert!(!is_error(value) || !matches!(event, Event::Said(_)), "{wire}: {value:?}");
        }
    }
});

/// The quick way says what parsing says.
fn agree(wire: Wire, events: &[&[u8]], quick: &[Event], parsed: &[Event]) {
    for ((event, quick), parsed) in events.iter().zip(quick).zip(parsed) {
        let event = String::from_utf8_lossy(event);
        if wire == Wire::SglangGenerate {
            // There only the end of an event is looked at. It need not be JSON, and what is said
            // twice may be taken from the wrong place: no server does either.
            let names = ["meta_info", "completion_tokens", "finish_reason"];
            let once = |name: &&str| event.matches(*name).count() <= 1;
            if *parsed == Event::Malformed || !names.iter().all(once) {
                return;
            }
        }
        assert_eq!(quick, parsed, "{wire}: {event}");
    }
}

/// Whether an event is an object that names an error.
fn is_error(event: &Json) -> bool {
    let Json::Object(fields) = event else { return false };
    fields.iter().any(|(key, value)| key == "error" && *value != Json::Null)
}
