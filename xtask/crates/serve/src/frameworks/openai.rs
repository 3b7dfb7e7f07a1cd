//! Any other server that speaks OpenAI's paths. It is only attached to, and nothing is taken for
//! granted about it.

use super::{Activity, Flush, Generation, ModelList, Traits};

pub(super) const TRAITS: Traits = Traits {
    // The one path that all of them have.
    health_path: "/v1/models",
    models: ModelList::Openai,
    generation: Generation::TriedOut,
    flush: Flush::Impossible("OpenAI's paths have none that empties a cache"),
    activity: Activity::Untold,
    about: &[],
};
