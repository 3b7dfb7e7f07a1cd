//! From what was typed to what is asked for: skills, targets, tokenizers. Reads, never writes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use domain::fleet::Cell;
use domain::framework::{EngineChoice, Framework};
use domain::gate::Rule;
use domain::target::Target;
use skill::{Plan, Request, Source, Step};

use crate::cli::{BenchArgs, StoreArgs, TargetArgs};
use crate::failure::Failure;
use crate::store::{StoreError, StoreUrl};

/// The skills that this binary was built with, for machines without a checkout.
const EMBEDDED: [(&str, &str); 3] = [
    (
        "builtin:gpu-health-check/skill.yaml",
        include_str!("../../../../skills/gpu-health-check/skill.yaml"),
    ),
    (
        "builtin:framework-setup/skill.yaml",
        include_str!("../../../../skills/framework-setup/skill.yaml"),
    ),
    (
        "builtin:benchmark-runner/skill.yaml",
        include_str!("../../../../skills/benchmark-runner/skill.yaml"),
    ),
];

/// A skill file is a page or two; this much of a larger one is enough to refuse it.
const SKILL_BYTES_READ: u64 = 1 << 20;

/// The skills of `folder`, or of `skills` here, or the ones built in.
pub fn skills(folder: Option<&Path>) -> Result<Vec<Source>, Failure> {
    match folder {
        Some(folder) => skills_in(folder),
        None if Path::new("skills").is_dir() => skills_in(Path::new("skills")),
        None => {
            let builtin =
                |(path, text): (&str, &str)| Source { path: path.into(), text: text.into() };
            Ok(EMBEDDED.map(builtin).into())
        }
    }
}

/// The gate's rule, as the skills have it.
pub fn rule(folder: Option<&Path>) -> Result<Rule, Failure> {
    let skills = skill::skills(&skills(folder)?).map_err(Failure::usage)?;
    let mut concluding = skills.iter().flat_map(|skill| &skill.conclude);
    let rule = concluding.find_map(Step::as_judge).cloned();
    rule.ok_or_else(|| Failure::usage(anyhow!("no skill has a step `judge`")))
}

/// The store of baselines that was asked for, if one was. An empty text is what a workflow hands
/// over where nothing was filled in.
pub fn store(args: &StoreArgs) -> Result<Option<StoreUrl>, Failure> {
    let typed = args.store.as_deref().filter(|typed| !typed.trim().is_empty());
    let url = typed.map(str::parse).transpose();
    url.map_err(|error| Failure::usage(StoreError::NotAStore(error)))
}

/// The cells of a fleet's plan; its profiles are those of the skills.
pub fn cells(plan: &Path, folder: Option<&Path>) -> Result<Vec<Cell>, Failure> {
    let plan = source(plan)?;
    let skills = skill::skills(&skills(folder)?).map_err(Failure::usage)?;
    let profiles = skills.iter().flat_map(|skill| &skill.profiles);
    let profiles: Vec<&str> = profiles.map(|profile| profile.name.as_str()).collect();
    skill::fleet::cells(&plan, &profiles).map_err(Failure::usage)
}

/// Every `skill.yaml` in the sub-folders of a folder, by name.
pub fn skills_in(folder: &Path) -> Result<Vec<Source>, Failure> {
    let listing = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder of skills `{}`", folder.display()))
        .map_err(Failure::usage)?;
    let mut files: Vec<PathBuf> = listing
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("skill.yaml"))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        let error = anyhow!("no skill in `{}`", folder.display());
        let hint = format!("put each skill into `{}/NAME/skill.yaml`", folder.display());
        return Err(Failure::usage(error).with_hint(hint));
    }
    files.iter().map(|file| source(file)).collect()
}

fn source(file: &Path) -> Result<Source, Failure> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(SKILL_BYTES_READ).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read `{}`", file.display()))
        .map_err(Failure::usage)?;
    // Bytes that are no text are shown as such, and refused by the reader of skills.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Source { path: file.display().to_string(), text })
}

/// What `bench` is asked for, and the plan that it gives.
pub fn plan(args: &BenchArgs) -> Result<(Request, Plan), Failure> {
    check_files(args)?;
    let request = Request {
        skills: skills(args.places.skills.as_deref())?,
        targets: targets(&args.target, Prompts::Counted)?,
        profiles: args.run.profiles.clone(),
        runs: args.run.runs,
        engine: args.run.engine,
        overrides: args.load.overrides(),
        experiment: None,
    };
    let plan = skill::resolve(&request).map_err(Failure::usage)?;
    Ok((request, plan))
}

