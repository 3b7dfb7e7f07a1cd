//! A load profile: which requests are sent, and when.
//!
//! Fields bear the names of the Python tool's flags, so that a profile can be read beside its
//! documentation.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::names;

mod compat;
mod workload;

pub use compat::{Compat, NotCompatible};
pub use workload::{Conversations, GroupDistribution, PromptForm, SharedPrefix, Workload};

/// Where prompts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
    /// Texts of a ShareGPT-format file, cut or repeated to the drawn length.
    Random,
    /// Consecutive token ids from a drawn offset; needs no file.
    RandomIds,
    /// Groups of prompts that begin with the same drawn tokens; needs no file.
    GeneratedSharedPrefix,
    /// First turns of the conversations of a ShareGPT-format file, as long as they are.
    Sharegpt,
    /// The same of a file of JSON lines.
    Custom,
}

names!(Dataset, "dataset", {
    Random => "random",
    RandomIds => "random-ids",
    GeneratedSharedPrefix => "generated-shared-prefix",
    Sharegpt => "sharegpt",
    Custom => "custom",
});

/// How the gaps between requests are drawn when a rate is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Exponential gaps, as the Python tool draws them.
    Poisson,
    /// Equal gaps.
    Constant,
}

names!(Arrivals, "arrival process", { Poisson => "poisson", Constant => "constant" });

/// Requests a second; infinite means that all are due at once.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "RateText", into = "RateText")]
pub struct RequestRate(f64);

/// A text or number that is not a request rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a request rate; write a number of requests per second greater than 0, or `inf`"
)]
pub struct NotARate(String);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RateText {
    Number(f64),
    Text(String),
}

impl RequestRate {
    /// Everything at once.
    pub const INFINITE: Self = Self(f64::INFINITY);

    /// Requests per second, unless everything is due at once.
    pub fn per_second(self) -> Option<f64> {
        self.0.is_finite().then_some(self.0)
    }
}

impl FromStr for RequestRate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let rate = text.parse().ok().filter(|rate: &f64| 0.0 < *rate);
        rate.map(Self).ok_or_else(|| NotARate(text.to_owned()))
    }
}

impl TryFrom<RateText> for RequestRate {
    type Error = NotARate;

    fn try_from(rate: RateText) -> Result<Self, NotARate> {
        match rate {
            RateText::Number(number) => number.to_string().parse(),
            RateText::Text(text) => text.parse(),
        }
    }
}

impl From<RequestRate> for RateText {
    fn from(rate: RequestRate) -> Self {
        match rate.per_second() {
            Some(number) => Self::Number(number),
            None => Self::Text("inf".to_owned()),
        }
    }
}

impl JsonSchema for RequestRate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestRate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "requests per second, or `inf` for all at once",
            "oneOf": [{ "type": "number", "exclusiveMinimum": 0 }, { "const": "inf" }],
        })
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that fixes the load of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, used in file names.
    pub name: String,
    /// Where prompts come from.
    pub dataset_name: Dataset,
    /// File of conversations, for `random`, `sharegpt` and `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_path: Option<PathBuf>,
    /// Number of requests.
    pub num_prompts: u32,
    /// Longest prompt, in tokens.
    pub random_input_len: u32,
    /// Longest answer, in tokens.
    pub random_output_len: u32,
    /// Shortest length as a fraction of the longest, 0 to 1; 1 makes all lengths equal.
    pub random_range_ratio: f64,
    /// Requests a second.
    #[serde(default = "infinite")]
    pub request_rate: RequestRate,
    /// How the gaps between requests are drawn when a rate is set.
    #[serde(default = "poisson")]
    pub arrivals: Arrivals,
    /// Most requests in flight at once; none means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    /// Requests sent and thrown away before the measurement.
    #[serde(default = "one")]
    pub warmup_requests: u32,
    /// Seed of lengths, prompts and arrivals.
    #[serde(default = "forty_two")]
    pub seed: u32,
    /// Ask the server to go on to the full length past an end-of-sequence token.
    #[serde(default = "yes")]
    pub ignore_eos: bool,
    /// What only some datasets need, and which version of the Python tool is followed.
    #[serde(default = "usual", skip_serializing_if = "Workload::is_usual")]
    pub workload: Workload,
}

// The defaults are those of the Python tool, 0.5.14 and later.
const fn infinite() -> RequestRate {
    RequestRate::INFINITE
}
const fn poisson() -> Arrivals {
    Arrivals::Poisson
}
const fn one() -> u32 {
    1
}
const fn forty_two() -> u32 {
    42
}
const fn yes() -> bool {
    true
}
const fn usual() -> Workload {
    Workload::USUAL
}

/// What the command line changes in every profile of a session. An absent field changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadOverrides {
    /// See [`Profile::dataset_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_name: Option<Dataset>,
    /// See [`Profile::dataset_path`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_path: Option<PathBuf>,
    /// See [`Profile::num_prompts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_prompts: Option<u32>,
    /// See [`Profile::random_input_len`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_input_len: Option<u32>,
    /// See [`Profile::random_output_len`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_output_len: Option<u32>,
    /// See [`Profile::random_range_ratio`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_range_ratio: Option<f64>,
    /// See [`Profile::request_rate`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<RequestRate>,
    /// See [`Profile::arrivals`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// See [`Profile::max_concurrency`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    /// See [`Profile::warmup_requests`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_requests: Option<u32>,
    /// See [`Profile::seed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// See [`Profile::ignore_eos`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
}

impl Profile {
    /// The profile with what the command line changed in it.
    #[must_use]
    pub fn with(self, changes: &LoadOverrides) -> Self {
        Self {
            name: self.name,
            dataset_name: changes.dataset_name.unwrap_or(self.dataset_name),
            dataset_path: changes.dataset_path.clone().or(self.dataset_path),
            num_prompts: changes.num_prompts.unwrap_or(self.num_prompts),
            random_input_len: changes.random_input_len.unwrap_or(self.random_input_len),
            random_output_len: changes.random_output_len.unwrap_or(self.random_output_len),
            random_range_ratio: changes.random_range_ratio.unwrap_or(self.random_range_ratio),
            request_rate: changes.request_rate.unwrap_or(self.request_rate),
            arrivals: changes.arrivals.unwrap_or(self.arrivals),
            max_concurrency: changes.max_concurrency.or(self.max_concurrency),
            warmup_requests: changes.warmup_requests.unwrap_or(self.warmup_requests),
            seed: changes.seed.unwrap_or(self.seed),
            ignore_eos: changes.ignore_eos.unwrap_or(self.ignore_eos),
            workload: self.workload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_positive_number_or_inf() {
        assert_eq!("inf".parse(), Ok(RequestRate::INFINITE));
        assert_eq!("2.5".parse::<RequestRate>().unwrap().per_second(), Some(2.5));
        for wrong in ["0", "-1", "NaN", "fast"] {
            assert!(wrong.parse::<RequestRate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_infinite_rate_is_strict_json() {
        let text = serde_json::to_string(&RequestRate::INFINITE).unwrap();
        assert_eq!(text, "\"inf\"");
        assert_eq!(serde_json::from_str::<RequestRate>(&text).unwrap(), RequestRate::INFINITE);
    }
}
