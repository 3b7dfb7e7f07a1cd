use serde_json::Value;

use super::*;
use crate::testing::{lag, metrics, profile, requests, tokens};

fn measurement() -> Measurement {
    Measurement {
        requests: requests(),
        tokens: tokens(),
        metrics: metrics(),
        client: Some(lag()),
        accounting: None,
        anomalies: Vec::new(),
    }
}

fn line<'a>(profile: &'a Profile, measurement: &'a Measurement) -> Line<'a> {
    Line {
        tag: None,
        backend: Backend::SglangOai,
        profile,
        measurement,
        server_info: None,
        accept_length: None,
        goodput: None,
        cache: CacheSection::None,
        details: None,
        own: Own {
            version: "1.2.3",
            model: "tiny",
            compat: domain::profile::Compat::NEWEST,
            seed: 42,
            request_set: "ab12",
            started: crate::testing::at(0),
            finished: crate::testing::at(1),
            max_itl_ms: Some(10.6),
        },
    }
}

/// Keys of a line in the order in which they stand.
fn keys(text: &str) -> Vec<String> {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Look;
            impl<'de> serde::de::Visitor<'de> for Look {
                type Value = Keys;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, _)) = map.next_entry::<_, serde::de::IgnoredAny>()? {
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            from.deserialize_map(Look)
        }
    }
    serde_json::from_str::<Keys>(text).unwrap().0
}

#[test]
fn the_keys_are_those_of_the_python_tool_in_its_order() {
    let theirs = include_str!("../../../../../tests/fixtures/bench_serving/oai.jsonl");
    let theirs = theirs.replace("Infinity", "null");
    let (profile, measurement) = (profile(), measurement());
    let ours = Line { details: Some(&[]), ..line(&profile, &measurement) }.text().unwrap();
    let mut expected = keys(&theirs);
    expected.push("servegate".to_owned());
    assert_eq!(keys(&ours), expected);
    let (ours, theirs): (Value, Value) =
        (serde_json::from_str(&ours).unwrap(), serde_json::from_str(&theirs).unwrap());
    assert_eq!(ours["request_rate"], "inf");
    let same = ["backend", "dataset_name", "completed", "mean_ttft_ms", "max_concurrent_requests"];
    for key in same {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
}

#[test]
fn what_was_asked_for_stands_where_the_tool_writes_it() {
    let (profile, measurement) = (profile(), measurement());
    let slo = |text: &str, share| (text.parse().unwrap(), share);
    let goodput = Goodput {
        requests_per_s: 2.5,
        attainment: 0.5,
        by_slo: vec![slo("ttft:500", 1.0), slo("tpot:2.5", 0.5)],
    };
    let text =
        Line { goodput: Some(&goodput), cache: CacheSection::Hits, ..line(&profile, &measurement) };
    let text = text.text().unwrap();
    let (_, end) = text.split_once("\"max_concurrent_requests\"").unwrap();
    insta::assert_snapshot!(end);
}
