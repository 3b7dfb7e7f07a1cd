//! JSON that is given on the command line and sent on as Python would write it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load::workload::Json;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(json) = serde_json::from_str::<Json>(text) else {
        assert!(serde_json::from_str::<Value>(text).is_err(), "JSON is refused");
        return;
    };
    let given: Value = serde_json::from_str(text).expect("it is JSON");
    let written = json.dump();
    assert!(written.is_ascii());
    assert_eq!(serde_json::from_slice::<Value>(&written).ok(), Some(given));
    let read: Json = serde_json::from_slice(&written).expect("what was written is JSON");
    assert_eq!(read.dump(), written);
});
