//! Answers a generation request: from its bytes to a job, and from the job's tokens to an answer.

use std::time::SystemTime;

use domain::timestamp::Timestamp;

use crate::app::App;
use crate::control;
use crate::driver::Ticket;
use crate::engine::{Finish, Job, Rejected, natural_length};
use crate::fault::{BadFault, Effect, Fault, FaultSpec, Instead, Middle, Strike};
use crate::generation::{Generation, Stall, stall};
use crate::http::{After, Connection, Request, Response, respond};
use crate::stream;
use crate::tokens;
use crate::truth::TruthEntry;
use crate::wire::{self, Ask, BadAsk, Delivery, Dialect, Progress, Reply};

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
enum NotAccepted {
    #[error(transparent)]
    BadAsk(#[from] BadAsk),
    #[error(transparent)]
    BadFault(#[from] BadFault),
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Answers a request on its connection.
pub(crate) async fn answer(
    app: &App,
    connection: &mut Connection,
    request: &Request,
    dialect: Dialect,
) -> After {
    if let Some(done_reason) = dialect.loads(&request.body) {
        let response = load_or_unload(app, dialect, done_reason);
        return respond(connection, &response, request.wants_close()).await;
    }
    let (generation, mut ticket) = match accept(app, request, dialect) {
        Ok(accepted) => accepted,
        Err(why) => {
            let response = error(dialect, 400, &why.to_string());
            return respond(connection, &response, request.wants_close()).await;
        }
    };
    if app.faults.port_closed() {
        app.close_port.notify_one();
    }
    let after = match before_answer(connection, &generation).await {
        Some(after) => after,
        None => match generation.delivery {
            Delivery::Stream => stream::run(app, connection, &generation, &mut ticket).await,
            Delivery::Whole => whole(app, connection, &generation, &mut ticket).await,
        },
    };
    if generation.strike.is_some() {
        // A fault saves the engine no work.
        ticket.detach();
    }
    after
}

/// A model that is unloaded takes its cache with it; while requests run it stays.
fn load_or_unload(app: &App, dialect: Dialect, done_reason: &str) -> Response {
    if wire::is_unload(done_reason) && app.driver.flush().is_err() {
        return error(dialect, 503, "server busy, please try again");
    }
    let now = Timestamp::from(SystemTime::now()).to_string();
    let (model, response) = (&app.config.model, "");
    Response::json(
        200,
        &serde_json::json!({
            "model": model,
            "created_at": now,
            "response": response,
            "done": true,
            "done_reason": done_reason,
        }),
    )
}

fn accept(
    app: &App,
    request: &Request,
    dialect: Dialect,
) -> Result<(Generation, Ticket), NotAccepted> {
    let ask = dialect.read(&request.body)?;
    let wished = request.header("x-sim-fault").map(wished_strike).transpose()?;
    let strike = wished.or(app.faults.next(app.clock.elapsed()));
    let (delivery, usage) = (ask.delivery, ask.usage);
    let prompt_tokens = u32::try_from(ask.prompt.len()).unwrap_or(u32::MAX);
    let job = job(app, ask);
    let output_tokens = job.output_tokens;
    let ticket = app.driver.submit(job)?;
    let recorder = app.truth.open(TruthEntry {
        seq: 0,
        index: request.header("x-request-index").and_then(|index| index.parse().ok()),
        path: request.path.clone(),
        received_ns: request.received_ns,
        prompt_tokens,
        cached_tokens: None,
        output_tokens,
        fault: strike.map(|strike| strike.fault.to_string()),
        events: Vec::new(),
        unrecorded_tokens: 0,
        done_ns: None,
        closed: false,
    });
    let reply = Reply {
        dialect,
        seq: recorder.seq(),
        model: app.config.model.clone(),
        created: Timestamp::from(SystemTime::now()),
        prompt_tokens,
        usage,
        skew: u32::from(strike.is_some_and(|strike| strike.fault == Fault::WrongUsage)),
    };
    let received_ns = request.received_ns;
    let close = request.wants_close();
    let generation =
        Generation { reply, recorder, received_ns, output_tokens, strike, close, delivery };
    Ok((generation, ticket))
}

/// The fault that a request wishes for itself in its header `x-sim-fault`.
fn wished_strike(header: &str) -> Result<Strike, BadFault> {
    let spec: FaultSpec = header.parse()?;
    match spec.fault.effect() {
        Effect::Instead(_) | Effect::Middle(_) | Effect::Shape => Ok(Strike::from(&spec)),
        Effect::Process => Err(BadFault::WholeProcess(spec.fault)),
    }
}

/// How much is generated: until the model ends the answer, at most to the limit.
fn job(app: &App, ask: Ask) -> Job {
    let room = (app.config.max_model_len as usize).saturating_sub(ask.prompt.len());
    let room = u32::try_from(room).unwrap_or(u32::MAX).max(1);
    let limit = ask.limit.unwrap_or(room);
    let seed = app.config.seed ^ ask.seed;
    let natural = if ask.may_stop {
        natural_length(&ask.prompt, seed, app.config.eos_probability)
    } else {
        None
    };
    let natural = natural.map(|tokens| tokens.max(ask.least)).filter(|tokens| *tokens <= limit);
    let (output_tokens, finish) =
        natural.map_or((limit, Finish::Length), |tokens| (tokens, Finish::Stop));
    Job { prompt: ask.prompt, output_tokens, finish }
}

/// The faults that come instead of an answer, or delay it.
async fn before_answer(connection: &mut Connection, generation: &Generation) -> Option<After> {
    let strike = generation.strike?;
    let instead = match strike.fault.effect() {
        Effect::Instead(instead) => instead,
        Effect::Middle(_) | Effect::Shape | Effect::Process => return None,
    };
    match instead {
        Instead::Reset => Some(After::Reset),
        Instead::Silence => {
            let stall = stall(connection, strike).await;
            (stall == Stall::Final).then_some(After::Close)
        }
        Instead::Status(status) => {
            let more_headers = if status == 429 { "retry-after: 1\r\n" } else { "" };
            let message = control::reason(status);
            let response = error(generation.reply.dialect, status, message);
            let response = Response { more_headers, ..response };
            Some(respond(connection, &response, generation.close).await)
        }
    }
}

fn error(dialect: Dialect, status: u16, message: &str) -> Response {
    let body = dialect.error_body(status, message);
    Response { status, content_type: "application/json", more_headers: "", body }
}

/// Answers with everything at once, when it is there.
async fn whole(
    app: &App,
    connection: &mut Connection,
    generation: &Generation,
    ticket: &mut Ticket,
) -> After {
    let Some(collected) = collect(app, connection, ticket).await else { return After::Close };
    generation.recorder.cached(collected.cached_tokens);
    let stalls = generation.is_struck_by(Fault::StallBeforeFirstToken)
        || generation.is_struck_by(Fault::StallMidStream);
    if let Some(strike) = generation.strike
        && stalls
        && stall(connection, strike).await == Stall::Final
    {
        return After::Close;
    }
    let empty = generation.is_struck_by(Fault::DoneOnly);
    let unended = generation.is_struck_by(Fault::MissingDone);
    let progress = Progress {
        piece: "",
        text: if empty { "" } else { &collected.text },
        tokens: if empty { 0 } else { generation.output_tokens },
        cached_tokens: collected.cached_tokens,
        finish: collected.finish.filter(|_| !unended),
        spent: generation.spent(app.clock.now_ns(), collected.first_token_ns),
    };
    let mut body = generation.reply.whole(&progress);
    if generation.is_struck_by(Fault::MalformedJson) {
        body.truncate(body.len() / 2);
    }
    let response = match generation.is_struck_by(Fault::ErrorMidStream) {
        true => error(generation.reply.dialect, 500, control::reason(500)),
        false => Response { status: 200, content_type: "application/json", more_headers: "", body },
    };
    send_whole(app, connection, generation, &response, progress.tokens).await
}

async fn send_whole(
    app: &App,
    connection: &mut Connection,
    generation: &Generation,
    response: &Response,
    tokens: u32,
) -> After {
    let bytes = response.bytes(generation.close);
    let half = bytes.len() - response.body.len() / 2;
    let cut = match generation.strike.and_then(Strike::middle) {
        Some(Middle::Reset) => Some(After::Reset),
        Some(Middle::Truncate) => Some(After::Close),
        Some(Middle::Crash) => {
            app.crash.notify_one();
            Some(After::Reset)
        }
        Some(Middle::Stall | Middle::Error | Middle::Malformed) | None => None,
    };
    let bytes = if cut.is_some() { &bytes[..half] } else { &bytes[..] };
    let began_ns = app.clock.now_ns();
    let written = match generation.is_struck_by(Fault::SlowDrip) {
        true => stream::drip(connection, bytes).await,
        false => connection.write(bytes).await,
    };
    match (written, cut) {
        (Err(_), _) => After::Close,
        (Ok(()), Some(after)) => after,
        (Ok(()), None) => {
            generation.recorder.sent(began_ns, tokens);
            generation.recorder.done();
            After::KeepOpen
        }
    }
}

/// All tokens of a job.
struct Collected {
    text: String,
    cached_tokens: u32,
    finish: Option<Finish>,
    first_token_ns: Option<u64>,
}

/// Waits for all tokens; `None` if the client left before.
async fn collect(app: &App, connection: &mut Connection, ticket: &mut Ticket) -> Option<Collected> {
    let (text, cached_tokens, finish) = (String::new(), 0, None);
    let mut collected = Collected { text, cached_tokens, finish, first_token_ns: None };
    while collected.finish.is_none() {
        let made = tokio::select! {
            token = ticket.next() => token?.made,
            () = connection.gone() => return None,
        };
        collected.first_token_ns.get_or_insert_with(|| app.clock.now_ns());
        collected.text.push_str(&tokens::word(made.position));
        collected.cached_tokens = made.cached_tokens;
        collected.finish = made.finish;
    }
    Some(collected)
}
