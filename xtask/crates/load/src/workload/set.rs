//! A finished request set.

use std::fmt::Write as _;
use std::time::Duration;

use domain::framework::Wire;
use sha2::{Digest as _, Sha256};

use super::body::{Prompt, ToolBodies};
use crate::answer::Delivery;
use crate::wire::{self, Ask};

/// One request of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Position in the set, from 0.
    pub index: u32,
    /// The prompt.
    pub prompt: Prompt,
    /// Tokens that the prompt was made of.
    pub prompt_len: u32,
    /// Tokens to generate.
    pub output_len: u32,
    /// When it is due, counted from the run's start.
    pub due: Duration,
}

/// The requests of a run, in the order in which they are due.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSet {
    requests: Vec<Request>,
    asked: u32,
    seed: u32,
    bodies: Option<ToolBodies>,
}

impl RequestSet {
    pub(super) const fn new(requests: Vec<Request>, asked: u32, seed: u32) -> Self {
        Self { requests, asked, seed, bodies: None }
    }

    /// The same requests, with the bodies that the Python tool sends instead of our own, which
    /// also ask for usage.
    #[must_use]
    pub fn with_bodies(self, bodies: ToolBodies) -> Self {
        Self { bodies: Some(bodies), ..self }
    }

    /// The requests, in the order in which they are due.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// How many requests the profile asked for; a small file gives fewer.
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// The seed that its prompts were drawn with.
    pub const fn seed(&self) -> u32 {
        self.seed
    }

    /// How answers are asked for.
    pub(crate) fn delivery(&self) -> Delivery {
        match &self.bodies {
            Some(bodies) if !bodies.stream => Delivery::Whole,
            Some(_) | None => Delivery::Streamed,
        }
    }

    /// Whether bodies are those of the Python tool, to the byte.
    pub(crate) const fn speaks_as_tool(&self) -> bool {
        self.bodies.is_some()
    }

    /// The body of a request.
    pub fn body(&self, wire: Wire, model: &str, request: &Request, ignore_eos: bool) -> Vec<u8> {
        let (prompt, output_len) = (&request.prompt, request.output_len);
        let own = |prompt| {
            wire::body(wire, &Ask { model, prompt, output_len, ignore_eos, seed: self.seed })
        };
        match (&self.bodies, prompt) {
            (None, Prompt::Text(text)) => own(text),
            // The tool has no client for Ollama.
            (Some(_), Prompt::Text(text)) if wire == Wire::OllamaGenerate => own(text),
            (Some(bodies), prompt) => bodies.body(wire, model, prompt, output_len, ignore_eos),
            (None, prompt @ Prompt::Ids(_)) => {
                ToolBodies::PLAIN.body(wire, model, prompt, output_len, ignore_eos)
            }
        }
    }

    /// SHA-256 over the prompts and lengths in order, in hexadecimal: equal work has an equal
    /// fingerprint. Due times are not in it, for they are part of the profile.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for request in &self.requests {
            // Every part has a length before it, so that no two sets give the same bytes.
            match &request.prompt {
                Prompt::Text(text) => {
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
                Prompt::Ids(ids) => {
                    hash.update((ids.len() as u64 | IDS).to_le_bytes());
                    ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
                }
            }
            hash.update(request.prompt_len.to_le_bytes());
            hash.update(request.output_len.to_le_bytes());
        }
        hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing into a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Marks a length as one of ids; no text is that long.
const IDS: u64 = 1 << 63;
