//! The plan of a fleet: frameworks × models × profiles × runners, from a YAML file to its cells.
//!
//! The file is read as strictly as a skill: every fault at once, with line and hint. Nothing here
//! looks at a runner, and no text of the file reaches a shell: each cell has its arguments one a
//! line, and a text with a control character is refused.

mod check;
mod entry;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use domain::fleet::{Cell, LONGEST_ID};
use domain::framework::Framework;
use domain::units::Span;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::decode::{Document, decode};
use crate::document::Form;
use crate::fault::Faults;
use crate::reporter::Reporter;
use crate::request::Source;

/// The plan of a fleet, as the file has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetPlan {
    /// Version of the format.
    pub version: u32,
    /// What it is for, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// What is measured.
    #[serde(deserialize_with = "entry::list")]
    pub frameworks: Vec<FrameworkEntry>,
    /// The models that are served.
    #[serde(deserialize_with = "entry::list")]
    pub models: Vec<ModelEntry>,
    /// The loads.
    #[serde(deserialize_with = "entry::list")]
    pub profiles: Vec<ProfileEntry>,
    /// Where it is measured.
    #[serde(deserialize_with = "entry::list")]
    pub runners: Vec<RunnerEntry>,
    /// Cells that are left out.
    #[serde(default)]
    pub exclude: Vec<Selector>,
    /// The cell that goes first: the cheapest of those selected; of all, if none is.
    #[serde(default)]
    pub canary: Option<Selector>,
    /// In which order the others follow.
    #[serde(default = "cheapest_first")]
    pub order: Order,
    /// Repeats of each profile.
    #[serde(default = "one")]
    pub runs: u32,
    /// How long a job may take.
    #[serde(default = "an_hour_and_a_half")]
    pub timeout: Span,
    /// Further arguments of `servegate bench` for every cell.
    #[serde(default)]
    pub bench_args: Vec<String>,
}

/// One framework, or one way to run it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkEntry {
    /// Its name in the plan.
    pub name: String,
    /// The framework, if `name` is not one.
    #[serde(default)]
    pub framework: Option<Framework>,
    /// Program that starts it.
    #[serde(default)]
    pub executable: Option<String>,
    /// Running server to attach to.
    #[serde(default)]
    pub url: Option<String>,
    /// Arguments passed to it as they are.
    #[serde(default)]
    pub server_args: Vec<String>,
    /// Factor of the cost.
    #[serde(default = "plain_cost")]
    pub cost: f64,
    /// Further arguments of `servegate bench`.
    #[serde(default)]
    pub bench_args: Vec<String>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name in the plan.
    pub name: String,
    /// What is served, if that is not `name`: a path, a hub id or a tag.
    #[serde(default)]
    pub model: Option<String>,
    /// Folder with its tokenizer.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// The frameworks of the plan that serve it; all of them, if none is named.
    #[serde(default)]
    pub frameworks: Vec<String>,
    /// Factor of the cost.
    #[serde(default = "plain_cost")]
    pub cost: f64,
    /// Further arguments of `servegate bench`.
    #[serde(default)]
    pub bench_args: Vec<String>,
}

/// One load profile of the skills.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileEntry {
    /// Its name in the skills.
    pub name: String,
    /// How long a job with it may take, if not as long as the others.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Factor of the cost.
    #[serde(default = "plain_cost")]
    pub cost: f64,
    /// Further arguments of `servegate bench`.
    #[serde(default)]
    pub bench_args: Vec<String>,
}

/// One kind of runner.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerEntry {
    /// Its name in the plan.
    pub name: String,
    /// The labels that a runner must have; `name` alone, if none is given.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Product name of its GPU: a cell that ran on another one is refused.
    #[serde(default)]
    pub gpu: Option<String>,
    /// Factor of the cost.
    #[serde(default = "plain_cost")]
    pub cost: f64,
    /// Further arguments of `servegate bench`.
    #[serde(default)]
    pub bench_args: Vec<String>,
}

