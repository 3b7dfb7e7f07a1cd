//! Whether runs were held to the same contract: the one place that compares its terms.

use domain::anomaly::Anomaly;
use domain::contract::{Contract, Term};
use domain::summary::RunSummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sameness::Difference;

/// Sizes of a KV cache that are the same: frameworks round it to blocks of their own.
const SAME_CACHE: f64 = 0.01;

/// Degrees Celsius by which starts may differ: below that neither clocks nor leakage differ by
/// what a benchmark can see.
const SAME_START_C: u32 = 10;

/// One term over the columns of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TermRow {
    /// The term.
    pub term: Term,
    /// What each column was held to; absent where nobody said it.
    pub values: Vec<Option<String>>,
    /// Whether that is the same.
    pub held: Held,
}

/// Whether a term was held equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// It was.
    Equal,
    /// The values differ, but not in what the load can see.
    EqualInEffect,
    /// It was not.
    Unequal,
    /// Not every column says it.
    NotSaid,
}

/// The terms over the columns, each column with its runs; empty where no run has a contract.
pub(crate) fn rows(columns: &[Vec<&RunSummary>]) -> Vec<TermRow> {
    let any = columns.iter().flatten().any(|run| run.contract.is_some());
    if !any {
        return Vec::new();
    }
    Term::ALL.iter().map(|term| row(*term, columns)).collect()
}

fn row(term: Term, columns: &[Vec<&RunSummary>]) -> TermRow {
    let values: Vec<Option<String>> = columns.iter().map(|runs| shown(term, runs)).collect();
    let held = if values.iter().any(Option::is_none) {
        Held::NotSaid
    } else if values.iter().all(|value| *value == values[0]) {
        Held::Equal
    } else if equal_in_effect(term, columns) {
        Held::EqualInEffect
    } else {
        Held::Unequal
    };
    TermRow { term, values, held }
}

