//! What people write in skills and flags: quantities, times, versions, faults, names. What is
//! accepted is written in a form that means the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use domain::framework::{Backend, EngineChoice, Framework, Wire};
use domain::metric::Metric;
use domain::profile::{Compat, RequestRate};
use domain::timestamp::Timestamp;
use domain::units::{Celsius, Memory, Percent, Span};
use libfuzzer_sys::fuzz_target;
use load::sglang::Version;
use sim::{Fault, FaultSpec};
use skill::health::CudaVersion;
use stats::Slo;

fuzz_target!(|text: &str| {
    means_the_same::<Span>(text);
    means_the_same::<Memory>(text);
    means_the_same::<Percent>(text);
    means_the_same::<Celsius>(text);
    means_the_same::<RequestRate>(text);
    means_the_same::<Timestamp>(text);
    means_the_same::<Version>(text);
    means_the_same::<Compat>(text);
    means_the_same::<CudaVersion>(text);
    means_the_same::<Slo>(text);
    means_the_same::<Fault>(text);
    means_the_same::<FaultSpec>(text);
    means_the_same::<Framework>(text);
    means_the_same::<Backend>(text);
    means_the_same::<Wire>(text);
    means_the_same::<EngineChoice>(text);
    if let Ok(metric) = text.parse::<Metric>() {
        assert_eq!(metric.key(), text);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        assert!(!at.compact().contains(':'), "{} cannot stand in the name of a file", at.compact());
        let _passed = at.since(Timestamp::from_unix_millis(0));
    }
    if let Ok(pieces) = skill::template::pieces(text) {
        let filled = skill::template::fill(text, |name| Some(format!("{{{name}}}")));
        assert_eq!(filled.as_deref(), Ok(text), "{pieces:?}");
    }
});

fn means_the_same<T>(text: &str)
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let read = written.parse::<T>();
            assert_eq!(read.ok().as_ref(), Some(&value), "`{text}` became `{written}`");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