/// Chooses cells by the names of their parts; what it does not name may be anything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Names of frameworks.
    #[serde(default, deserialize_with = "entry::one_or_many")]
    pub framework: Vec<String>,
    /// Names of models.
    #[serde(default, deserialize_with = "entry::one_or_many")]
    pub model: Vec<String>,
    /// Names of profiles.
    #[serde(default, deserialize_with = "entry::one_or_many")]
    pub profile: Vec<String>,
    /// Names of runners.
    #[serde(default, deserialize_with = "entry::one_or_many")]
    pub runner: Vec<String>,
}

/// In which order cells follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// What fails is known early.
    CheapestFirst,
    /// The fleet is done early.
    DearestFirst,
    /// As the file has its lists.
    AsWritten,
}

const fn cheapest_first() -> Order {
    Order::CheapestFirst
}

const fn one() -> u32 {
    1
}

const fn plain_cost() -> f64 {
    1.0
}

/// Long enough for a model to be loaded and measured three times.
const fn an_hour_and_a_half() -> Span {
    Span(std::time::Duration::from_secs(90 * 60))
}

impl Document for FleetPlan {
    const FORM: Form = Form {
        noun: "plan",
        begin: "begin with `version: 1`, `frameworks: …`, `models: …`, `profiles: …` and `runners: …`",
    };
}

/// Digits of the digest in an id: two cells of one name meet by chance once in 2^48.
const DIGEST_DIGITS: usize = 12;

/// Reads a plan and gives its cells in the order in which they are to start, the canary first.
/// `profiles` are the names of those that there are.
///
/// # Errors
///
/// Every fault of the file, at once.
pub fn cells(source: &Source, profiles: &[&str]) -> Result<Vec<Cell>, Faults> {
    let (decoded, mut faults) = decode::<FleetPlan>(&source.path, &source.text);
    if let Some(decoded) = &decoded {
        check::plan(
            &decoded.content,
            profiles,
            &mut Reporter::new(&source.path, decoded, &mut faults),
        );
    }
    Faults::none_of(faults)?;
    Ok(decoded.map_or_else(Vec::new, |decoded| decoded.content.cells()))
}

/// The parts that a cell is made of.
#[derive(Clone, Copy)]
struct Parts<'a> {
    framework: &'a FrameworkEntry,
    model: &'a ModelEntry,
    profile: &'a ProfileEntry,
    runner: &'a RunnerEntry,
}

