//! A calibration: how often the gate is wrong on a machine, and what it finds there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::facts::Environment;
use domain::gate::Rule;
use domain::metric::Metric;
use domain::timestamp::Timestamp;
use serde::{Serialize, Serializer};
use stats::gate::replay::Tally;

/// What was measured and what the rule made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Version of this format.
    pub schema: u32,
    /// The key that it is about.
    pub key: String,
    /// When it was made.
    pub at: Timestamp,
    /// Version of servegate.
    pub servegate: String,
    /// Where.
    pub environment: Environment,
    /// Pairs that were measured, of unchanged sides and of unlike ones each.
    pub pairs: [usize; 2],
    /// Decisions that each row replays.
    pub replays: u32,
    /// The rule.
    pub rule: Rule,
    /// The sessions of unchanged sides and of unlike ones.
    pub sessions: Vec<String>,
    /// What came of it.
    pub rows: Vec<Row>,
    /// Standard deviation of a pair of unchanged sides, as a log-ratio, by metric.
    pub history: BTreeMap<Metric, f64>,
}

/// One row: a kind of change, and what the rule said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The change.
    pub what: String,
    /// Without a history.
    #[serde(serialize_with = "tally")]
    pub cold: Tally,
    /// With the measured unchanged pairs as history.
    #[serde(serialize_with = "tally")]
    pub known: Tally,
}

impl Calibration {
    /// Version of the format.
    pub const SCHEMA: u32 = 1;
}

fn tally<S: Serializer>(tally: &Tally, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::json!({
        "replays": tally.count,
        "regressed": tally.regressed,
        "passed": tally.passed,
        "improved": tally.improved,
        "inconclusive": tally.inconclusive,
        "broken": tally.broken,
        "mean_runs": tally.mean_runs(),
    })
    .serialize(serializer)
}

/// The table with what is needed to read it.
pub fn markdown(calibration: &Calibration) -> String {
    let Calibration { key, pairs: [alike, apart], replays, .. } = calibration;
    let mut text = format!(
        "# Calibration of the gate: {key}\n\n\
         {alike} pairs of unchanged sides and {apart} pairs with a slower candidate were measured. \
         Each figure is from {replays} decisions replayed on pairs drawn from them with \
         replacement; of unchanged pairs it is also drawn which side is which. It is the rule on \
         the noise that these pairs met, and no finer than their number allows.\n\n\
         | candidate | history | regressed | passed | inconclusive | not judged | runs |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for row in &calibration.rows {
        for (history, tally) in [("none", &row.cold), ("these pairs", &row.known)] {
            line(&mut text, &row.what, history, tally);
        }
    }
    let noise: Vec<_> = calibration
        .history
        .iter()
        .map(|(metric, sd)| format!("{metric} {:.2} %", sd * 100.0))
        .collect();
    // Writing to a `String` cannot fail.
    let _ = match noise.as_slice() {
        [] => writeln!(text, "\nThe pairs are too few to be a history."),
        noise => writeln!(text, "\nStandard deviation of a pair: {}.", noise.join(", ")),
    };
    let Environment { host, cpu, cpus, gpus, driver, .. } = &calibration.environment;
    let gpus = if gpus.is_empty() { "no GPU".to_owned() } else { gpus.join(", ") };
    let driver = driver.as_deref().unwrap_or("none");
    let _ = writeln!(
        text,
        "\n{at}, servegate {version}, host {host}, {cpus} × {cpu}, {gpus}, driver {driver}; \
         sessions {sessions}.",
        at = calibration.at,
        version = calibration.servegate,
        sessions = calibration.sessions.join(", ")
    );
    text
}

fn line(text: &mut String, what: &str, history: &str, tally: &Tally) {
    let share = |count: u32| match tally.share(count) {
        Some(share) => format!("{:.2} %", share * 100.0),
        None => "n/a".to_owned(),
    };
    let runs = tally.mean_runs().map_or_else(|| "n/a".to_owned(), |runs| format!("{runs:.1}"));
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "| {what} | {history} | {} | {} | {} | {} | {runs} |",
        share(tally.regressed),
        share(tally.passed),
        share(tally.inconclusive),
        share(tally.broken)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run;

    #[test]
    fn the_table_says_what_it_rests_on() {
        let tally =
            Tally { count: 200, regressed: 1, passed: 190, inconclusive: 9, ..Tally::default() };
        let calibration = Calibration {
            schema: Calibration::SCHEMA,
            key: "sim/sim/smoke/native@0".to_owned(),
            at: Timestamp::from_unix_millis(1_795_490_100_000),
            servegate: "0.1.0".to_owned(),
            environment: run().environment,
            pairs: [20, 19],
            replays: 200,
            rule: Rule::standard(),
            sessions: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![Row {
                what: "unchanged".to_owned(),
                cold: Tally { runs: 2_000, ..tally },
                known: Tally::default(),
            }],
            history: [(Rule::standard().metrics[0], 0.0123)].into(),
        };
        insta::assert_snapshot!(markdown(&calibration));
        let json = serde_json::to_value(&calibration).unwrap();
        assert_eq!(json["rows"][0]["cold"]["mean_runs"], 10.0);
        assert_eq!(json["rows"][0]["known"]["mean_runs"], serde_json::Value::Null);
    }
}
