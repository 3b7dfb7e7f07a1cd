use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;

const ASK: Ask<'_> =
    Ask { model: "m", prompt: "say \"é\"\n", output_len: 16, ignore_eos: true, seed: 7 };

fn text_of(wire: Wire) -> String {
    String::from_utf8(body(wire, &ASK)).unwrap()
}

#[test]
fn bodies() {
    let bodies: Vec<_> = Wire::ALL.iter().map(|wire| text_of(*wire)).collect();
    insta::assert_snapshot!(bodies.join("\n"), @r#"
    {"text":"say \"é\"\n","sampling_params":{"temperature":0.0,"max_new_tokens":16,"ignore_eos":true},"stream":true,"lora_path":null,"return_logprob":false,"return_routed_experts":false,"logprob_start_len":-1}
    {"model":"m","prompt":"say \"é\"\n","best_of":1,"max_tokens":16,"stream":true,"temperature":0.0,"ignore_eos":true,"stream_options":{"include_usage":true}}
    {"model":"m","messages":[{"role":"user","content":"say \"é\"\n"}],"max_completion_tokens":16,"stream":true,"temperature":0.0,"ignore_eos":true,"stream_options":{"include_usage":true}}
    {"model":"m","prompt":"say \"é\"\n","stream":true,"raw":true,"options":{"num_predict":16,"temperature":0.0,"seed":7}}
    "#);
}

/// The names of every object in a JSON text, nested, in the order in which they stand.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;

        impl<'de> Visitor<'de> for Look {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, Names(inner))) = map.next_entry::<String, Names>()? {
                    names.push(name);
                    names.extend(inner);
                }
                Ok(Names(names))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Names(inner)) = array.next_element()? {
                    names.extend(inner);
                }
                Ok(Names(names))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Names, E> {
                Ok(Names(vec![]))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Names, E> {
                Ok(Names(vec![]))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Names, E> {
                Ok(Names(vec![]))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Names, E> {
                Ok(Names(vec![]))
            }

            fn visit_str<E>(self, _: &str) -> Result<Names, E> {
                Ok(Names(vec![]))
            }

            fn visit_unit<E>(self) -> Result<Names, E> {
                Ok(Names(vec![]))
            }
        }

        from.deserialize_any(Look)
    }
}

#[test]
fn bodies_are_those_of_the_python_tool_in_content_and_order() {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/bench_serving");
    for (file, wire) in [
        ("sglang_native.req.jsonl", Wire::SglangGenerate),
        ("oai.req.jsonl", Wire::OpenaiCompletions),
        ("vllm_chat_usage.req.jsonl", Wire::OpenaiChat),
    ] {
        let captured = std::fs::read_to_string(fixtures.join(file)).unwrap();
        let line = captured.lines().find(|line| line.contains(wire.path())).unwrap();
        let seen: Value = serde_json::from_str(line).unwrap();
        let mut seen = seen["body"].clone();
        let (prompt, model) = (prompt_in(&seen), seen["model"].as_str().unwrap_or_default());
        let ask = Ask {
            model,
            prompt: &prompt,
            output_len: length_in(&seen),
            ignore_eos: true,
            seed: 42,
        };
        let ours = body(wire, &ask);
        if wire == Wire::OpenaiCompletions {
            // The one thing that is asked beyond what the Python tool asks.
            seen["stream_options"] = serde_json::json!({ "include_usage": true });
        }
        assert_eq!(serde_json::from_slice::<Value>(&ours).unwrap(), seen, "{file}");
        let Names(theirs) = names_of_body(line);
        let Names(ours) = serde_json::from_slice(&ours).unwrap();
        assert!(ours.starts_with(&theirs), "{file}: {ours:?}");
    }
}

fn names_of_body(line: &str) -> Names {
    let (_, body) = line.split_once("\"body\": ").unwrap();
    serde_json::from_str(&body[..body.len() - 1]).unwrap()
}

fn prompt_in(body: &Value) -> String {
    let places = [&body["text"], &body["prompt"], &body["messages"][0]["content"]];
    places.into_iter().find_map(Value::as_str).unwrap().to_owned()
}

fn length_in(body: &Value) -> u32 {
    let places = [
        &body["sampling_params"]["max_new_tokens"],
        &body["max_tokens"],
        &body["max_completion_tokens"],
    ];
    places.into_iter().find_map(Value::as_u64).unwrap().try_into().unwrap()
}

