//! Ollama: `ollama serve`, which is told everything through its environment.
//!
//! It runs llama.cpp's server as a child with the prompt cache always on, cannot be made to
//! generate an exact number of tokens, and loads a model with the first request for it.

use super::{
    About, Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, How, ModelList, Term,
    Traits, read, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    health_path: "/api/version",
    models: ModelList::Ollama,
    generation: Generation::Ollama,
    flush: Flush::Reload,
    activity: Activity::Untold,
    about: &[
        About { path: "/api/version", version: Some("version") },
        About { path: "/api/ps", version: None },
    ],
    terms: &[
        read(Term::Weights, "/api/ps", "/models/0/name", How::Plain),
        read(Term::Dtype, "/api/ps", "/models/0/details/quantization_level", How::Dtype),
        read(Term::Context, "/api/ps", "/models/0/context_length", How::Plain),
    ],
    cache_counter: CacheCounter::Untold,
};

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    super::model(spec)?;
    let conditions = &spec.conditions;
    let env = [
        ("OLLAMA_HOST", format!("127.0.0.1:{}", spec.port)),
        // Its own default is one request at a time.
        ("OLLAMA_NUM_PARALLEL", conditions.max_running_requests.to_string()),
        ("OLLAMA_CONTEXT_LENGTH", conditions.context_tokens.to_string()),
        // The model stays loaded between runs.
        ("OLLAMA_KEEP_ALIVE", "-1".to_owned()),
        ("OLLAMA_MAX_LOADED_MODELS", "1".to_owned()),
        ("OLLAMA_FLASH_ATTENTION", "1".to_owned()),
        ("OLLAMA_KV_CACHE_TYPE", "f16".to_owned()),
        ("OLLAMA_NO_CLOUD", "1".to_owned()),
    ];
    Ok(Command {
        program: spec.target.executable.clone().unwrap_or_else(|| "ollama".into()),
        args: words(&["serve"]),
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        files: vec![],
    })
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;

    use super::super::tests::{shown, spec};

    #[test]
    fn told_through_its_environment() {
        insta::assert_snapshot!(shown(&spec(Framework::Ollama)), @r"
        OLLAMA_CONTEXT_LENGTH=8192
        OLLAMA_FLASH_ATTENTION=1
        OLLAMA_HOST=127.0.0.1:30000
        OLLAMA_KEEP_ALIVE=-1
        OLLAMA_KV_CACHE_TYPE=f16
        OLLAMA_MAX_LOADED_MODELS=1
        OLLAMA_NO_CLOUD=1
        OLLAMA_NUM_PARALLEL=64
        ollama serve
        ");
    }
}
