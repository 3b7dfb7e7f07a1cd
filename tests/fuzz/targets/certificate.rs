//! A certificate of the client's accuracy, and the bounds that it gives.
#![no_main]

use std::sync::LazyLock;

use domain::certificate::Certificate;
use domain::request::RequestRecord;
use domain::summary::Measurement;
use libfuzzer_sys::fuzz_target;
use stats::{Observation, summarise};

/// A run of the simulated server.
static MEASURED: LazyLock<Measurement> = LazyLock::new(|| {
    let records: Vec<RequestRecord> = include_str!("../corpus/records/sim.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is a record"))
        .collect();
    summarise(&Observation {
        records: &records,
        asked: u32::try_from(records.len()).expect("they are few"),
        duration_ns: stats::certificate::length_ns(&records),
        cpu_ns: None,
        threads: None,
    })
});

fuzz_target!(|text: &str| {
    let Ok(certificate) = serde_json::from_str::<Certificate>(text) else { return };
    let stored = serde_json::to_string(&certificate).expect("a certificate can be stored");
    assert_eq!(serde_json::from_str(&stored).ok().as_ref(), Some(&certificate));
    if let Some(bound) = stats::certificate::bound(&certificate, "file", &MEASURED) {
        let covers = |cell: &domain::certificate::Cell| {
            (cell.streams, cell.events_per_s) == (bound.streams, bound.events_per_s)
        };
        assert!(certificate.cells.iter().any(covers), "a bound that no cell gives");
    }
});
