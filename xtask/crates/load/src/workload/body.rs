//! Request bodies as the Python tool sends them, to the byte.

use std::str::FromStr;

use domain::framework::Wire;
use domain::profile::Compat;

use super::json::{self, Json};

/// What a request says to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
}

/// What the tool's flags say about bodies.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolBodies {
    /// The release whose bodies are sent.
    pub compat: Compat,
    /// Whether answers are streamed.
    pub stream: bool,
    /// Sampling temperature; SGLang's own format alone has it.
    pub temperature: f64,
    /// Nucleus sampling, sent if below 1; SGLang's own format alone has it.
    pub top_p: f64,
    /// What is asked about probabilities.
    pub logprobs: Logprobs,
    /// Ask for the experts that each token was routed to.
    pub return_routed_experts: bool,
    /// Fields that are put over all others.
    pub extra: Extra,
}

/// What is asked about probabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// Whether they are wanted.
    pub wanted: bool,
    /// So many likely tokens at each place.
    pub top: u32,
    /// Tokens whose probabilities are wanted at each place.
    pub token_ids: Option<Vec<i64>>,
    /// From which place of the prompt on; -1 is from its end.
    pub from: i64,
}

/// Further fields of every body, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra(Vec<(String, Json)>);

/// A text that is not a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum NotAnObject {
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
    /// It is JSON of another kind.
    #[error("it is not a JSON object")]
    Other,
}

impl Extra {
    /// No fields.
    pub const NONE: Self = Self(Vec::new());

    /// The same with one more field, put over one of that name.
    #[must_use]
    pub fn with(mut self, key: &str, value: Json) -> Self {
        json::set(&mut self.0, key.to_owned(), value);
        self
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }
}

impl FromStr for Extra {
    type Err = NotAnObject;

    fn from_str(text: &str) -> Result<Self, NotAnObject> {
        match serde_json::from_str(text)? {
            Json::Object(fields) => Ok(Self(fields)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => {
                Err(NotAnObject::Other)
            }
        }
    }
}

impl ToolBodies {
    /// What the newest release sends without any flag.
    pub const PLAIN: Self = Self {
        compat: Compat::NEWEST,
        stream: true,
        temperature: 0.0,
        top_p: 1.0,
        logprobs: Logprobs { wanted: false, top: 0, token_ids: None, from: -1 },
        return_routed_experts: false,
        extra: Extra::NONE,
    };

    /// The body of one request.
    pub(super) fn body(
        &self,
        wire: Wire,
        model: &str,
        prompt: &Prompt,
        output_len: u32,
        ignore_eos: bool,
    ) -> Vec<u8> {
        let ask = Asked { prompt, output_len, ignore_eos };
        let fields = match wire {
            Wire::SglangGenerate => self.native(&ask),
            Wire::OpenaiChat => self.openai(model, &ask, OpenAi::Chat),
            Wire::OpenaiCompletions | Wire::OllamaGenerate => {
                self.openai(model, &ask, OpenAi::Completions)
            }
        };
        Json::Object(fields).dump()
    }

    fn native(&self, ask: &Asked<'_>) -> Vec<(String, Json)> {
        let mut sampling = fields([
            ("temperature", Json::float(self.temperature)),
            ("max_new_tokens", Json::whole(ask.output_len)),
            ("ignore_eos", Json::Bool(ask.ignore_eos)),
        ]);
        if self.top_p < 1.0 {
            sampling.push(("top_p".to_owned(), Json::float(self.top_p)));
        }
        let prompt = match ask.prompt {
            Prompt::Text(_) => "text",
            Prompt::Ids(_) => "input_ids",
        };
        let mut body = fields([
            (prompt, ask.prompt.json()),
            ("sampling_params", Json::Object(sampling)),
            ("stream", Json::Bool(self.stream)),
            ("lora_path", Json::Null),
            ("return_logprob", Json::Bool(self.logprobs.wanted)),
        ]);
        if self.compat.at_least([0, 5, 7]) {
            let wanted = Json::Bool(self.return_routed_experts);
            body.push(("return_routed_experts".to_owned(), wanted));
        }
        body.push(("logprob_start_len".to_owned(), Json::whole(self.logprobs.from)));
        put_over(&mut body, &self.extra);
        if 0 < self.logprobs.top {
            put(&mut body, "top_logprobs_num", Json::whole(self.logprobs.top));
        }
        if let Some(ids) = &self.logprobs.token_ids {
            let ids = ids.iter().map(|id| Json::whole(*id)).collect();
            put(&mut body, "token_ids_logprob", Json::List(ids));
        }
        body
    }

    /// Both of OpenAI's formats. Up to 0.5.8 the temperature stood before the limits.
    fn openai(&self, model: &str, ask: &Asked<'_>, format: OpenAi) -> Vec<(String, Json)> {
        let mut body = fields([("model", Json::Text(model.to_owned()))]);
        body.extend(match format {
            OpenAi::Completions => fields([("prompt", ask.prompt.json())]),
            OpenAi::Chat => fields([("messages", ask.prompt.messages())]),
        });
        let temperature = fields([("temperature", Json::float(0.0))]);
        let ignore_eos = fields([("ignore_eos", Json::Bool(ask.ignore_eos))]);
        let limits = self.limits(ask, format);
        if self.compat.at_least([0, 5, 9]) {
            body.extend(limits);
            let usual = temperature.into_iter().chain(ignore_eos);
            body.extend(usual.filter(|(key, _)| !self.extra.has(key)));
            if format == OpenAi::Completions && self.logprobs.wanted && 0 < self.logprobs.top {
                put(&mut body, "logprobs", Json::whole(self.logprobs.top));
            }
        } else {
            body.extend(temperature);
            body.extend(limits);
            if format == OpenAi::Completions || self.compat.at_least([0, 5, 4]) {
                body.extend(ignore_eos);
            }
        }
        put_over(&mut body, &self.extra);
        body
    }

    fn limits(&self, ask: &Asked<'_>, format: OpenAi) -> Vec<(String, Json)> {
        let most = match format {
            OpenAi::Chat if self.compat.at_least([0, 5, 4]) => "max_completion_tokens",
            OpenAi::Completions | OpenAi::Chat => "max_tokens",
        };
        let mut limits = match format {
            OpenAi::Completions => fields([("best_of", Json::whole(1))]),
            OpenAi::Chat => Vec::new(),
        };
        put(&mut limits, most, Json::whole(ask.output_len));
        put(&mut limits, "stream", Json::Bool(self.stream));
        limits
    }
}

/// What is asked of one request.
struct Asked<'a> {
    prompt: &'a Prompt,
    output_len: u32,
    ignore_eos: bool,
}

/// One of OpenAI's formats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenAi {
    Completions,
    Chat,
}

impl Prompt {
    fn json(&self) -> Json {
        match self {
            Self::Text(text) => Json::Text(text.clone()),
            Self::Ids(ids) => Json::List(ids.iter().map(|id| Json::whole(*id)).collect()),
        }
    }

    fn messages(&self) -> Json {
        let message = fields([("role", Json::Text("user".to_owned())), ("content", self.json())]);
        Json::List(vec![Json::Object(message)])
    }
}

fn fields<const N: usize>(fields: [(&str, Json); N]) -> Vec<(String, Json)> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn put(body: &mut Vec<(String, Json)>, key: &str, value: Json) {
    json::set(body, key.to_owned(), value);
}

fn put_over(body: &mut Vec<(String, Json)>, extra: &Extra) {
    for (key, value) in &extra.0 {
        put(body, key, value.clone());
    }
}
