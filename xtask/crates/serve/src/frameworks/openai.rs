//! Any other server that speaks OpenAI's paths. It is only attached to, and nothing is taken for
//! granted about it.

use super::{About, Activity, CacheCounter, Flush, Generation, How, ModelList, Term, Traits, read};

pub(super) const TRAITS: Traits = Traits {
    // The one path that all of them have.
    health_path: "/v1/models",
    models: ModelList::Openai,
    generation: Generation::TriedOut,
    flush: Flush::Impossible("OpenAI's paths have none that empties a cache"),
    activity: Activity::Untold,
    about: &[About { path: "/v1/models", version: None }],
    terms: &[read(Term::Context, "/v1/models", "/data/0/max_model_len", How::Plain)],
    cache_counter: CacheCounter::Untold,
};