/// What a reader makes of events, one a line.
fn reading(wire: Wire, events: &[&str]) -> String {
    let mut reader = Reader::new(wire);
    let lines = events.iter().map(|event| match reader.read(event.as_bytes()) {
        Ok(Said { piece, usage, mark, .. }) => {
            let Usage { prompt, cached, output, reached_length } = usage;
            let full = if reached_length { " full" } else { "" };
            let count = |count: Option<u32>| count.map_or("-".to_owned(), |n| n.to_string());
            let piece = match piece {
                None => "nothing".to_owned(),
                Some(Piece::Uncounted) => "text".to_owned(),
                Some(Piece::Counted(n)) => format!("{n} tokens"),
            };
            format!(
                "{piece}; usage {}/{}/{}{full}; {mark:?}",
                count(prompt),
                count(cached),
                count(output)
            )
        }
        Err(fault) => format!("{fault:?}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn sglang_counts_tokens_by_their_total() {
    let events = [
        r#"{"text":"a","meta_info":{"id":"x","prompt_tokens":9,"completion_tokens":1,"cached_tokens":4,"finish_reason":null}}"#,
        r#"{"text":"a b c","meta_info":{"prompt_tokens":9,"completion_tokens":3,"finish_reason":null}}"#,
        r#"{"text":"a b c","meta_info":{"completion_tokens":3,"finish_reason":{"type":"length","length":3}}}"#,
        "[DONE]",
    ];
    insta::assert_snapshot!(reading(Wire::SglangGenerate, &events), @"
    1 tokens; usage 9/4/1; Open
    2 tokens; usage -/-/3; Open
    nothing; usage -/-/3; Finished
    nothing; usage -/-/-; End
    ");
}

#[test]
fn completions_give_text_and_then_usage() {
    let events = [
        r#"{"choices":[{"index":0,"text":"a","finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"text":"","finish_reason":"length"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        "[DONE]",
    ];
    insta::assert_snapshot!(reading(Wire::OpenaiCompletions, &events), @"
    text; usage -/-/-; Open
    nothing; usage -/-/- full; Finished
    nothing; usage 9/2/4; Open
    nothing; usage -/-/-; End
    ");
}

#[test]
fn continuous_usage_counts_the_tokens_of_each_event() {
    let event = |total: u32| {
        format!(
            r#"{{"choices":[{{"text":"a","finish_reason":null}}],"usage":{{"prompt_tokens":9,"completion_tokens":{total}}}}}"#
        )
    };
    let events = [event(1), event(4), event(4)];
    insta::assert_snapshot!(reading(Wire::OpenaiCompletions, &events.each_ref().map(String::as_str)), @"
    1 tokens; usage 9/-/1; Open
    3 tokens; usage 9/-/4; Open
    0 tokens; usage 9/-/4; Open
    ");
}

#[test]
fn chat_deltas_of_the_servers_that_were_seen() {
    let events = [
        r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"content":"a","reasoning":null},"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#,
    ];
    insta::assert_snapshot!(reading(Wire::OpenaiChat, &events), @"
    nothing; usage -/-/-; Open
    nothing; usage -/-/-; Open
    text; usage -/-/-; Open
    text; usage -/-/-; Open
    nothing; usage 9/-/3; Finished
    ");
}

#[test]
fn ollama_lines() {
    let events = [
        r#"{"model":"m","created_at":"t","response":"a","done":false}"#,
        r#"{"response":"","thinking":"b","done":false}"#,
        r#"{"response":"","done":true,"done_reason":"length","prompt_eval_count":9,"eval_count":2,"eval_duration":5}"#,
    ];
    insta::assert_snapshot!(reading(Wire::OllamaGenerate, &events), @"
    text; usage -/-/-; Open
    text; usage -/-/-; Open
    nothing; usage 9/-/2; End
    ");
}

#[test]
fn errors_in_the_stream_are_told_from_events_that_cannot_be_read() {
    let events = [
        r#"{"error":{"message":"out of memory","code":500}}"#,
        r#"{"error":"no such model"}"#,
        r#"{"object":"error","message":"top_k must be -1 or more"}"#,
        r#"{"detail":"gone"}"#,
        r#"{"meta_info":{"completion_tokens":1,"finish_reason":{"type":"abort","message":"shut down"}}}"#,
        r#"{"choices":[{"text":"","delta":{},"finish_reason":"abort"}]}"#,
        r#"{"other":1}"#,
        r#"{"choices":[{"text":1}]}"#,
        r#"{"choices":[{"te"#,
    ];
    let all: Vec<_> =
        Wire::ALL.iter().map(|wire| format!("{wire}\n{}", reading(*wire, &events))).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    sglang-generate
    Failed("out of memory")
    Failed("no such model")
    Failed("top_k must be -1 or more")
    Failed("gone")
    Failed("shut down")
    Malformed("no `meta_info` in {\"choices\":[{\"text\":\"\",\"delta\":{},\"finish_reason\":\"abort\"}]}")
    Malformed("no `meta_info` in {\"other\":1}")
    Malformed("no `meta_info` in {\"choices\":[{\"text\":1}]}")
    Malformed("EOF while parsing a string at line 1 column 16: {\"choices\":[{\"te")

    openai-completions
    Failed("out of memory")
    Failed("no such model")
    Failed("top_k must be -1 or more")
    Failed("gone")
    Malformed("no `choices` in {\"meta_info\":{\"completion_tokens\":1,\"finish_reason\":{\"type\":\"abort\",\"message\":\"shut down\"}}}")
    Failed("{\"choices\":[{\"text\":\"\",\"delta\":{},\"finish_reason\":\"abort\"}]}")
    Malformed("no `choices` in {\"other\":1}")
    Malformed("invalid type: integer `1`, expected a text at line 1 column 21: {\"choices\":[{\"text\":1}]}")
    Malformed("EOF while parsing a string at line 1 column 16: {\"choices\":[{\"te")

    openai-chat
    Failed("out of memory")
    Failed("no such model")
    Failed("top_k must be -1 or more")
    Failed("gone")
    Malformed("no `choices` in {\"meta_info\":{\"completion_tokens\":1,\"finish_reason\":{\"type\":\"abort\",\"message\":\"shut down\"}}}")
    Failed("{\"choices\":[{\"text\":\"\",\"delta\":{},\"finish_reason\":\"abort\"}]}")
    Malformed("no `choices` in {\"other\":1}")
    nothing; usage -/-/-; Open
    Malformed("EOF while parsing a string at line 1 column 16: {\"choices\":[{\"te")

    ollama-generate
    Failed("out of memory")
    Failed("no such model")
    Failed("top_k must be -1 or more")
    Failed("gone")
    Malformed("no `done` in {\"meta_info\":{\"completion_tokens\":1,\"finish_reason\":{\"type\":\"abort\",\"message\":\"shut down\"}}}")
    Malformed("no `done` in {\"choices\":[{\"text\":\"\",\"delta\":{},\"finish_reason\":\"abort\"}]}")
    Malformed("no `done` in {\"other\":1}")
    Malformed("no `done` in {\"choices\":[{\"text\":1}]}")
    Malformed("EOF while parsing a string at line 1 column 16: {\"choices\":[{\"te")
    "#);
}

proptest::proptest! {
    #[test]
    fn reading_quickly_says_what_parsing_says(
        texts in proptest::collection::vec("[a-z é\"\\\\{}:,\n]{0,6}", 1..12),
        noise in proptest::collection::vec(0..40usize, 0..3),
        created in proptest::collection::vec(0..2u8, 12),
    ) {
        for wire in [Wire::OpenaiCompletions, Wire::OpenaiChat, Wire::OllamaGenerate] {
            let (mut quick, mut parsing) = (Reader::new(wire), Reader::new(wire));
            for (at, (text, created)) in texts.iter().zip(&created).enumerate() {
                let text = serde_json::to_string(text).unwrap();
                let mut event = match wire {
                    Wire::OpenaiCompletions => format!(
                        r#"{{"created":{created},"choices":[{{"text":{text},"finish_reason":null}}]}}"#
                    ),
                    Wire::OpenaiChat => format!(
                        r#"{{"choices":[{{"delta":{{"content":{text}}},"finish_reason":null}}]}}"#
                    ),
                    Wire::OllamaGenerate | Wire::SglangGenerate => format!(
                        r#"{{"created_at":"{created}","response":{text},"done":false}}"#
                    ),
                };
                // Now and then an event with one byte missing.
                if noise.contains(&at) {
                    let cut = event.char_indices().nth(noise[0]).map(|(at, _)| at);
                    cut.map(|cut| event.remove(cut));
                }
                proptest::prop_assert_eq!(
                    quick.read(event.as_bytes()).map(|said| (said.piece, said.mark)),
                    parsing.parse(event.as_bytes()).map(|said| (said.piece, said.mark)),
                    "{}", event
                );
            }
        }
    }
}
