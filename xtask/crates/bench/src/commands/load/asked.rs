//! From the flags to what the engine is asked for.

use anyhow::anyhow;
use domain::framework::Backend;
use domain::profile::{Conversations, Profile, PromptForm, SharedPrefix, Workload};
use load::workload::{Json, Logprobs, ToolBodies};

use crate::cli::LoadArgs;
use crate::failure::Failure;

/// The profile that the flags describe.
pub(super) fn profile(args: &LoadArgs) -> Result<Profile, Failure> {
    let (data, pace) = (&args.data, &args.pace);
    if data.tokenize_prompt && args.server.backend != Backend::Sglang {
        let error = anyhow!("`--tokenize-prompt` goes with `--backend sglang` only");
        return Err(Failure::usage(error));
    }
    let path = Some(&data.dataset_path).filter(|path| !path.is_empty());
    Ok(Profile {
        name: "load".to_owned(),
        dataset_name: data.dataset_name,
        dataset_path: path.map(Into::into),
        num_prompts: data.num_prompts,
        random_input_len: data.random_input_len,
        random_output_len: data.random_output_len,
        random_range_ratio: data.random_range_ratio,
        request_rate: pace.request_rate,
        arrivals: pace.arrivals,
        // A limit of zero is none, as in Python.
        max_concurrency: pace.max_concurrency.filter(|limit| *limit != 0),
        warmup_requests: pace.warmup_requests,
        seed: data.seed.unwrap_or_else(|| data.compat.default_seed()),
        ignore_eos: !args.body.disable_ignore_eos,
        workload: workload(args),
    })
}

fn workload(args: &LoadArgs) -> Workload {
    let (data, gsp) = (&args.data, &args.gsp);
    Workload {
        compat: data.compat,
        prompts: if data.tokenize_prompt { PromptForm::Ids } else { PromptForm::Text },
        gsp: SharedPrefix {
            num_groups: gsp.num_groups,
            prompts_per_group: gsp.prompts_per_group,
            system_prompt_len: gsp.system_prompt_len,
            question_len: gsp.question_len,
            output_len: gsp.output_len,
            range_ratio: gsp.range_ratio,
            fast_prepare: gsp.fast_prepare,
            ordered: gsp.ordered,
            group_distribution: gsp.group_distribution,
            zipf_alpha: gsp.zipf_alpha,
        },
        sharegpt: Conversations {
            output_len: data.sharegpt_output_len,
            context_len: data.sharegpt_context_len,
            prompt_suffix: data.prompt_suffix.clone(),
        },
    }
}

/// What bodies say.
pub(super) fn bodies(args: &LoadArgs) -> ToolBodies {
    let body = &args.body;
    let extra = body.extra_request_body.clone().unwrap_or(load::workload::Extra::NONE);
    let asks_for_cache = args.result.cache_report
        && matches!(args.server.backend, Backend::SglangOai | Backend::SglangOaiChat);
    let extra = if asks_for_cache {
        extra.with("return_cached_tokens_details", Json::Bool(true))
    } else {
        extra
    };
    ToolBodies {
        compat: args.data.compat,
        stream: !body.disable_stream,
        temperature: body.temperature,
        top_p: body.top_p,
        logprobs: Logprobs {
            wanted: body.return_logprob,
            top: body.top_logprobs_num,
            token_ids: body.token_ids_logprob.clone(),
            from: body.logprob_start_len,
        },
        return_routed_experts: body.return_routed_experts,
        extra,
    }
}

/// Headers of every request: the authorisation of the environment, and those that were given.
pub(super) fn headers(args: &LoadArgs) -> Result<Vec<(String, String)>, Failure> {
    let key = |name: &str| std::env::var(name).ok().filter(|key| !key.is_empty());
    let bearer = key("OPENAI_API_KEY").map(|key| format!("Bearer {key}"));
    let value = bearer.or_else(|| key("API_KEY"));
    let mut headers: Vec<_> =
        value.map(|value| (AUTHORISATION.to_owned(), value)).into_iter().collect();
    for header in &args.server.header {
        match header.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.to_owned(), value.to_owned()));
            }
            Some(_) | None => {
                // The value may be a secret, so that only the name is shown.
                let name = header.split('=').next().unwrap_or_default();
                let error = anyhow!("header `{name}` has no name or no value");
                return Err(Failure::usage(error).with_hint("write `NAME=VALUE`".to_owned()));
            }
        }
    }
    Ok(headers)
}

/// The header that a server with keys wants.
pub(super) const AUTHORISATION: &str = "Authorization";
