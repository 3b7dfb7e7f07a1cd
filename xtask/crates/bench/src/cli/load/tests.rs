use std::ffi::OsString;

use clap::{Command, FromArgMatches as _};

use super::expand::WrongFlag;
use super::flags::{self, OWN, Support, TOOL};
use super::*;

fn command() -> Command {
    LoadArgs::augment_args(Command::new("load").args_override_self(true))
}

fn expanded(words: &[&str]) -> Result<Vec<String>, WrongFlag> {
    let words = ["servegate", "load"].iter().chain(words).map(OsString::from);
    let full = expand(words)?;
    Ok(full.into_iter().skip(2).map(|word| word.into_string().unwrap()).collect())
}

fn parsed(words: &[&str]) -> LoadArgs {
    let words = std::iter::once("load".to_owned()).chain(expanded(words).unwrap());
    LoadArgs::from_arg_matches(&command().try_get_matches_from(words).unwrap()).unwrap()
}

#[test]
fn the_declaration_and_the_command_line_are_one() {
    let command = command();
    let taken: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for flag in TOOL {
        let refused = matches!(flag.support, Support::Refused(_));
        assert_eq!(taken.contains(&flag.name), !refused, "{}", flag.name);
    }
    for (name, _) in OWN {
        assert!(taken.contains(name), "{name}");
    }
    let declared = TOOL.iter().map(|flag| flag.name).chain(OWN.iter().map(|(name, _)| *name));
    let declared: Vec<_> = declared.collect();
    assert!(taken.iter().all(|name| declared.contains(name)), "{taken:?}");
}

/// The flags of the tool with their defaults, as its source has them.
fn source() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../../../../../tests/fixtures/bench_serving/flags-0.5.23.tsv");
    text.lines().map(|line| line.split_once('\t').unwrap()).collect()
}

#[test]
fn every_flag_of_the_tool_is_the_same_or_better_or_refused_with_the_reason() {
    let declared: Vec<_> = TOOL.iter().map(|flag| flag.name).collect();
    let known: Vec<_> = source().into_iter().map(|(name, _)| name).collect();
    assert_eq!(declared, known, "all of them, in the tool's order");
    for (flag, (_, default)) in TOOL.iter().zip(source()) {
        let plain = match default {
            "False" => "",
            "float('inf')" => "inf",
            "_DEFAULT_SGLANG_FLUSH_CACHE_TIMEOUT" => "60.0",
            "['CPU', 'GPU']" => "CPU GPU",
            "''" => "''",
            text => text.trim_matches('\''),
        };
        assert_eq!(flag.default, plain, "{}", flag.name);
        if let Support::Better(words) | Support::Refused(words) = flag.support {
            assert!(!words.is_empty(), "{} says nothing", flag.name);
        }
    }
}

#[test]
fn the_readme_has_the_table_of_all_flags() {
    let readme = include_str!("../../../../../../README.md");
    assert!(readme.contains(&flags::table()), "`cargo xtask codegen` refreshes it");
}

#[test]
fn defaults_are_those_of_the_tool() {
    let command = command();
    for flag in TOOL.iter().filter(|flag| !matches!(flag.support, Support::Refused(_))) {
        let argument = command.get_arguments().find(|known| known.get_long() == Some(flag.name));
        let ours = argument.unwrap().get_default_values().first();
        let ours = ours.map(|value| value.to_str().unwrap().to_owned());
        let theirs = match (flag.name, flag.default) {
            // A switch; or a default that depends on another flag and is filled in later.
            (_, "" | "None") | ("seed", _) => None,
            (_, "''") => Some(String::new()),
            (_, value) => Some(value.to_owned()),
        };
        // 0.0 and 0 are one number.
        let number =
            |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
        let switch = ours.as_deref() == Some("false") && theirs.is_none();
        assert!(
            ours == theirs || switch || number(&ours).is_some_and(|n| Some(n) == number(&theirs)),
            "{}: {ours:?} and {theirs:?}",
            flag.name
        );
    }
}

