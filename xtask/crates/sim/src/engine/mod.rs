//! The inference engine: continuous batching with chunked prefill, as a pure state machine.
//!
//! A step is begun, costs the time that [`Engine::begin`] says, and is finished, which gives its
//! tokens. The engine knows no clock and no socket: `driver` sleeps for it.

pub mod cost;
pub mod kv;
pub(crate) mod rng;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use cost::{CostModel, Work};
pub use kv::{BLOCK_TOKENS, KvCache, Lease};

use crate::config::Config;

/// Identifies a request within one engine, in order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Token ids of the prompt; at least one.
    pub prompt: Vec<u32>,
    /// Tokens to generate; at least one.
    pub output_tokens: u32,
    /// How the answer ends.
    pub finish: Finish,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The longest output that was allowed.
    Length,
    /// The model ended it.
    Stop,
}

/// A job that can never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is longer than the model's context.
    #[error("the request needs {needed} tokens, but the context length is {limit}")]
    Context {
        /// Prompt and output, in tokens.
        needed: u64,
        /// Context length, in tokens.
        limit: u64,
    },
    /// It is larger than the whole KV cache.
    #[error("the request needs {needed} tokens, but the KV cache holds {limit}")]
    KvCache {
        /// Prompt and output, in tokens.
        needed: u64,
        /// Room of the KV cache, in tokens.
        limit: u64,
    },
}

/// Requests run or wait, so that the prefix cache cannot be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{running} requests run and {waiting} wait")]
pub struct Busy {
    /// Requests that run.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
}

/// A step that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long it takes.
    pub cost: Duration,
    /// What it does.
    pub work: Work,
    decode: Vec<RequestId>,
    prefill: Vec<(RequestId, u32)>,
}

/// A token that a step made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Whose it is.
    pub id: RequestId,
    /// Its place in the answer, from 0.
    pub position: u32,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: u32,
    /// Set on the last one.
    pub finish: Option<Finish>,
}

/// How busy the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that run.
    pub running: usize,
    /// Requests that wait for room.
    pub waiting: usize,
    /// Tokens in the KV cache.
    pub kv_used: u64,
    /// Room of the KV cache, in tokens.
    pub kv_limit: u64,
}

/// Counters since the start, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Prompt tokens of admitted requests.
    pub prompt_tokens: u64,
    /// Prompt tokens of those that came from the prefix cache.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Requests that ran to their end.
    pub finished_requests: u64,
}

/// The engine.
#[derive(Clone, Debug)]
pub struct Engine {
    cost: CostModel,
    kv: KvCache,
    max_running: usize,
    max_context: u64,
    prefill_chunk: u32,
    waiting: VecDeque<(RequestId, Job)>,
    /// Ordered by id, which is the order of admission.
    running: BTreeMap<RequestId, Running>,
    submitted: u64,
    totals: Totals,
}

/// A request that was admitted.
#[derive(Clone, Debug)]
struct Running {
    job: Job,
    lease: Lease,
    /// Prompt tokens that are in the KV cache.
    prefilled: u32,
    /// Tokens generated.
    made: u32,
}

impl Running {
    fn prompt_tokens(&self) -> u32 {
        u32::try_from(self.job.prompt.len()).unwrap_or(u32::MAX)
    }

    fn to_prefill(&self) -> u32 {
        self.prompt_tokens() - self.prefilled
    }
}

impl Engine {
    /// An idle engine with an empty cache.
    pub fn new(config: &Config) -> Self {
        Self {
            cost: CostModel::new(config),
            kv: KvCache::new(u64::from(config.kv_tokens), config.prefix_cache),
            max_running: config.max_running as usize,
            max_context: u64::from(config.max_model_len),
            prefill_chunk: config.prefill_chunk_tokens,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            submitted: 0,
            totals: Totals::default(),
        }
    }

    /// Puts a job at the end of the queue.
    pub fn submit(&mut self, job: Job) -> Result<RequestId, Rejected> {
        let needed = job.prompt.len() as u64 + u64::from(job.output_tokens);
        if self.max_context < needed {
            return Err(Rejected::Context { needed, limit: self.max_context });
        }
        if self.kv.limit() < needed {
            return Err(Rejected::KvCache { needed, limit: self.kv.limit() });
        }
        let id = RequestId(self.submitted);
        self.submitted += 1;
        self.waiting.push_back((id, job));
        Ok(id)
    }

    /// Forgets a request, whether it waits or runs; unknown ids are ignored.
    pub fn abort(&mut self, id: RequestId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        if let Some(running) = self.running.remove(&id) {
            self.kv.release(&running.lease);
        }
    }

