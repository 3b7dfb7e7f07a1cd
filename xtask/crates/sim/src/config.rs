//! What can be set about the simulated server.

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

use crate::fault::FaultSpec;

/// Every knob of the simulated server.
///
/// The defaults of the flags describe a small card whose speed wavers a little;
/// [`Config::steady`] is the same card without noise.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct Config {
    /// Name that the model is served under.
    #[arg(long, value_name = "NAME", default_value = "sim")]
    pub model: String,
    /// Longest prompt and output together, in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = MAX_MODEL_LEN, value_parser = count())]
    pub max_model_len: u32,
    /// Room of the KV cache, in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = KV_TOKENS, value_parser = count())]
    pub kv_tokens: u32,
    /// Most requests that run at once; further ones wait.
    #[arg(long, value_name = "N", default_value_t = MAX_RUNNING, value_parser = count())]
    pub max_running: u32,
    /// Whether computed prompts are kept for later requests.
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    pub prefix_cache: PrefixCache,
    /// Most prompt tokens computed in one step.
    #[arg(long, value_name = "TOKENS", default_value_t = PREFILL_CHUNK, value_parser = count())]
    pub prefill_chunk_tokens: u32,
    /// Prompt tokens computed in a second.
    #[arg(long, value_name = "N", default_value_t = PREFILL_PER_S, value_parser = positive)]
    pub prefill_tokens_per_s: f64,
    /// Cost of a step before any work, in ms.
    #[arg(long, value_name = "MS", default_value_t = STEP_BASE_MS, value_parser = positive)]
    pub step_base_ms: f64,
    /// Cost of each decoding sequence in a step, in ms.
    #[arg(long, value_name = "MS", default_value_t = STEP_PER_SEQ_MS, value_parser = not_negative)]
    pub step_per_seq_ms: f64,
    /// Cost of each 1000 tokens of context that a step reads, in ms.
    #[arg(long, value_name = "MS", default_value_t = STEP_PER_1K_KV_MS, value_parser = not_negative)]
    pub step_per_1k_kv_ms: f64,
    /// Divides all engine times: 2 is twice as fast.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    pub speed: f64,
    /// Standard deviation of step times, as a share of them.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub noise: f64,
    /// Height of a slow wave in step times, as a share of them.
    #[arg(long, value_name = "SHARE", default_value_t = 0.005, value_parser = share)]
    pub drift: f64,
    /// Period of that wave, in seconds.
    #[arg(long, value_name = "S", default_value_t = DRIFT_PERIOD_S, value_parser = positive)]
    pub drift_period_s: f64,
    /// How much slower steps get each minute, as a share of them.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub trend_per_min: f64,
    /// Chance of each token to be the last where the request does not forbid it.
    #[arg(long, value_name = "SHARE", default_value_t = EOS_PROBABILITY, value_parser = share)]
    pub eos_probability: f64,
    /// Seed of noise and of natural answer lengths.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A fault, as `NAME[:every=N][:after=K][:times=T][:ms=MS]`; may be given several times.
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<FaultSpec>,
}

/// The command line of the simulated server.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct SimArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// The simulated model and card.
    #[command(flatten)]
    pub config: Config,
    /// Instead of an engine, a fixed schedule: the first event so long after the request, in ms.
    #[arg(long, value_name = "MS", value_parser = not_negative, requires = "fixed_gap_ms")]
    pub fixed_ttft_ms: Option<f64>,
    /// Then one event each so many ms; 0 is as fast as the socket takes them.
    #[arg(long, value_name = "MS", value_parser = not_negative, requires = "fixed_ttft_ms")]
    pub fixed_gap_ms: Option<f64>,
    /// Run on this CPU alone.
    #[arg(long, value_name = "CPU")]
    pub pin: Option<usize>,
    /// Instead of serving, move to a session of its own and sleep: what the fault `orphan` starts.
    #[arg(long, value_name = "S", hide = true)]
    pub orphan_sleep: Option<u64>,
}

impl SimArgs {
    /// The fixed schedule, if there is one.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        let (ttft, gap) = self.fixed_ttft_ms.zip(self.fixed_gap_ms)?;
        let span = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        Some(Schedule { ttft: span(ttft), gap: span(gap) })
    }
}

