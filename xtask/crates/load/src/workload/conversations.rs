//! Files of conversations: ShareGPT's JSON array, and JSON lines. The first two turns are used.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use domain::profile::{Dataset, Profile, PromptForm};
use serde::Deserialize;

use super::streams::Streams;
use super::{Prompt, Row, WorkloadError};
use crate::tokenizer::Tokenizer;

/// The usual file has about 0.7 GB; this bounds what a wrong path can do to the machine's memory.
const FILE_BYTES: u64 = 4 << 30;

/// What the Python tool puts a suffix before.
const ASSISTANT: &str = "Assistant:";

/// Shortest prompt and answer that the Python tool sends, in tokens.
const SHORTEST: u32 = 2;

/// Shortest length of all answers that the Python tool takes, in tokens.
const SHORTEST_FIXED: u32 = 4;

#[derive(Deserialize)]
struct Entry {
    conversations: Option<Vec<Turn>>,
    conversation: Option<Vec<Turn>>,
}

#[derive(Deserialize)]
struct Turn {
    content: Option<String>,
    value: Option<String>,
}

/// The requests of `sharegpt` and `custom`: recorded prompts, and answers as long as recorded.
pub(super) fn rows(
    profile: &Profile,
    tokenizer: &Tokenizer,
    streams: &mut Streams,
) -> Result<Vec<Row>, WorkloadError> {
    let (dataset, settings) = (profile.dataset_name, &profile.workload.sharegpt);
    super::at_least_one([("num_prompts", profile.num_prompts)])?;
    if profile.workload.prompts == PromptForm::Ids {
        return Err(WorkloadError::OnlyText { dataset });
    }
    if let Some(value) = settings.output_len.filter(|len| *len < SHORTEST_FIXED) {
        let value = value.to_string();
        let field = "sharegpt_output_len";
        return Err(WorkloadError::OutOfRange { field, value, wanted: "at least 4" });
    }
    let path = profile.dataset_path.as_ref().ok_or(WorkloadError::NoFile { dataset })?;
    let mut pairs = if dataset == Dataset::Custom { json_lines(path)? } else { share_gpt(path)? };
    streams.python.shuffle(&mut pairs);
    let mut rows = Vec::new();
    for (prompt, answer) in pairs {
        if rows.len() == profile.num_prompts as usize {
            break;
        }
        let prompt = with_suffix(prompt, &settings.prompt_suffix);
        let prompt_len = length(tokenizer, &prompt)?;
        let output_len = match settings.output_len {
            Some(fixed) => fixed,
            None => length(tokenizer, &answer)?,
        };
        let too_short = prompt_len < SHORTEST || output_len < SHORTEST;
        // A limit of zero is none, as in Python.
        let limit = settings.context_len.filter(|limit| *limit != 0).unwrap_or(u32::MAX);
        if !too_short && prompt_len.saturating_add(output_len) <= limit {
            rows.push(Row { prompt: Prompt::Text(prompt), prompt_len, output_len });
        }
    }
    if rows.is_empty() {
        return Err(WorkloadError::NothingUsable { path: path.clone() });
    }
    Ok(rows)
}

/// First and second turn of every conversation of an array that has them, in file order.
pub(super) fn share_gpt(path: &Path) -> Result<Vec<(String, String)>, WorkloadError> {
    let entries: Vec<Entry> = serde_json::from_slice(&read(path)?)
        .map_err(|source| WorkloadError::NotShareGpt { path: path.to_owned(), source })?;
    let pair = |entry: Entry| entry.two_turns(|turn| turn.value);
    Ok(entries.into_iter().filter_map(pair).collect())
}

/// The same of JSON lines, where a turn's text may be called `content`. What is no conversation is
/// passed over, as in the Python tool.
fn json_lines(path: &Path) -> Result<Vec<(String, String)>, WorkloadError> {
    let bytes = read(path)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let text = |turn: Turn| Some(turn.content.or(turn.value).unwrap_or_default());
    Ok(entries.filter_map(|entry| entry.two_turns(text)).collect())
}

impl Entry {
    fn two_turns(self, text: impl Fn(Turn) -> Option<String>) -> Option<(String, String)> {
        let mut turns = self.conversations.or(self.conversation)?.into_iter();
        Some((text(turns.next()?)?, text(turns.next()?)?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WorkloadError> {
    let unreadable = |source| WorkloadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if FILE_BYTES < bytes {
        let path = path.to_owned();
        return Err(WorkloadError::TooLarge { path, bytes, limit: FILE_BYTES });
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

fn with_suffix(prompt: String, suffix: &str) -> String {
    if suffix.is_empty() {
        return prompt;
    }
    let bare = prompt.strip_suffix(ASSISTANT).unwrap_or(&prompt);
    format!("{bare}{suffix}{ASSISTANT}")
}

fn length(tokenizer: &Tokenizer, text: &str) -> Result<u32, WorkloadError> {
    Ok(u32::try_from(tokenizer.encode(text)?.len()).unwrap_or(u32::MAX))
}
