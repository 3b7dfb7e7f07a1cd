//! `generated-shared-prefix`: groups of prompts that begin with the same drawn tokens.

use domain::profile::{Dataset, GroupDistribution, Profile, PromptForm, SharedPrefix};

use super::streams::{Streams, shortest};
use super::{Prompt, Row, WorkloadError};
use crate::rng::DefaultRng;
use crate::tokenizer::Tokenizer;

/// The most tokens that all prompts together may be drawn from; more would only fill the memory.
const MOST_TOKENS: u64 = 1 << 30;

/// The requests of the dataset.
pub(super) fn rows(
    profile: &Profile,
    tokenizer: &Tokenizer,
    streams: &mut Streams,
) -> Result<Vec<Row>, WorkloadError> {
    let gsp = &profile.workload.gsp;
    check(gsp)?;
    if !profile.workload.compat.at_least([0, 5, 17]) {
        let dataset = Dataset::GeneratedSharedPrefix;
        return Err(WorkloadError::NotReproducible { dataset, since: "0.5.17" });
    }
    let (groups, slots) =
        (gsp.num_groups as usize, (gsp.num_groups * gsp.prompts_per_group) as usize);
    let mut draw =
        |longest: u32, n| streams.lengths(shortest(longest, gsp.range_ratio, 1), longest, n);
    let system_lens = draw(gsp.system_prompt_len, groups);
    let question_lens = draw(gsp.question_len, slots);
    let output_lens = draw(gsp.output_len, slots);

    let words = tokenizer.all_ids()?;
    if words.is_empty() {
        return Err(WorkloadError::EmptyVocabulary);
    }
    let mut text =
        |len: &u32| -> Vec<u32> { (0..*len).map(|_| words[streams.choice(words.len())]).collect() };
    let systems: Vec<_> = system_lens.iter().map(&mut text).collect();
    let questions: Vec<_> = question_lens.iter().map(&mut text).collect();
    let assignment = assignment(gsp, slots, streams.seed);
    let made = match profile.workload.prompts {
        PromptForm::Ids => joined_ids(&systems, questions, &assignment),
        PromptForm::Text => joined_texts(&systems, &questions, &assignment, tokenizer)?,
    };
    let lens = prompt_lens(&made, gsp, tokenizer)?;
    let mut rows: Vec<_> = made
        .into_iter()
        .zip(lens)
        .zip(output_lens)
        .map(|((prompt, prompt_len), output_len)| Row { prompt, prompt_len, output_len })
        .collect();
    if !gsp.ordered {
        streams.shuffle_work(&mut rows);
    }
    Ok(rows)
}

fn check(gsp: &SharedPrefix) -> Result<(), WorkloadError> {
    super::at_least_one([
        ("gsp_num_groups", gsp.num_groups),
        ("gsp_prompts_per_group", gsp.prompts_per_group),
        ("gsp_system_prompt_len", gsp.system_prompt_len),
        ("gsp_question_len", gsp.question_len),
        ("gsp_output_len", gsp.output_len),
    ])?;
    super::fraction("gsp_range_ratio", gsp.range_ratio)?;
    let prompts = u64::from(gsp.num_groups) * u64::from(gsp.prompts_per_group);
    let each = u64::from(gsp.system_prompt_len) + u64::from(gsp.question_len);
    let tokens = prompts.saturating_mul(each);
    if MOST_TOKENS < tokens {
        let (field, value) = ("number of prompt tokens", tokens.to_string());
        return Err(WorkloadError::OutOfRange { field, value, wanted: "at most 1073741824" });
    }
    match (gsp.group_distribution, gsp.zipf_alpha) {
        (GroupDistribution::Uniform, None) => Ok(()),
        (GroupDistribution::Zipf, Some(alpha)) if alpha.is_finite() && 0.0 < alpha => Ok(()),
        (GroupDistribution::Zipf, alpha) => {
            let value = alpha.map_or_else(|| "missing".to_owned(), |alpha| alpha.to_string());
            let (field, wanted) = ("gsp_zipf_alpha", "a finite number above 0 for `zipf`");
            Err(WorkloadError::OutOfRange { field, value, wanted })
        }
        (GroupDistribution::Uniform, Some(alpha)) => {
            let (field, value) = ("gsp_zipf_alpha", alpha.to_string());
            Err(WorkloadError::OutOfRange { field, value, wanted: "left out for `uniform`" })
        }
    }
}

/// The group of each slot. `zipf` has a generator of its own, so that texts are the same.
fn assignment(gsp: &SharedPrefix, slots: usize, seed: u32) -> Vec<usize> {
    match (gsp.group_distribution, gsp.zipf_alpha) {
        (GroupDistribution::Zipf, Some(alpha)) => {
            let weights = (1..=gsp.num_groups).map(|rank| 1.0 / f64::from(rank).powf(alpha));
            DefaultRng::seeded(seed).choices(&weights.collect::<Vec<_>>(), slots)
        }
        (GroupDistribution::Uniform | GroupDistribution::Zipf, _) => {
            (0..slots).map(|slot| slot / gsp.prompts_per_group as usize).collect()
        }
    }
}

fn joined_ids(systems: &[Vec<u32>], questions: Vec<Vec<u32>>, groups: &[usize]) -> Vec<Prompt> {
    let pairs = questions.into_iter().zip(groups);
    pairs.map(|(question, group)| Prompt::Ids([&systems[*group][..], &question].concat())).collect()
}

fn joined_texts(
    systems: &[Vec<u32>],
    questions: &[Vec<u32>],
    groups: &[usize],
    tokenizer: &Tokenizer,
) -> Result<Vec<Prompt>, WorkloadError> {
    let systems = tokenizer.decode_each(systems)?;
    let questions = tokenizer.decode_each(questions)?;
    let pairs = questions.into_iter().zip(groups);
    let text = |(question, group): (String, &usize)| format!("{}\n\n{question}", systems[*group]);
    Ok(pairs.map(|pair| Prompt::Text(text(pair))).collect())
}

/// Lengths of the prompts as the server will see them, which the tokenizer has to find out.
fn prompt_lens(
    made: &[Prompt],
    gsp: &SharedPrefix,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>, WorkloadError> {
    let texts: Vec<&str> = made
        .iter()
        .filter_map(|prompt| match prompt {
            Prompt::Text(text) => Some(text.as_str()),
            Prompt::Ids(_) => None,
        })
        .collect();
    if gsp.fast_prepare && !texts.is_empty() {
        return Ok(vec![1; made.len()]);
    }
    let mut lens = tokenizer.lengths(&texts)?.into_iter();
    let len = |prompt: &Prompt| match prompt {
        Prompt::Text(_) => lens.next(),
        Prompt::Ids(ids) => u32::try_from(ids.len()).ok(),
    };
    Ok(made.iter().filter_map(len).collect())
}
