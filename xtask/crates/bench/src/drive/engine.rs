//! Who makes the load: chosen before anything is touched, and the same for all runs of a target.

use std::path::{Path, PathBuf};

use domain::framework::{EngineChoice, Framework};
use domain::target::Target;
use load::Tokenizer;
use load::sglang::{self, FindError, Tool};
use skill::Plan;

use crate::failure::Failure;

/// What makes the load of one target.
#[derive(Clone, Debug)]
pub enum Engine {
    /// The engine built into servegate.
    Native,
    /// SGLang's Python tool.
    Sglang(Tool),
}

/// Chooses the engine of every target, and sees that what it needs is there.
pub async fn choose(plan: &Plan, python: Option<&Path>) -> Result<Vec<Engine>, Failure> {
    let mut engines: Vec<Engine> = Vec::new();
    for (at, target) in plan.targets().iter().enumerate() {
        // An experiment starts the same two targets again and again.
        let same = plan.targets()[..at].iter().position(|earlier| earlier == target);
        engines.push(match same {
            Some(same) => engines[same].clone(),
            None => {
                tokenizer(target)?;
                engine(plan.engine(), target, python).await?
            }
        });
    }
    Ok(engines)
}

async fn engine(
    choice: EngineChoice,
    target: &Target,
    python: Option<&Path>,
) -> Result<Engine, Failure> {
    match choice {
        EngineChoice::Native => Ok(Engine::Native),
        EngineChoice::Sglang => {
            find(python).await.map(Engine::Sglang).map_err(Failure::not_measured_hinted)
        }
        // The simulated server is there to try things out: no Python is started for it.
        // The tool cannot do without a field that `transformers serve` refuses.
        EngineChoice::Auto
            if matches!(target.framework, Framework::Sim | Framework::Transformers) =>
        {
            Ok(Engine::Native)
        }
        EngineChoice::Auto => match (find(python).await, python) {
            (Ok(tool), _) => Ok(Engine::Sglang(tool)),
            (Err(_), None) => Ok(Engine::Native),
            // Whoever names a Python expects it to be used.
            (Err(error), Some(_)) => Err(Failure::not_measured_hinted(error)),
        },
    }
}

async fn find(python: Option<&Path>) -> Result<Tool, FindError> {
    let candidates = match python {
        Some(python) => vec![python.to_path_buf()],
        None => vec![PathBuf::from("python3")],
    };
    sglang::find(&candidates).await
}

/// The tokenizer of a target: its folder's, or the one built in.
pub(super) fn tokenizer(target: &Target) -> Result<Tokenizer, Failure> {
    match &target.tokenizer {
        None => Ok(Tokenizer::embedded()),
        Some(folder) => Tokenizer::from_folder(folder).map_err(Failure::usage_hinted),
    }
}
