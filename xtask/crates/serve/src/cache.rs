//! Emptying the prefix cache, in each framework's own way, with the answer checked: a server may
//! refuse while requests run.

use serde_json::{Value, json};

use crate::control::{Answer, Endpoint, NoAnswer};
use crate::frameworks::{Flush, traits};
use crate::look::{Look, Time};

/// Tries once.
pub(crate) async fn flush_once(endpoint: &Endpoint, model: &str, time: &Time) -> Look {
    let tried = match traits(endpoint.framework()).flush {
        Flush::Post(path) => post(endpoint, path, time).await,
        Flush::ResetPrefixCache => reset_prefix_cache(endpoint, time).await,
        Flush::EraseSlots => erase_slots(endpoint, time).await,
        Flush::Reload => reload(endpoint, model, time).await,
        Flush::Impossible(why) => Ok(Look::not_available(why)),
    };
    tried.unwrap_or_else(|error| Look::Again(error.to_string()))
}

async fn post(endpoint: &Endpoint, path: &str, time: &Time) -> Result<Look, NoAnswer> {
    let answer = endpoint.post(path, None, time.request()).await?;
    Ok(match answer.status {
        200 => Look::passed(format!("`{path}` answers 200")),
        404 | 405 => Look::not_available(format!("the server has no `{path}`")),
        // SGLang answers 400 as long as requests run or wait.
        _ => Look::Again(answer.shown()),
    })
}

async fn reset_prefix_cache(endpoint: &Endpoint, time: &Time) -> Result<Look, NoAnswer> {
    let path = "/reset_prefix_cache";
    let answer = endpoint.post(path, None, time.request()).await?;
    let refused = answer.json().is_some_and(|body| body["success"] == Value::Bool(false));
    Ok(match answer.status {
        // The answer is 200 with `false` while blocks are held.
        200 if refused => Look::Again("blocks of the cache are still in use".to_owned()),
        200 => Look::passed(format!("`{path}` answers 200")),
        404 | 405 => Look::not_available(
            "vLLM offers it only when started with the variable `VLLM_SERVER_DEV_MODE=1`",
        ),
        _ => Look::Again(answer.shown()),
    })
}

async fn erase_slots(endpoint: &Endpoint, time: &Time) -> Result<Look, NoAnswer> {
    let answer = endpoint.get("/slots", time.request()).await?;
    let Some(slots) = answer.is_ok().then(|| slot_ids(&answer)).flatten() else {
        return Ok(unavailable_or_again(&answer));
    };
    for slot in &slots {
        let path = format!("/slots/{slot}?action=erase");
        let answer = endpoint.post(&path, None, time.request()).await?;
        if !answer.is_ok() {
            return Ok(unavailable_or_again(&answer));
        }
    }
    Ok(Look::passed(format!("{} slots erased", slots.len())))
}

/// llama.cpp says 501 for what was not switched on at its start, 404 for what it does not have.
fn unavailable_or_again(answer: &Answer) -> Look {
    match answer.status {
        404 | 501 => Look::not_available(answer.shown()),
        _ => Look::Again(answer.shown()),
    }
}

fn slot_ids(answer: &Answer) -> Option<Vec<u64>> {
    answer.json()?.as_array()?.iter().map(|slot| slot.get("id")?.as_u64()).collect()
}

/// Unloads the model and loads it again, to stay.
async fn reload(endpoint: &Endpoint, model: &str, time: &Time) -> Result<Look, NoAnswer> {
    for keep_alive in [0, -1] {
        let body = json!({"model": model, "keep_alive": keep_alive});
        // Loading takes what it takes, within the rung's time.
        let answer = endpoint.post("/api/generate", Some(&body), time.left()).await?;
        if !answer.is_ok() {
            return Ok(Look::Again(answer.shown()));
        }
    }
    Ok(Look::passed("the model was unloaded and loaded again"))
}
