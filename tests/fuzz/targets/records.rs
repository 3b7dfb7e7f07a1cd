//! Records of requests, one a line, and everything that is computed from them.
#![no_main]

use domain::request::RequestRecord;
use libfuzzer_sys::fuzz_target;
use stats::{Observation, Slo, goodput, summarise};

fuzz_target!(|text: &str| {
    let read = |line| serde_json::from_str::<RequestRecord>(line);
    let Ok(records) = text.lines().map(read).collect::<Result<Vec<_>, _>>() else { return };
    for record in &records {
        let stored = serde_json::to_string(record).expect("a record can be stored");
        assert_eq!(serde_json::from_str(&stored).ok().as_ref(), Some(record));
    }
    let run = Observation {
        records: &records,
        asked: u32::try_from(records.len()).expect("a line has more than one byte"),
        duration_ns: stats::certificate::length_ns(&records),
        cpu_ns: Some(1),
        threads: Some(1),
    };
    let measured = summarise(&run);
    for (metric, value) in &measured.metrics {
        assert!(value.is_finite(), "{metric} is {value}");
        assert!(0.0 <= *value, "{metric} is {value}");
    }
    let counts = &measured.requests;
    assert_eq!(counts.completed + counts.failed_total(), counts.asked, "a request is lost");
    let slos: Vec<Slo> =
        ["ttft:100", "tpot:10", "e2el:1000"].map(|slo| slo.parse().unwrap()).into();
    if let Some(good) = goodput(&records, run.duration_ns, &slos) {
        assert!((0.0..=1.0).contains(&good.attainment), "{good:?}");
    }
});