/// What the runs of one column were held to; each value once, and none unless all say it.
fn shown(term: Term, runs: &[&RunSummary]) -> Option<String> {
    let mut values: Vec<String> = Vec::new();
    for run in runs {
        let value = run.contract.as_ref()?.shown(term)?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    (!values.is_empty()).then(|| values.join(" / "))
}

fn equal_in_effect(term: Term, columns: &[Vec<&RunSummary>]) -> bool {
    let runs = || columns.iter().flatten().copied();
    match term {
        Term::KvCache => {
            let tokens: Option<Vec<u64>> =
                runs().map(|run| run.contract.as_ref()?.kv_cache_tokens).collect();
            let Some(tokens) = tokens else { return false };
            let (least, most) = (tokens.iter().min(), tokens.iter().max());
            let (Some(&least), Some(&most)) = (least, most) else { return false };
            let close = (most - least) as f64 <= SAME_CACHE * most as f64;
            close || runs().all(|run| most_at_once(run).is_some_and(|load| load <= least))
        }
        Term::StartTemperature => {
            let starts: Vec<u32> =
                runs().filter_map(|run| run.contract.as_ref()?.start_temperature_c).collect();
            let (least, most) = (starts.iter().min(), starts.iter().max());
            least.zip(most).is_some_and(|(least, most)| most - least <= SAME_START_C)
        }
        // Repeats differ in their seeds: what they share is looked for where seeds are compared.
        Term::RequestSet => true,
        Term::Weights
        | Term::Dtype
        | Term::Context
        | Term::Concurrency
        | Term::PrefixCache
        | Term::Sampling
        | Term::ForcedLength
        | Term::PowerLimit => false,
    }
}

/// Tokens that the load can have in the KV cache at once, if its lengths are known: a cache that
/// holds all of them limits nothing.
fn most_at_once(run: &RunSummary) -> Option<u64> {
    let profile = &run.profile;
    let limit = run.contract.as_ref()?.max_running_requests;
    let sent = u64::from(profile.max_concurrency.unwrap_or(profile.num_prompts));
    let at_once = limit.map_or(sent, |limit| limit.min(sent));
    let each = match profile.dataset_name {
        domain::profile::Dataset::Random | domain::profile::Dataset::RandomIds => {
            u64::from(profile.random_input_len) + u64::from(profile.random_output_len)
        }
        domain::profile::Dataset::GeneratedSharedPrefix
        | domain::profile::Dataset::Sharegpt
        | domain::profile::Dataset::Custom => return None,
    };
    at_once.checked_mul(each)
}

/// Terms that were not held, as entries of the record: both values stand in them.
pub(crate) fn unequal(rows: &[TermRow], titles: &[String]) -> Vec<Anomaly> {
    let unequal = rows.iter().filter(|row| row.held == Held::Unequal);
    let values = |row: &TermRow| {
        let values = row.values.iter().map(|value| value.clone().unwrap_or_default());
        titles.iter().cloned().zip(values).collect()
    };
    unequal
        .map(|row| Anomaly::NotLikeForLike {
            setting: row.term.title().to_owned(),
            values: values(row),
        })
        .collect()
}

/// What of the work differs between two runs of one framework, where both say it. Settings of the
/// server are the thing under test and may differ.
pub(crate) fn work_differences(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
    let (Some(old), Some(new)) = (&old.contract, &new.contract) else { return Vec::new() };
    let terms = Term::ALL.iter().filter(|term| term.is_work() && **term != Term::RequestSet);
    let both = terms.filter_map(|&term| Some((term, old.shown(term)?, new.shown(term)?)));
    let differing = both.filter(|(_, old, new)| old != new);
    differing.map(|(term, old, new)| (term.title().to_owned(), old, new)).collect()
}

/// Whether a contract says what the settings of the same meaning say, so that these need not be
/// compared once more.
pub(crate) fn covers(contract: &Contract, setting: &str) -> bool {
    match setting {
        "model" => contract.weights.is_some(),
        "gpu power limit" => contract.power_limit_mw.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::contract::CacheState;
    use domain::framework::Framework;

    use super::*;
    use crate::testing::run;

    fn of(framework: Framework, change: impl Fn(&mut Contract)) -> RunSummary {
        let mut contract = Contract {
            weights: Some("qwen".to_owned()),
            dtype: Some("bfloat16".to_owned()),
            kv_cache_tokens: Some(964_576),
            prefix_cache: Some(CacheState::Off),
            start_temperature_c: Some(40),
            ..Contract::unsaid()
        };
        change(&mut contract);
        RunSummary { framework, contract: Some(contract), ..run(&[]) }
    }

    fn held(a: &RunSummary, b: &RunSummary) -> String {
        let rows = rows(&[vec![a], vec![b]]);
        let said = rows.iter().filter(|row| row.values.iter().any(Option::is_some));
        said.map(|row| format!("{} {:?}\n", row.term, row.held)).collect()
    }

    #[test]
    fn a_cache_that_holds_the_whole_load_limits_nothing_whatever_its_size() {
        let vllm = of(Framework::Vllm, |_| {});
        // 8 at once, each of 128 + 64 tokens.
        let roomy = of(Framework::Sglang, |contract| contract.kv_cache_tokens = Some(1536));
        let tight = of(Framework::Sglang, |contract| contract.kv_cache_tokens = Some(1535));
        assert!(held(&vllm, &roomy).contains("kv-cache EqualInEffect"));
        assert!(held(&vllm, &tight).contains("kv-cache Unequal"));
    }

    #[test]
    fn what_differs_names_both_values_and_what_nobody_says_is_no_difference() {
        let vllm = of(Framework::Vllm, |_| {});
        let other = of(Framework::Sglang, |contract| {
            contract.dtype = None;
            contract.prefix_cache = Some(CacheState::On);
            contract.start_temperature_c = Some(50);
        });
        insta::assert_snapshot!(held(&vllm, &other), @r"
        weights Equal
        dtype NotSaid
        kv-cache Equal
        prefix-cache Unequal
        start-temperature EqualInEffect
        ");
        let rows = rows(&[vec![&vllm], vec![&other]]);
        let titles = ["vllm".to_owned(), "sglang".to_owned()];
        let found: Vec<_> = unequal(&rows, &titles).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @"prefix cache differs: vllm: off, sglang: on");
    }

    #[test]
    fn the_gate_minds_the_work_and_not_the_servers_settings() {
        let old = of(Framework::Vllm, |_| {});
        let mut new = of(Framework::Vllm, |contract| {
            contract.kv_cache_tokens = Some(1);
            contract.max_running_requests = Some(1);
        });
        assert_eq!(work_differences(&old, &new), []);
        if let Some(contract) = &mut new.contract {
            contract.weights = Some("dummies of qwen".to_owned());
        }
        let found = work_differences(&old, &new);
        assert_eq!(
            found,
            [("weights".to_owned(), "qwen".to_owned(), "dummies of qwen".to_owned())]
        );
        new.contract = None;
        assert_eq!(work_differences(&old, &new), []);
    }

    #[test]
    fn runs_without_a_contract_have_no_rows() {
        assert_eq!(rows(&[vec![&run(&[])], vec![&run(&[])]]), []);
    }
}
