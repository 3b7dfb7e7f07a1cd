use proptest::prelude::*;

use super::*;
use crate::config::PrefixCache;

fn job(first: u32, prompt: u32, output_tokens: u32) -> Job {
    let prompt = (0..prompt).map(|i| first * 100_000 + i).collect();
    Job { prompt, output_tokens, finish: Finish::Length }
}

/// Runs all steps; gives the tokens with the time at which each was made.
fn run(engine: &mut Engine, mut check: impl FnMut(&Engine)) -> Vec<(Duration, Made)> {
    let (mut now, mut trace) = (Duration::ZERO, Vec::new());
    while let Some(step) = engine.begin(now) {
        check(engine);
        now += step.cost;
        trace.extend(engine.finish(&step).into_iter().map(|made| (now, made)));
        check(engine);
    }
    trace
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let one = (0_u32..4, 1_u32..200, 1_u32..40).prop_map(|(f, p, o)| job(f, p, o));
    proptest::collection::vec(one, 1..30)
}

fn small() -> Config {
    Config { kv_tokens: 300, max_running: 5, prefill_chunk_tokens: 64, ..Config::steady() }
}

proptest! {
    #[test]
    fn every_request_gets_exactly_its_tokens_in_order(jobs in jobs()) {
        let mut engine = Engine::new(&small());
        let asked: Vec<u32> = jobs.iter().map(|job| job.output_tokens).collect();
        for job in jobs {
            engine.submit(job).unwrap();
        }
        let trace = run(&mut engine, |_| ());
        for (id, asked) in (0..).zip(asked) {
            let own: Vec<_> = trace.iter().filter(|(_, made)| made.id == RequestId(id)).collect();
            let positions: Vec<u32> = own.iter().map(|(_, made)| made.position).collect();
            prop_assert_eq!(positions, (0..asked).collect::<Vec<_>>());
            let ends = own.iter().filter(|(_, made)| made.finish.is_some()).count();
            prop_assert_eq!(ends, 1);
            prop_assert!(own.last().unwrap().1.finish.is_some());
        }
        prop_assert_eq!((engine.load().running, engine.load().waiting), (0, 0));
    }

    #[test]
    fn the_kv_cache_never_holds_more_than_its_limit(jobs in jobs()) {
        let mut engine = Engine::new(&small());
        for job in jobs {
            engine.submit(job).unwrap();
        }
        run(&mut engine, |engine| {
            let load = engine.load();
            assert!(load.kv_used <= load.kv_limit, "{load:?}");
            assert!(load.running <= 5, "{load:?}");
        });
        engine.flush().unwrap();
        prop_assert_eq!(engine.load().kv_used, 0);
    }

    #[test]
    fn first_tokens_come_in_the_order_of_submission(jobs in jobs()) {
        let config = Config { prefix_cache: PrefixCache::Off, ..small() };
        let mut engine = Engine::new(&config);
        for job in jobs {
            engine.submit(job).unwrap();
        }
        let trace = run(&mut engine, |_| ());
        let first = |(_, made): &&(Duration, Made)| made.position == 0;
        let order: Vec<_> = trace.iter().filter(first).map(|(_, made)| made.id).collect();
        prop_assert!(order.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_trace(jobs in jobs(), seed: u64) {
        let config = Config { noise: 0.1, drift: 0.1, seed, ..small() };
        let trace = || {
            let mut engine = Engine::new(&config);
            for job in jobs.clone() {
                engine.submit(job).unwrap();
            }
            run(&mut engine, |_| ())
        };
        prop_assert_eq!(trace(), trace());
    }

    #[test]
    fn an_aborted_request_leaves_nothing_behind(jobs in jobs(), after in 0_usize..20) {
        let mut engine = Engine::new(&small());
        let ids: Vec<_> = jobs.into_iter().map(|job| engine.submit(job).unwrap()).collect();
        for _ in 0..after {
            let Some(step) = engine.begin(Duration::ZERO) else { break };
            engine.finish(&step);
        }
        let step = engine.begin(Duration::ZERO);
        for id in ids {
            engine.abort(id);
        }
        if let Some(step) = step {
            prop_assert_eq!(engine.finish(&step), []);
        }
        engine.flush().unwrap();
        prop_assert_eq!(engine.load().kv_used, 0);
    }
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_decode() {
    let mut engine = Engine::new(&Config { prefill_chunk_tokens: 64, ..Config::steady() });
    engine.submit(job(1, 10, 8)).unwrap();
    engine.submit(job(2, 150, 1)).unwrap();
    let mut prefills = Vec::new();
    while let Some(step) = engine.begin(Duration::ZERO) {
        prefills.push((step.work.prefill_tokens, step.work.decoding));
        engine.finish(&step);
    }
    assert_eq!(prefills[..4], [(64, 0), (64, 1), (32, 1), (0, 1)]);
}

#[test]
fn a_cached_prompt_skips_its_prefill() {
    let mut engine = Engine::new(&Config::steady());
    let mut first_token = || {
        engine.submit(job(1, 400, 1)).unwrap();
        run(&mut engine, |_| ())[0]
    };
    let (cold, warm) = (first_token(), first_token());
    assert_eq!((cold.1.cached_tokens, warm.1.cached_tokens), (0, 384));
    assert!(warm.0 < cold.0);
}

#[test]
fn a_request_that_never_fits_is_refused_at_once() {
    let config = Config { max_model_len: 500, ..small() };
    let mut engine = Engine::new(&config);
    let context = engine.submit(job(1, 490, 20)).unwrap_err();
    insta::assert_snapshot!(context, @"the request needs 510 tokens, but the context length is 500");
    let kv = engine.submit(job(1, 390, 20)).unwrap_err();
    insta::assert_snapshot!(kv, @"the request needs 410 tokens, but the KV cache holds 300");
}

#[test]
fn a_busy_engine_does_not_flush() {
    let mut engine = Engine::new(&Config::steady());
    engine.submit(job(1, 10, 2)).unwrap();
    assert_eq!(engine.flush(), Err(Busy { running: 0, waiting: 1 }));
    let step = engine.begin(Duration::ZERO).unwrap();
    engine.finish(&step);
    assert_eq!(engine.flush(), Err(Busy { running: 1, waiting: 0 }));
}

#[test]
fn natural_lengths_repeat_for_a_prompt_and_spread_over_prompts() {
    let length = |first| natural_length(&job(first, 5, 1).prompt, 1, 0.05).unwrap();
    assert_eq!(length(3), length(3));
    let lengths: Vec<f64> = (0..2000).map(|first| f64::from(length(first))).collect();
    let mean = lengths.iter().sum::<f64>() / 2000.0;
    assert!((18.0..22.0).contains(&mean), "{mean}");
    assert_eq!(natural_length(&[1], 1, 0.0), None);
}