impl Config {
    /// The default card without noise, drift and faults: what tests and certification use.
    pub fn steady() -> Self {
        Self {
            model: "sim".to_owned(),
            max_model_len: MAX_MODEL_LEN,
            kv_tokens: KV_TOKENS,
            max_running: MAX_RUNNING,
            prefix_cache: PrefixCache::On,
            prefill_chunk_tokens: PREFILL_CHUNK,
            prefill_tokens_per_s: PREFILL_PER_S,
            step_base_ms: STEP_BASE_MS,
            step_per_seq_ms: STEP_PER_SEQ_MS,
            step_per_1k_kv_ms: STEP_PER_1K_KV_MS,
            speed: 1.0,
            noise: 0.0,
            drift: 0.0,
            drift_period_s: DRIFT_PERIOD_S,
            trend_per_min: 0.0,
            eos_probability: EOS_PROBABILITY,
            seed: 1,
            faults: Vec::new(),
        }
    }

    /// The same with one more fault.
    pub fn with_fault(mut self, fault: FaultSpec) -> Self {
        self.faults.push(fault);
        self
    }
}

// A step of eight sequences takes about 7 ms, so that the profile `smoke` (32 requests of at most
// 128 + 64 tokens, 8 at once) takes about two seconds: long enough to measure, short enough to
// try out.
const STEP_BASE_MS: f64 = 6.0;
const STEP_PER_SEQ_MS: f64 = 0.1;
const STEP_PER_1K_KV_MS: f64 = 0.05;
const PREFILL_PER_S: f64 = 10_000.0;
const PREFILL_CHUNK: u32 = 512;
const MAX_MODEL_LEN: u32 = 32_768;
const KV_TOKENS: u32 = 131_072;
const MAX_RUNNING: u32 = 64;
const DRIFT_PERIOD_S: f64 = 60.0;
const EOS_PROBABILITY: f64 = 0.01;

fn count() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..)
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "a number above 0", |n| 0.0 < n && n.is_finite())
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "a number from 0", |n| (0.0..=f64::MAX).contains(&n))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "a share from 0 to 1", |n| (0.0..=1.0).contains(&n))
}

fn number(text: &str, wanted: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| fits(*n));
    number.ok_or_else(|| format!("`{text}` is not {wanted}"))
}

/// Whether computed prompts are kept for later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrefixCache {
    /// They are kept, and hits skip their prefill.
    On,
    /// Every prompt is computed.
    Off,
}

/// When the events of an answer are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the moment that the request was read to the first event.
    pub ttft: Duration,
    /// From one event to the next. Without a gap, events go out as fast as the socket takes them,
    /// many in one write.
    pub gap: Duration,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fault::Fault;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimArgs,
    }

    fn parse(flags: &[&str]) -> Result<SimArgs, String> {
        let line = std::iter::once("sim").chain(flags.iter().copied());
        Cli::try_parse_from(line).map(|cli| cli.args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_is_the_steady_card_with_a_little_noise() {
        let config = parse(&[]).unwrap().config;
        assert_eq!(config, Config { noise: 0.01, drift: 0.005, ..Config::steady() });
    }

    #[test]
    fn every_knob_has_its_flag() {
        let args = parse(&[
            "--port=81",
            "--model=m",
            "--kv-tokens=9",
            "--prefix-cache=off",
            "--speed=2.5",
            "--fault=hang:every=2",
            "--fault=crash",
        ])
        .unwrap();
        assert_eq!((args.port, args.config.model.as_str()), (81, "m"));
        assert_eq!((args.config.kv_tokens, args.config.speed), (9, 2.5));
        assert_eq!(args.config.prefix_cache, PrefixCache::Off);
        let faults: Vec<Fault> = args.config.faults.iter().map(|spec| spec.fault).collect();
        assert_eq!(faults, [Fault::Hang, Fault::Crash]);
    }

    #[test]
    fn a_fixed_schedule_takes_both_its_numbers() {
        assert_eq!(parse(&[]).unwrap().schedule(), None);
        assert!(parse(&["--fixed-ttft-ms=50"]).is_err());
        let args = parse(&["--fixed-ttft-ms=50", "--fixed-gap-ms=0", "--pin=1"]).unwrap();
        let schedule = args.schedule().unwrap();
        assert_eq!((schedule.ttft, schedule.gap), (Duration::from_millis(50), Duration::ZERO));
        assert_eq!(args.pin, Some(1));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for flag in ["--speed=0", "--speed=inf", "--noise=1.5", "--noise=NaN", "--max-running=0"] {
            assert!(parse(&[flag]).is_err(), "{flag}");
        }
        assert!(parse(&["--speed=x"]).unwrap_err().contains("`x` is not a number above 0"));
    }
}
