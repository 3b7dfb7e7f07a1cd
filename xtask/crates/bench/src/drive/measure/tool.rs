//! A run by SGLang's Python tool.

use std::path::{Path, PathBuf};

use domain::event::{FailureClass, StepFailure};
use domain::framework::Engine;
use load::sglang::{self, Files, Order, Tool, ToolError, ToolFailureKind};

use super::{Job, Raw, Yield};
use crate::drive::{failed, failed_hinted};

/// Where the tool's raw output goes while it runs.
pub(super) fn raw_file(folder: &Path) -> PathBuf {
    folder.join("tool.txt")
}

/// Runs the tool and reads what it printed and wrote.
pub(super) async fn make(job: &Job<'_>, tool: &Tool) -> Result<Yield, StepFailure> {
    let Some(tokenizer) = &job.target.tokenizer else {
        let error = anyhow::anyhow!("SGLang's load tool needs a tokenizer folder");
        let hint = Some("give one with `--tokenizer`, or use `--engine native`".to_owned());
        return Err(StepFailure { hint, ..failed(FailureClass::Client, error) });
    };
    let files = Files {
        raw: raw_file(job.folder),
        jsonl: job.folder.join("tool.jsonl"),
        home: job.folder.join("home"),
    };
    let order = Order {
        base_url: job.endpoint.url(),
        model: &job.server.model,
        backend: job.backend,
        profile: &job.run.profile,
        seed: job.run.seed,
        tokenizer,
        capabilities: job.server.capabilities,
        deadline: job.measure.deadline.0,
        env: &[(serve::TAG.to_owned(), job.session.tag())],
    };
    let stop = job.stop.clone();
    let driven = sglang::drive(tool, &order, &files, job.verified, job.progress, stop).await;
    let driven = driven.map_err(|error| failed_hinted(class(&error), error))?;
    Ok(Yield {
        engine: Engine::Sglang,
        version: tool.version.to_string(),
        started: driven.started,
        finished: driven.finished,
        measurement: driven.report.measurement,
        request_set: None,
        records: driven.report.records,
        raw: Raw::File(files.raw),
    })
}

/// Whose failure it is that the tool gave no result.
fn class(error: &ToolError) -> FailureClass {
    match error {
        ToolError::Stopped { .. } => FailureClass::Interrupted,
        ToolError::Failed(failure) => match failure.kind {
            ToolFailureKind::ServerDown | ToolFailureKind::ServerLost => FailureClass::Server,
            ToolFailureKind::AllFailed | ToolFailureKind::WarmUpFailed => FailureClass::Requests,
            _ => FailureClass::Client,
        },
        ToolError::OtherServer { .. }
        | ToolError::Refused(_)
        | ToolError::InputMissing { .. }
        | ToolError::File { .. }
        | ToolError::Process { .. }
        | ToolError::TooMuchOutput { .. }
        | ToolError::Late { .. } => FailureClass::Client,
    }
}
