//! Prompt tokens that came from a prefix cache: whether that is what the load asks for.
//!
//! The one place that decides it, whoever counted: `usage` of the answers, or the server's own
//! counters over the run.

use domain::anomaly::Anomaly;
use domain::contract::{CacheCount, CacheState};
use domain::profile::{Dataset, Profile};
use domain::summary::TokenCounts;

/// Share of prompt tokens in the prefix cache that is worth a word beyond what the load shares. A
/// begin-of-text token that all prompts share stays below it; prefill that was really saved does
/// not.
pub(crate) const CACHED_SHARE: f64 = 0.01;

/// What a run is judged by.
#[derive(Clone, Copy, Debug)]
pub struct CacheView<'a> {
    /// The load.
    pub profile: &'a Profile,
    /// Which repeat of it, from 1.
    pub repeat: u32,
    /// Tokens as the answers count them.
    pub tokens: &'a TokenCounts,
    /// The server's own counters, if it has them.
    pub count: Option<&'a CacheCount>,
    /// Whether the server says that its cache is on.
    pub state: Option<CacheState>,
}

/// What is unusual about the prefix cache in a run, if anything is.
pub fn unusual(run: &CacheView<'_>) -> Option<Anomaly> {
    let cached_tokens = cached(run)?;
    let prompt_tokens = run.tokens.input_by_server.unwrap_or(run.tokens.input);
    let share = cached_tokens as f64 / prompt_tokens.max(1) as f64;
    let meant = meant_share(run);
    if meant + CACHED_SHARE < share {
        let from_before = meant + CACHED_SHARE + warm_up_share(run) < share;
        return Some(match run.repeat {
            repeat if 1 < repeat && from_before => {
                Anomaly::RepeatFromCache { repeat, cached_tokens, prompt_tokens }
            }
            _ => Anomaly::PrefixCacheHits { cached_tokens, prompt_tokens },
        });
    }
    let unused = CACHED_SHARE < meant && share <= CACHED_SHARE && run.state == Some(CacheState::On);
    unused.then_some(Anomaly::PrefixCacheUnused { prompt_tokens })
}

/// What a run's own warm-up may leave for it: its first prompt, which may be twice as long as the
/// mean of lengths that are drawn evenly.
fn warm_up_share(run: &CacheView<'_>) -> f64 {
    match run.profile.warmup_requests {
        0 => 0.0,
        _ => 2.0 / f64::from(run.profile.num_prompts.max(1)),
    }
}

/// The greater of the two counts: the answers of some servers leave it out.
fn cached(run: &CacheView<'_>) -> Option<u64> {
    run.tokens.cached.max(run.count.map(|count| count.cached))
}

/// The largest share of prompt tokens that the load itself lets come from a cache: the common
/// beginnings of its prompts. Of real conversations nobody knows what they share.
fn meant_share(run: &CacheView<'_>) -> f64 {
    if run.state == Some(CacheState::Off) {
        return 0.0;
    }
    match run.profile.dataset_name {
        Dataset::GeneratedSharedPrefix => {
            let gsp = &run.profile.workload.gsp;
            let (shared, own) = (f64::from(gsp.system_prompt_len), f64::from(gsp.question_len));
            // Lengths are drawn, so that a question may be as short as its range allows.
            shared / (shared + own * gsp.range_ratio.clamp(0.0, 1.0)).max(1.0)
        }
        Dataset::Random | Dataset::RandomIds | Dataset::Sharegpt | Dataset::Custom => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run;

    fn of(profile: &Profile, repeat: u32, cached: u64, state: Option<CacheState>) -> String {
        let tokens = TokenCounts {
            input: 5549,
            input_by_server: None,
            cached: Some(cached),
            ..run(&[]).tokens
        };
        let view = CacheView { profile, repeat, tokens: &tokens, count: None, state };
        unusual(&view).map_or_else(|| "nothing".to_owned(), |anomaly| anomaly.to_string())
    }

    #[test]
    fn a_repeat_that_was_answered_from_the_cache_has_a_name_of_its_own() {
        let profile = run(&[]).profile;
        insta::assert_snapshot!(of(&profile, 2, 5520, None), @"repeat 2 was answered from the prefix cache: 5520 of 5549 prompt tokens were left there by an earlier run");
        insta::assert_snapshot!(of(&profile, 1, 5520, None), @"5520 of 5549 prompt tokens came from the prefix cache");
        insta::assert_snapshot!(of(&profile, 2, 55, None), @"nothing");
        // One of 32 prompts: what the run's own warm-up sent.
        insta::assert_snapshot!(of(&profile, 2, 174, None), @"174 of 5549 prompt tokens came from the prefix cache");
    }

    #[test]
    fn a_load_that_shares_prefixes_may_hit_as_much_as_it_shares() {
        let mut profile = run(&[]).profile;
        profile.dataset_name = Dataset::GeneratedSharedPrefix;
        profile.warmup_requests = 0;
        // 2048 of 2176 tokens are shared: 94 %.
        assert_eq!(of(&profile, 2, 5200, Some(CacheState::On)), "nothing");
        assert!(of(&profile, 2, 5520, Some(CacheState::On)).starts_with("repeat 2"));
        assert!(of(&profile, 1, 5200, Some(CacheState::Off)).starts_with("5200 of"));
        insta::assert_snapshot!(of(&profile, 1, 0, Some(CacheState::On)), @"the load shares prefixes and the server's prefix cache is on, but none of 5549 prompt tokens came from it");
    }

    #[test]
    fn the_servers_counters_speak_where_its_answers_do_not() {
        let (mut tokens, profile) = (run(&[]).tokens, run(&[]).profile);
        tokens.cached = None;
        let count = CacheCount { cached: 2000, prompts: None, source: "c".to_owned() };
        let view =
            CacheView { profile: &profile, repeat: 3, tokens: &tokens, count: None, state: None };
        assert_eq!(unusual(&view), None);
        let told = CacheView { count: Some(&count), ..view };
        assert!(matches!(
            unusual(&told),
            Some(Anomaly::RepeatFromCache { cached_tokens: 2000, .. })
        ));
    }
}
