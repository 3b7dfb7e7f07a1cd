//! What a request is answered with.

use std::sync::Arc;

use super::connection::Answer;
use super::script::{Kind, Script};
use super::server::Server;
use super::truth::Answered;
use crate::control;
use crate::http::{Request, Response};
use crate::wire::{BadAsk, Delivery, Dialect};

impl Server {
    /// The answer to a request whose last byte arrived at `arrived_ns`.
    pub(super) fn answer(&mut self, request: &Request, arrived_ns: Option<u64>) -> Answer {
        let response = match (Dialect::at(&request.path), request.path.as_str()) {
            (Some(dialect), _) if request.method == "POST" => {
                match self.generation(dialect, request, arrived_ns) {
                    Ok(answer) => return answer,
                    Err(why) => {
                        let body = dialect.error_body(400, &why.to_string());
                        Response { body, ..Response::json(400, &()) }
                    }
                }
            }
            (Some(_), _) => control::error(405, "this path takes POST"),
            (None, "/sim/truth.bin") => return self.truth(request),
            (None, "/sim/truth") => {
                control::error(404, "a server with a fixed schedule has `/sim/truth.bin` instead")
            }
            (None, _) => control::answer_at_once(&self.app, request)
                .unwrap_or_else(|| Response::text(200, "")),
        };
        now(response.bytes(request.wants_close()), request)
    }

    fn generation(
        &mut self,
        dialect: Dialect,
        request: &Request,
        arrived_ns: Option<u64>,
    ) -> Result<Answer, BadAsk> {
        if matches!(dialect, Dialect::OllamaGenerate | Dialect::OllamaChat) {
            // Its answers tell how long they took, which bytes made in advance cannot.
            return Err(BadAsk::new("a fixed schedule is not served in Ollama's format"));
        }
        let ask = dialect.read(&request.body)?;
        let config = &self.app.config;
        let prompt_tokens = u32::try_from(ask.prompt.len()).unwrap_or(u32::MAX);
        let room = config.max_model_len.saturating_sub(prompt_tokens).max(1);
        let output_tokens = ask.limit.unwrap_or(room).min(room);
        let (delivery, usage, close) = (ask.delivery, ask.usage, request.wants_close());
        let kind = Kind { dialect, delivery, usage, prompt_tokens, output_tokens, close };
        let script = self.scripts.get(kind, &config.model);
        let tokens_at_once = match delivery {
            Delivery::Stream => 1,
            Delivery::Whole => output_tokens,
        };
        let wait = self.schedule.ttft + self.schedule.gap * (tokens_at_once - 1);
        let received_ns = self.app.clock.now_ns();
        let due_ns = received_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let record = Answered {
            index: request.header("x-request-index").and_then(|index| index.parse().ok()),
            arrived_ns,
            received_ns,
            done_ns: None,
            prompt_tokens,
            output_tokens,
            writes: Vec::with_capacity(script.events()),
        };
        Ok(Answer::new(script, due_ns, close, Some(record)))
    }

    fn truth(&mut self, request: &Request) -> Answer {
        let (status, body) = match request.method.as_str() {
            "GET" => {
                let clock = self.app.clock;
                let (offset, cpu) = (clock.realtime_offset_ns(), super::server::cpu_ns());
                (200, self.log.encode(offset, clock.now_ns(), cpu))
            }
            "DELETE" => {
                self.log.clear();
                (200, Vec::new())
            }
            _ => (405, Vec::new()),
        };
        let head = Response::text(status, "");
        let head = Response { content_type: "application/octet-stream", ..head };
        let mut bytes = head.head_bytes(body.len(), request.wants_close());
        bytes.extend(body);
        now(bytes, request)
    }
}

/// An answer that is due at once and is not recorded.
fn now(bytes: Vec<u8>, request: &Request) -> Answer {
    Answer::new(Arc::new(Script::whole(bytes)), 0, request.wants_close(), None)
}