/// What is named on the command line and is not there is found before anything is touched.
fn check_files(args: &BenchArgs) -> Result<(), Failure> {
    let files = [("dataset", &args.load.dataset_path), ("baseline", &args.judge.baseline)];
    for (what, file) in files {
        if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
            return Err(Failure::usage(anyhow!("there is no {what} file `{}`", file.display())));
        }
    }
    if args.run.engine == EngineChoice::Native && args.run.python.is_some() {
        let error =
            anyhow!("`--python` names a Python for SGLang's load tool, but the engine is native");
        return Err(Failure::usage(error).with_hint("leave out one of the two".to_owned()));
    }
    if let Some(url) = &args.target.url {
        serve::check_url(url).map_err(Failure::usage_hinted)?;
    }
    Ok(())
}

/// Whether prompts are to be counted, for which a tokenizer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompts {
    /// A load is sent.
    Counted,
    /// Nothing but the readiness ladder's own requests.
    None,
}

/// The targets of the command line.
pub fn targets(args: &TargetArgs, prompts: Prompts) -> Result<Vec<Target>, Failure> {
    args.frameworks.iter().map(|framework| target(args, *framework, prompts)).collect()
}

fn target(args: &TargetArgs, framework: Framework, prompts: Prompts) -> Result<Target, Failure> {
    let model = last(&args.models, framework);
    check_target(args, framework, model.as_deref())?;
    let tokenizer = match prompts {
        Prompts::Counted => tokenizer(args, framework, model.as_deref())?,
        Prompts::None => None,
    };
    Ok(Target {
        framework,
        model,
        served_model_name: args.served_model_name.clone(),
        tokenizer,
        url: args.url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        port: args.port,
        device: args.device,
        executable: last(&args.executables, framework).map(PathBuf::from),
        server_args: meant_for(&args.server_args, framework).collect(),
    })
}

fn check_target(
    args: &TargetArgs,
    framework: Framework,
    model: Option<&str>,
) -> Result<(), Failure> {
    if args.url.is_some() && 1 < args.frameworks.len() {
        let given = args.frameworks.len();
        let error = anyhow!("`--url` names one server, but {given} frameworks were given");
        let hint = "attach to one framework at a time".to_owned();
        return Err(Failure::usage(error).with_hint(hint));
    }
    if framework == Framework::Openai && args.url.is_none() {
        let error = anyhow!("the framework `openai` can only be attached to");
        let hint = "give the server's base URL with `--url`".to_owned();
        return Err(Failure::usage(error).with_hint(hint));
    }
    if framework != Framework::Sim && args.url.is_none() && model.is_none() {
        let error = anyhow!("no model for `{framework}`");
        return Err(Failure::usage(error).with_hint("name one with `--model`".to_owned()));
    }
    Ok(())
}

/// The values that a framework is meant to get: those for all, and those that name it.
fn meant_for(values: &[String], framework: Framework) -> impl Iterator<Item = String> {
    values.iter().filter_map(move |value| {
        let named = value
            .split_once('=')
            .and_then(|(name, rest)| name.parse().ok().map(|named: Framework| (named, rest)));
        match named {
            Some((named, rest)) => (named == framework).then(|| rest.to_owned()),
            None => Some(value.clone()),
        }
    })
}

/// The last of the values that a framework is meant to get.
fn last(values: &[String], framework: Framework) -> Option<String> {
    meant_for(values, framework).last()
}

/// The tokenizer folder: the one given, else the model's own; only `sim` can do without.
fn tokenizer(
    args: &TargetArgs,
    framework: Framework,
    model: Option<&str>,
) -> Result<Option<PathBuf>, Failure> {
    let has_tokenizer = |folder: &Path| folder.join("tokenizer.json").is_file();
    if let Some(folder) = last(&args.tokenizers, framework).map(PathBuf::from) {
        if has_tokenizer(&folder) {
            return Ok(Some(folder));
        }
        return Err(Failure::usage(anyhow!("no `tokenizer.json` in `{}`", folder.display())));
    }
    let model = model.map(PathBuf::from).filter(|model| has_tokenizer(model));
    match (model, framework) {
        (Some(folder), _) => Ok(Some(folder)),
        (None, Framework::Sim) => Ok(None),
        (None, _) => {
            let error =
                anyhow!("no tokenizer for `{framework}`: prompt lengths are counted in its tokens");
            let hint = "give the folder that holds the model's `tokenizer.json` with `--tokenizer`";
            Err(Failure::usage(error).with_hint(hint.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_for_all_frameworks_or_for_the_one_that_it_names() {
        let values = ["--speed=2", "vllm=--enforce-eager", "sim=--noise=0"].map(str::to_owned);
        let sim: Vec<_> = meant_for(&values, Framework::Sim).collect();
        assert_eq!(sim, ["--speed=2", "--noise=0"]);
        assert_eq!(last(&values, Framework::Vllm).unwrap(), "--enforce-eager");
        assert_eq!(last(&values, Framework::Sglang).unwrap(), "--speed=2");
    }
}