#[test]
fn abbreviations_are_those_of_argparse() {
    assert_eq!(
        expanded(&["--num-prompt", "3", "--random-input=32", "--random-o", "16"]).unwrap(),
        ["--num-prompts", "3", "--random-input-len=32", "--random-output-len", "16"]
    );
    // Ours never make one of theirs ambiguous.
    assert_eq!(expanded(&["--c"]).unwrap(), ["--cache-report"]);
    assert_eq!(expanded(&["--comp", "0.5.8"]).unwrap(), ["--compat", "0.5.8"]);
    let ambiguous = expanded(&["--random-i", "3"]).unwrap_err().to_string();
    assert_eq!(ambiguous, "`--random-i` may be `--random-input-len` or `--random-image-count`");
    // What nobody knows is left for the parser to complain about.
    assert_eq!(expanded(&["--nonsense", "--", "--num-prompt"]).unwrap()[0], "--nonsense");
    let other = expand(["servegate", "bench", "--num-prompt"].iter().map(OsString::from)).unwrap();
    assert_eq!(other[2], "--num-prompt");
}

#[test]
fn a_flag_that_is_not_supported_is_refused_by_name() {
    for flag in TOOL {
        if let Support::Refused(why) = flag.support {
            let error = expanded(&[&format!("--{}=1", flag.name)]).unwrap_err();
            assert_eq!(error, WrongFlag::Refused { name: flag.name, why });
        }
    }
    let error = expanded(&["--lora-n", "a"]).unwrap_err().to_string();
    assert!(error.starts_with("`--lora-name` of SGLang's tool is not supported: "), "{error}");
}

#[test]
fn values_that_are_not_supported_are_refused_with_the_reason() {
    let refused = |words: &[&str]| {
        let words = std::iter::once("load").chain(words.iter().copied());
        command().try_get_matches_from(words).unwrap_err().to_string()
    };
    let first = |text: String| text.lines().next().unwrap().to_owned();
    insta::assert_snapshot!(first(refused(&["--backend", "trt"])), @"error: invalid value 'trt' for '--backend <BACKEND>': not supported: TensorRT-LLM's `generate_stream` is not spoken; use its OpenAI front end and `openai`");
    insta::assert_snapshot!(first(refused(&["--dataset-name", "mmmu"])), @"error: invalid value 'mmmu' for '--dataset-name <DATASET_NAME>': not supported: images are not made here: this is a load of text");
    insta::assert_snapshot!(first(refused(&["--gsp-num-turns", "2"])), @"error: invalid value '2' for '--gsp-num-turns <N>': conversations of several turns are not supported");
    insta::assert_snapshot!(first(refused(&["--goodput", "itl:5"])), @"error: invalid value 'itl:5' for '--goodput <NAME:MS>...': `itl:5` is not NAME:MS with a name of ttft, tpot, e2el and milliseconds above 0");
    insta::assert_snapshot!(first(refused(&["--extra-request-body", "[1]"])), @"error: invalid value '[1]' for '--extra-request-body <JSON>': it is not a JSON object");
}

#[test]
fn lists_and_the_last_of_a_repeated_flag_are_taken_as_argparse_does() {
    let args = parsed(&[
        "--header",
        "a=1",
        "b=2",
        "--goodput",
        "ttft:500",
        "tpot:50",
        "--num-prompts",
        "3",
        "--num-prompts",
        "4",
        "--token-ids-logprob",
        "7",
        "8",
    ]);
    assert_eq!(args.server.header, ["a=1", "b=2"]);
    assert_eq!(args.result.goodput.len(), 2);
    assert_eq!(args.data.num_prompts, 4);
    assert_eq!(args.body.token_ids_logprob, Some(vec![7, 8]));
    assert_eq!(args.body.logprob_start_len, -1);
}