    /// Admits what fits and begins a step; `None` if there is nothing to do.
    ///
    /// `since_start` is the time since the server's start, for drift.
    pub fn begin(&mut self, since_start: Duration) -> Option<Step> {
        self.admit();
        let prefill = self.share_prefill();
        let done = |running: &&Running| running.to_prefill() == 0;
        let decoding = self.running.values().filter(done);
        let context = decoding.map(|r| u64::from(r.prompt_tokens()) + u64::from(r.made)).sum();
        let decode: Vec<RequestId> =
            self.running.iter().filter(|(_, r)| done(r)).map(|(id, _)| *id).collect();
        if decode.is_empty() && prefill.is_empty() {
            return None;
        }
        let work = Work {
            decoding: u32::try_from(decode.len()).unwrap_or(u32::MAX),
            context_tokens: context,
            prefill_tokens: prefill.iter().map(|(_, tokens)| tokens).sum(),
        };
        Some(Step { cost: self.cost.step(work, since_start), work, decode, prefill })
    }

    /// Ends a step: the tokens that it made, in order of admission.
    pub fn finish(&mut self, step: &Step) -> Vec<Made> {
        let mut made = Vec::with_capacity(step.decode.len() + step.prefill.len());
        for (id, tokens) in &step.prefill {
            let Some(running) = self.running.get_mut(id) else { continue };
            running.prefilled += tokens;
            if running.to_prefill() == 0 {
                self.kv.publish(&mut running.lease);
                made.extend(self.make_token(*id));
            }
        }
        for id in &step.decode {
            made.extend(self.make_token(*id));
        }
        made.sort_by_key(|token| token.id);
        made
    }

    /// Empties the prefix cache.
    pub fn flush(&mut self) -> Result<(), Busy> {
        let (running, waiting) = (self.running.len(), self.waiting.len());
        if running + waiting != 0 {
            return Err(Busy { running, waiting });
        }
        self.kv.flush();
        Ok(())
    }

    /// How busy it is.
    pub fn load(&self) -> Load {
        Load {
            running: self.running.len(),
            waiting: self.waiting.len(),
            kv_used: self.kv.used(),
            kv_limit: self.kv.limit(),
        }
    }

    /// Counters since the start.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// First come, first served: one that does not fit holds up all behind it.
    fn admit(&mut self) {
        while self.running.len() < self.max_running {
            let Some((_, job)) = self.waiting.front() else { return };
            let Some(lease) = self.kv.admit(&job.prompt, job.output_tokens) else { return };
            let Some((id, job)) = self.waiting.pop_front() else { return };
            self.totals.prompt_tokens += job.prompt.len() as u64;
            self.totals.cached_tokens += u64::from(lease.cached_tokens);
            let prefilled = lease.cached_tokens;
            self.running.insert(id, Running { job, lease, prefilled, made: 0 });
        }
    }

    /// Shares the step's prefill budget out, oldest request first.
    fn share_prefill(&self) -> Vec<(RequestId, u32)> {
        let mut budget = self.prefill_chunk;
        let unfilled = self.running.iter().filter(|(_, running)| 0 < running.to_prefill());
        let shares = unfilled.map_while(|(id, running)| {
            let share = running.to_prefill().min(budget);
            budget -= share;
            (0 < share).then_some((*id, share))
        });
        shares.collect()
    }

    fn make_token(&mut self, id: RequestId) -> Option<Made> {
        let running = self.running.get_mut(&id)?;
        let position = running.made;
        running.made += 1;
        let finish = (running.made == running.job.output_tokens).then_some(running.job.finish);
        let cached_tokens = running.lease.cached_tokens;
        self.totals.generated_tokens += 1;
        if finish.is_some() {
            self.totals.finished_requests += 1;
            self.abort(id);
        }
        Some(Made { id, position, cached_tokens, finish })
    }
}

/// How many tokens the model makes of this prompt before it ends by itself.
///
/// Like greedy decoding it depends on nothing but the prompt and the seed, so that a repeat of a
/// request is as long as the first one. Each token ends the answer with `eos_probability`.
/// `None`: it never ends.
pub fn natural_length(prompt: &[u32], seed: u64, eos_probability: f64) -> Option<u32> {
    if eos_probability <= 0.0 {
        return None;
    }
    let hash = prompt.iter().fold(seed, |hash, id| rng::mix(hash.rotate_left(9) ^ u64::from(*id)));
    let survived = 1.0 - rng::Rng::new(hash).uniform();
    let tokens = 1.0 + (survived.ln() / (1.0 - eos_probability).ln()).floor();
    // The cast saturates, which is what a length beyond all limits should do.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    Some(tokens as u32)
}

#[cfg(test)]
mod tests;
