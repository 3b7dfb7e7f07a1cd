//! What the GPUs did, for people: the lines that follow a run's report, and a short form.

use std::collections::BTreeMap;

use domain::facts::{Reading, Vram};
use domain::framework::Framework;
use domain::host::CpuUse;
use domain::summary::RunSummary;
use domain::telemetry::{Energy, GpuTelemetry, Sampling, Spread, Telemetry, ThrottleReason};

use crate::number::readable;

/// Below this share clocks were as good as never lowered.
const LEAST_SHARE: f64 = 0.0005;

/// Everything about the GPUs and CPUs of a run, one line each; nothing where nothing was watched.
pub(crate) fn of_run(run: &RunSummary) -> String {
    let vram = run.vram.map(|vram| memory(run, vram));
    let rest = run.telemetry.as_ref().map(lines);
    let host = run.cpu_use.as_ref().map(cpus);
    vram.into_iter().chain(rest).chain(host).collect()
}

fn cpus(used: &CpuUse) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let waiting = used
        .waiting
        .map(|share| format!("; some task waited for one {} of the time", percent(share)));
    let (busy, stolen) = (percent(used.busy), percent(used.stolen));
    format!(
        "- Host CPUs: {busy} busy, {stolen} of the wanted time went to other machines{}\n",
        waiting.unwrap_or_default()
    )
}

/// What the samples of a time come to, one line each.
pub fn lines(telemetry: &Telemetry) -> String {
    let mut text = energy(&telemetry.energy);
    telemetry.gpus.iter().for_each(|of| text.push_str(&gpu(of)));
    text.push_str(&sampling(&telemetry.sampling));
    text
}

/// The energy in a few words, for a line that says other things too.
pub(crate) fn short(telemetry: &Telemetry) -> Option<String> {
    let energy = telemetry.energy.known()?;
    let each = energy.per_output_token_j?;
    let doubt = if energy.is_valid() { "" } else { " (not valid)" };
    Some(format!("{} J for each output token{doubt}", readable(each)))
}

fn memory(run: &RunSummary, vram: Vram) -> String {
    let mut text = format!(
        "- VRAM: {} MiB before, {} MiB at most, {} MiB after\n",
        vram.before_mib, vram.peak_mib, vram.after_mib
    );
    if takes_all_at_once(run.framework) {
        let holds = match run.kv_cache_tokens {
            Some(tokens) => format!("its KV cache holds {tokens} tokens"),
            None => "it does not tell how many tokens its KV cache holds".to_owned(),
        };
        text.push_str(&format!(
            "- VRAM Note: {} takes its memory at the start, needed or not; {holds}\n",
            run.framework.title()
        ));
    }
    text
}

/// Whether the peak of memory says how much the framework was given, not how much it needed.
const fn takes_all_at_once(framework: Framework) -> bool {
    match framework {
        Framework::Sglang | Framework::Vllm | Framework::LlamaCpp => true,
        Framework::Ollama | Framework::Transformers | Framework::Openai | Framework::Sim => false,
    }
}

fn energy(energy: &Reading<Energy>) -> String {
    let energy = match energy {
        Reading::Known(energy) => energy,
        missing => return format!("- Energy: {}\n", why_missing(missing)),
    };
    let source = match energy.integral_differs {
        Some(by) => {
            format!("by {}; sampled power gives {:+.1} %", energy.source, by * 100.0)
        }
        None => format!("by {}", energy.source),
    };
    let mut text = format!("- Energy: {} J ({source})\n", readable(energy.joules));
    let each = [(energy.per_output_token_j, "Output Token"), (energy.per_request_j, "Request")];
    for (joules, what) in each {
        if let Some(joules) = joules {
            text.push_str(&format!("- Energy per {what}: {} J\n", readable(joules)));
        }
    }
    let doubts = energy.doubts.iter().map(|doubt| format!("- Energy not valid: {doubt}\n"));
    text.extend(doubts);
    text
}

fn gpu(of: &GpuTelemetry) -> String {
    let quantities = [
        ("power", "W", &of.power_w),
        ("SM clock", "MHz", &of.sm_clock_mhz),
        ("memory clock", "MHz", &of.memory_clock_mhz),
        ("busy", "%", &of.busy_percent),
        ("temperature", "C", &of.temperature_c),
    ];
    let told: Vec<_> =
        quantities.into_iter().map(|(what, unit, value)| quantity(what, unit, value)).collect();
    let lowered = match (&of.throttled, &of.reasons_seen) {
        (Reading::Known(shares), _) => format!("{} by the card's counters", reasons(shares)),
        (_, Reading::Known(shares)) => format!("{} by samples", reasons(shares)),
        (missing, _) => why_missing(missing),
    };
    format!("- GPU {0}: {1}\n- GPU {0} Lowered Clocks: {lowered}\n", of.gpu, told.join(", "))
}

fn quantity(what: &str, unit: &str, value: &Reading<Spread>) -> String {
    match value {
        Reading::Known(Spread { mean, least, most }) => {
            format!("{what} {mean:.0} {unit} ({least:.0} to {most:.0})")
        }
        missing => format!("{what} {}", why_missing(missing)),
    }
}

fn reasons(shares: &BTreeMap<ThrottleReason, f64>) -> String {
    let told: Vec<_> = shares
        .iter()
        .filter(|(_, share)| LEAST_SHARE <= **share)
        .map(|(reason, share)| format!("{reason} {:.1} %", share * 100.0))
        .collect();
    if told.is_empty() { "never".to_owned() } else { told.join(", ") }
}

fn why_missing<T>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Unreadable(reason) => format!("could not be read: {reason}"),
        Reading::NotSupported | Reading::Known(_) => "not supported by this card".to_owned(),
    }
}

fn sampling(of: &Sampling) -> String {
    let odd = [(of.missed, "missed"), (of.unreadable, "unreadable"), (of.dropped, "dropped")];
    let odd = odd.iter().filter(|(count, _)| 0 < *count);
    let odd: String = odd.map(|(count, what)| format!(", {count} {what}")).collect();
    format!(
        "- GPU Sampler: {} samples, one in {:.0} ms{odd}; late {:.2} ms (p99), {:.2} ms (max); reading {:.2} ms (median), {:.2} ms (max); CPU {:.2} % of a core\n",
        of.samples,
        of.every_ms,
        of.late_p99_ms,
        of.late_max_ms,
        of.reading_median_ms,
        of.reading_max_ms,
        of.cpu_share * 100.0,
    )
}

#[cfg(test)]
mod tests;
