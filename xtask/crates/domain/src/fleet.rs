//! The cells of a fleet: what one job of many measures, on which kind of runner.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::framework::Framework;

/// One job of a fleet: an element of the matrix that GitHub Actions is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// What names the cell in artifacts and records: its readable parts and a digest of everything
    /// that is measured, so that it stays the same as long as the cell does.
    pub id: String,
    /// The cell for people: `vllm/qwen/smoke on h100`.
    pub title: String,
    /// The framework.
    pub framework: Framework,
    /// The model to serve: a path, a hub id or a tag.
    pub model: String,
    /// The load profile.
    pub profile: String,
    /// Name of the kind of runner.
    pub runner: String,
    /// The labels that a runner must have.
    pub labels: Vec<String>,
    /// Product name of the GPU that such runners have, if the plan tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Arguments of `servegate bench`, one a line; no argument has a line break.
    pub args: String,
    /// Minutes after which the job is given up.
    pub timeout_minutes: u32,
    /// What it costs, in units of the plan.
    pub cost: f64,
    /// Whether it goes first, to find out cheaply whether anything works.
    pub canary: bool,
}

impl Cell {
    /// Whether its arguments ask for the processor where there may be a GPU.
    pub fn wants_cpu(&self) -> bool {
        let args: Vec<&str> = self.args.lines().collect();
        args.contains(&"--device=cpu") || args.windows(2).any(|pair| pair == ["--device", "cpu"])
    }
}

/// Most jobs of one matrix of GitHub Actions.
pub const MOST_JOBS: usize = 256;

/// Most cells of a plan: a matrix whose jobs are matrices holds no more.
pub const MOST_CELLS: usize = MOST_JOBS * MOST_JOBS;

/// Whether a text can be a cell's id: a part of file names and of artifact names.
pub fn is_cell_id(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=LONGEST_ID).contains(&text.len())
        && text.chars().all(fit)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Longest id of a cell, in bytes: file systems take 255, and artifacts put words around it.
pub const LONGEST_ID: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_part_of_a_file_name_and_nothing_else() {
        assert!(is_cell_id("sim-smoke-h100-0123456789ab"));
        for bad in ["", "a/b", "..", ".a", "a b", "a\n", "é", &"a".repeat(LONGEST_ID + 1)] {
            assert!(!is_cell_id(bad), "{bad:?}");
        }
    }
}
