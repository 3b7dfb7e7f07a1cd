//! What is asked for, as the journal stores it: from JSON to a plan, and the state that it begins
//! with. Without `skills` in it, the project's own are meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sequencer::State;
use skill::Request;

fuzz_target!(|text: &str| {
    let Some(request) = fuzz::request(text) else { return };
    let stored = serde_json::to_string(&request).expect("a request can be stored");
    let read: Request = serde_json::from_str(&stored).expect("a stored request can be read");
    assert_eq!(read, request, "a request changes by being stored");
    match skill::resolve(&request) {
        Ok(plan) => {
            let again = skill::resolve(&read).expect("it could be planned");
            assert_eq!(plan.digest(), again.digest(), "the same request, another plan");
            let state = State::new(&plan);
            assert!(!state.finished(), "a session that is over before it begins");
        }
        Err(faults) => assert!(!faults.to_string().trim().is_empty()),
    }
});
