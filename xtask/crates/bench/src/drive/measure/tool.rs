//! A run by SGLang's Python tool.

use domain::event::{FailureClass, StepFailure};
use domain::framework::Engine;
use load::sglang::{self, Files, Order, Tool};

use super::{Job, Raw, Yield};
use crate::drive::failed;

/// Runs the tool and reads what it printed and wrote.
pub(super) async fn make(job: &Job<'_>, tool: &Tool) -> Result<Yield, StepFailure> {
    let Some(tokenizer) = &job.target.tokenizer else {
        let error = anyhow::anyhow!("SGLang's load tool needs a tokenizer folder");
        let hint = Some("give one with `--tokenizer`, or use `--engine native`".to_owned());
        return Err(StepFailure { hint, ..failed(FailureClass::Client, error) });
    };
    let files = Files {
        raw: job.folder.join("tool.txt"),
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
        env: &[("SERVEGATE_SESSION".to_owned(), job.session.tag())],
    };
    let stop = job.stop.clone();
    let driven = sglang::drive(tool, &order, &files, job.verified, job.progress, stop).await;
    let driven = driven.map_err(|error| {
        let hint = error.hint();
        StepFailure { hint, ..failed(FailureClass::Client, error) }
    })?;
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