impl FleetPlan {
    /// The combinations that are measured, as the file has its lists.
    fn combinations(&self) -> Vec<Parts<'_>> {
        let mut all = Vec::new();
        for framework in &self.frameworks {
            for model in self.models.iter().filter(|model| model.is_served_by(framework)) {
                for profile in &self.profiles {
                    let parts = self.runners.iter();
                    let parts = parts.map(|runner| Parts { framework, model, profile, runner });
                    all.extend(parts.filter(|parts| !self.leaves_out(*parts)));
                }
            }
        }
        all
    }

    fn leaves_out(&self, parts: Parts<'_>) -> bool {
        self.exclude.iter().any(|selector| selector.selects(parts))
    }

    fn cells(&self) -> Vec<Cell> {
        let mut parts = self.combinations();
        let canary = self.canary(&parts);
        if let Some(canary) = canary {
            let first = parts.remove(canary);
            self.sort(&mut parts);
            parts.insert(0, first);
        }
        let cells = parts.into_iter().enumerate();
        cells.map(|(at, parts)| self.cell(parts, at == 0)).collect()
    }

    /// Position of the canary: the first of the cheapest that are selected.
    fn canary(&self, parts: &[Parts<'_>]) -> Option<usize> {
        let chosen = |parts: &Parts<'_>| {
            self.canary.as_ref().is_none_or(|selector| selector.selects(*parts))
        };
        let candidates = parts.iter().enumerate().filter(|(_, parts)| chosen(parts));
        candidates.min_by(|(_, a), (_, b)| a.cost().total_cmp(&b.cost())).map(|(at, _)| at)
    }

    fn sort(&self, parts: &mut [Parts<'_>]) {
        // Stable: cells of one cost stay as the file has them.
        parts.sort_by(|a, b| match self.order {
            Order::CheapestFirst => a.cost().total_cmp(&b.cost()),
            Order::DearestFirst => b.cost().total_cmp(&a.cost()),
            Order::AsWritten => Ordering::Equal,
        });
    }

    fn cell(&self, parts: Parts<'_>, canary: bool) -> Cell {
        let Parts { framework, model, profile, runner } = parts;
        let args = self.args(parts).join("\n");
        let labels = if runner.labels.is_empty() {
            vec![runner.name.clone()]
        } else {
            runner.labels.clone()
        };
        let names = [&framework.name, &model.name, &profile.name, &runner.name];
        let labelled = labels.join("\n");
        let measured = [&args, &runner.name, &labelled].map(String::as_str);
        let gpu = runner.gpu.as_deref().unwrap_or_default();
        let timeout = profile.timeout.unwrap_or(self.timeout).0.as_secs().div_ceil(60);
        Cell {
            id: id(&names, &[&measured[..], &[gpu]].concat()),
            title: format!("{}/{}/{} on {}", framework.name, model.name, profile.name, runner.name),
            framework: framework.framework(),
            model: model.served().to_owned(),
            profile: profile.name.clone(),
            runner: runner.name.clone(),
            labels,
            gpu: runner.gpu.clone(),
            args,
            timeout_minutes: u32::try_from(timeout).unwrap_or(u32::MAX),
            cost: parts.cost() * f64::from(self.runs),
            canary,
        }
    }

    /// Arguments of `servegate bench`.
    fn args(&self, parts: Parts<'_>) -> Vec<String> {
        let Parts { framework, model, profile, runner } = parts;
        let mut args = vec![format!("--framework={}", framework.framework())];
        args.push(format!("--model={}", model.served()));
        args.extend(model.tokenizer.iter().map(|folder| format!("--tokenizer={folder}")));
        args.extend(framework.executable.iter().map(|file| format!("--executable={file}")));
        args.extend(framework.url.iter().map(|url| format!("--url={url}")));
        args.extend(framework.server_args.iter().map(|arg| format!("--server-arg={arg}")));
        args.push(format!("--profile={}", profile.name));
        args.push(format!("--runs={}", self.runs));
        let further = [&framework.bench_args, &model.bench_args, &profile.bench_args];
        args.extend(self.bench_args.iter().cloned());
        args.extend(further.into_iter().chain([&runner.bench_args]).flatten().cloned());
        args
    }
}

/// The readable parts of a cell and a digest of what it measures.
fn id(names: &[&String; 4], measured: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in names.iter().map(|name| name.as_str()).chain(measured.iter().copied()) {
        // No text has a control character other than a line break.
        hash.update(text);
        hash.update([0]);
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let readable = names.map(|name| name.as_str()).join("-");
    // Names are plain ASCII, so that every byte is a character.
    let readable = &readable[..readable.len().min(LONGEST_ID - DIGEST_DIGITS - 1)];
    format!("{readable}-{}", &digest[..DIGEST_DIGITS])
}

impl Parts<'_> {
    fn cost(&self) -> f64 {
        self.framework.cost * self.model.cost * self.profile.cost * self.runner.cost
    }
}

impl FrameworkEntry {
    /// The framework; the file's check sees to it that there is one.
    fn framework(&self) -> Framework {
        self.framework.or_else(|| self.name.parse().ok()).unwrap_or(Framework::Openai)
    }
}

impl ModelEntry {
    fn served(&self) -> &str {
        self.model.as_ref().unwrap_or(&self.name)
    }

    fn is_served_by(&self, framework: &FrameworkEntry) -> bool {
        self.frameworks.is_empty() || self.frameworks.contains(&framework.name)
    }
}

impl Selector {
    fn selects(&self, parts: Parts<'_>) -> bool {
        let fits = |names: &[String], name: &String| names.is_empty() || names.contains(name);
        fits(&self.framework, &parts.framework.name)
            && fits(&self.model, &parts.model.name)
            && fits(&self.profile, &parts.profile.name)
            && fits(&self.runner, &parts.runner.name)
    }

    /// Each kind of part with the names that are given for it.
    fn parts(&self) -> [(&'static str, &[String]); 4] {
        [
            ("framework", &self.framework),
            ("model", &self.model),
            ("profile", &self.profile),
            ("runner", &self.runner),
        ]
    }
}
