//! The checks of one GPU.

use std::time::Duration;

use domain::facts::{
    GpuFacts, GpuProcess, HealthFacts, HostFacts, PastXid, Range, Reading, Severity,
};
use domain::units::{Memory, Span};
use skill::health::{
    CelsiusAtLeast, Checks, ComputeMode, CountAtMost, CountLevels, EccMode, ForeignProcesses,
    MemoryAtLeast, MemoryAtMost, Mig, Must, RecoveryAction, ShareAtLeast, ShareLevels,
    StartTemperature, ThrottleReason, Throttling, VramUsed, Xids,
};

use super::tally::{Answer, Tally};

/// More processes than this say nothing that the first ones do not.
const PROCESSES_NAMED: usize = 4;

/// Does every check of this GPU, which is one of `facts`, that the skill asks for.
pub(super) fn judge(gpu: &GpuFacts, facts: &HealthFacts, checks: &Checks, tally: &mut Tally) {
    /// Hands a check's limits and the facts to its judgement, under the key of the field.
    macro_rules! check {
        ($key:ident, $judge:expr) => {
            tally.check(stringify!($key), Some(gpu.index), checks.$key.as_ref(), |limit| {
                let judge = $judge;
                judge(gpu, limit)
            })
        };
    }
    check!(answers, answers);
    if is_lost(gpu, checks) {
        return;
    }
    check!(foreign_processes, foreign_processes);
    check!(ghost_vram, |gpu, limit| ghost_vram(gpu, &facts.host, limit));
    check!(vram_used, vram_used);
    check!(vram_free, vram_free);
    check!(compute_mode, compute_mode);
    check!(mig, mig);
    check!(ecc_mode, ecc_mode);
    check!(ecc_uncorrected_volatile, ecc_uncorrected_volatile);
    check!(ecc_uncorrected_aggregate, ecc_uncorrected_aggregate);
    check!(ecc_corrected_volatile, ecc_corrected_volatile);
    check!(remapped_rows, remapped_rows);
    check!(remapping_pending, remapping_pending);
    check!(remapping_failed, remapping_failed);
    check!(retired_pages, retired_pages);
    check!(recovery_action, recovery_action);
    check!(xids, xids);
    check!(pcie_width, pcie_width);
    check!(pcie_generation, pcie_generation);
    check!(pcie_replays, pcie_replays);
    check!(nvlinks, |gpu, limit| nvlinks(gpu, facts.gpus.len(), limit));
    check!(throttling, throttling);
    check!(persistence, persistence);
    check!(power_limit, power_limit);
    check!(sm_clock, sm_clock);
    check!(slowdown_margin, slowdown_margin);
    check!(start_temperature, start_temperature);
}

fn answers(gpu: &GpuFacts, limit: &Must) -> Answer {
    match &gpu.vram_total_bytes {
        Reading::Known(bytes) => {
            Answer::Pass(format!("{} with {} MiB answers", gpu.name, mib(*bytes)))
        }
        Reading::NotSupported => Answer::NotSupported,
        Reading::Unreadable(reason) => Answer::found(
            limit.severity,
            format!("the card does not answer: {reason}"),
            "Reset the GPU with `nvidia-smi --gpu-reset`, or reboot the host.",
        ),
    }
}

/// Whether it was said that the card does not answer and that nothing is measured therefore: that
/// every other value is unreadable too says nothing more.
fn is_lost(gpu: &GpuFacts, checks: &Checks) -> bool {
    let silent = matches!(gpu.vram_total_bytes, Reading::Unreadable(_));
    silent && checks.answers.as_ref().is_some_and(|limit| limit.severity == Severity::Fatal)
}

fn vram_free(gpu: &GpuFacts, limit: &MemoryAtLeast) -> Answer {
    Answer::of_both(&gpu.vram_total_bytes, &gpu.vram_used_bytes, |total, used| {
        let Some(free) = total.checked_sub(*used) else {
            return Answer::Unreadable(format!("{used} of {total} bytes are said to be in use"));
        };
        let message = format!("{} MiB of VRAM free, at least {} wanted", mib(free), limit.at_least);
        let holds = limit.at_least.bytes() <= free;
        Answer::unless(holds, limit.severity, message, "End what holds the GPU's memory.")
    })
}

fn vram_used(gpu: &GpuFacts, limit: &VramUsed) -> Answer {
    Answer::of_both(&gpu.vram_total_bytes, &gpu.vram_used_bytes, |total, used| {
        let allowed = vram_allowed(gpu, *total, limit);
        let (severity, allowed) = if allowed < *used {
            (Severity::Fatal, allowed)
        } else {
            (Severity::Warn, limit.warn_over.bytes())
        };
        let message =
            format!("{} MiB of VRAM in use, at most {} MiB allowed", mib(*used), mib(allowed));
        let advice = "End what holds the GPU's memory, or choose another GPU.";
        Answer::unless(*used <= allowed, severity, message, advice)
    })
}

/// The most bytes in use that do not forbid measuring.
fn vram_allowed(gpu: &GpuFacts, total: u64, limit: &VramUsed) -> u64 {
    // Memory of a card is far below 2^53 bytes and the share at most a few percent of it, so that
    // the conversions lose nothing.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let share = (total as f64 * limit.fatal_over_share.fraction()) as u64;
    let for_display = match gpu.display_active.known() {
        Some(true) => limit.with_display.bytes(),
        Some(false) | None => 0,
    };
    limit.fatal_over.bytes().max(share).max(for_display)
}

fn foreign_processes(gpu: &GpuFacts, limit: &ForeignProcesses) -> Answer {
    Answer::of(&gpu.processes, |processes| {
        let foreign: Vec<_> = processes
            .iter()
            .filter(|process| !process.ours && !is_allowed(process, &limit.allowed))
            .collect();
        if foreign.is_empty() {
            return Answer::Pass("no process that servegate did not start".to_owned());
        }
        let named: Vec<_> = foreign.iter().take(PROCESSES_NAMED).map(ToString::to_string).collect();
        let more = match foreign.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!("held by processes of others: {}{more}", named.join(", "));
        Answer::found(limit.severity, message, "End these processes, or choose another GPU.")
    })
}

fn is_allowed(process: &GpuProcess, allowed: &[String]) -> bool {
    let program = process.command.as_deref().and_then(|line| line.split_whitespace().next());
    let name = program.and_then(|path| path.rsplit('/').next());
    name.is_some_and(|name| allowed.iter().any(|allowed| allowed == name))
}

fn ghost_vram(gpu: &GpuFacts, host: &HostFacts, limit: &MemoryAtMost) -> Answer {
    Answer::of_both(&gpu.vram_used_bytes, &gpu.processes, |used, processes| {
        let mut held = 0_u64;
        for process in processes {
            match process.used_bytes {
                Some(bytes) => held = held.saturating_add(bytes),
                None => {
                    let reason = format!("the driver hides how much process {} holds", process.pid);
                    return Answer::Unreadable(reason);
                }
            }
        }
        let ghost = Memory::from_bytes(used.saturating_sub(held));
        let message = format!(
            "{} MiB of VRAM in use by no visible process, at most {} allowed{}",
            ghost.mib(),
            limit.most,
            if limit.most < ghost { suspects(gpu, host) } else { String::new() },
        );
        let advice = match host.own_pid_namespace {
            Reading::Known(true) => {
                "Look for the holder from the host, or start the container with `--pid=host`."
            }
            Reading::Known(false) | Reading::NotSupported | Reading::Unreadable(_) => {
                "Look for the holder from the host (in a container start it with `--pid=host`), \
                 end dead servers and MPS daemons, or reset the GPU."
            }
        };
        Answer::unless(ghost <= limit.most, limit.severity, message, advice)
    })
}

/// Who may hold memory that no process owns up to.
fn suspects(gpu: &GpuFacts, host: &HostFacts) -> String {
    let mut text = String::new();
    if let Some(openers) = gpu.openers.known().filter(|openers| !openers.is_empty()) {
        let named = openers.iter().take(PROCESSES_NAMED).map(ToString::to_string);
        let named: Vec<_> = named.collect();
        text.push_str(&format!("; the card is open in {}", named.join(", ")));
    }
    if host.own_pid_namespace == Reading::Known(true) {
        text.push_str("; processes outside of this PID namespace cannot be seen from here");
    }
    text
}

fn compute_mode(gpu: &GpuFacts, limit: &ComputeMode) -> Answer {
    Answer::of(&gpu.compute_mode, |mode| {
        let severity = match mode.as_str() {
            "default" => return Answer::Pass("several processes may use the card".to_owned()),
            "prohibited" => limit.prohibited,
            "exclusive-process" => limit.exclusive_process,
            other => return Answer::Unreadable(format!("unknown compute mode `{other}`")),
        };
        let message = format!("the compute mode is `{mode}`, wanted is `default`");
        Answer::found(severity, message, "Set it with `nvidia-smi --compute-mode=DEFAULT`.")
    })
}

fn mig(gpu: &GpuFacts, limit: &Mig) -> Answer {
    Answer::of_both(&gpu.mig_enabled, &gpu.mig_pending, |now, pending| {
        let advice = "Turn MIG off with `nvidia-smi --multi-instance-gpu=0` and reset the GPU.";
        match (now, pending) {
            (false, false) => Answer::Pass("the card is not divided".to_owned()),
            (true, true) => Answer::found(limit.enabled, "MIG divides the card", advice),
            (true, false) => Answer::found(
                limit.enabled.max(limit.pending_change),
                "MIG divides the card until the next reset",
                advice,
            ),
            (false, true) => Answer::found(
                limit.pending_change,
                "MIG will divide the card after the next reset",
                advice,
            ),
        }
    })
}

fn ecc_mode(gpu: &GpuFacts, limit: &EccMode) -> Answer {
    Answer::of_both(&gpu.ecc_enabled, &gpu.ecc_pending, |now, pending| {
        let advice = "Turn ECC on with `nvidia-smi --ecc-config=1` and reset the GPU.";
        match (now, pending) {
            (true, true) => Answer::Pass("ECC is on".to_owned()),
            (false, false) => Answer::found(limit.disabled, "ECC is off", advice),
            (true, false) => Answer::found(
                limit.pending_change,
                "ECC is on, and will be off after the next reset",
                advice,
            ),
            (false, true) => Answer::found(
                limit.disabled.max(limit.pending_change),
                "ECC is off until the next reset",
                "Reset the GPU, or reboot the host.",
            ),
        }
    })
}

/// Advice about a card whose memory fails.
const FAILING_MEMORY: &str = "Reset the GPU; if the errors come back, have the card replaced.";

fn ecc_uncorrected_volatile(gpu: &GpuFacts, limit: &CountAtMost) -> Answer {
    let what = "uncorrected memory errors since the driver was loaded";
    at_most(&gpu.ecc_uncorrected_volatile, limit, what, FAILING_MEMORY)
}

fn ecc_uncorrected_aggregate(gpu: &GpuFacts, limit: &CountAtMost) -> Answer {
    let what = "uncorrected memory errors in the card's life";
    at_most(&gpu.ecc_uncorrected_aggregate, limit, what, "Watch whether the number grows.")
}

fn ecc_corrected_volatile(gpu: &GpuFacts, limit: &CountAtMost) -> Answer {
    let what = "corrected memory errors since the driver was loaded";
    at_most(&gpu.ecc_corrected_volatile, limit, what, "Watch whether the number grows.")
}

fn pcie_replays(gpu: &GpuFacts, limit: &CountAtMost) -> Answer {
    let what = "PCIe replays since the driver was loaded";
    at_most(&gpu.pcie_replays, limit, what, "Check the card's seat, riser and slot.")
}

fn at_most(reading: &Reading<u64>, limit: &CountAtMost, what: &str, advice: &str) -> Answer {
    Answer::of(reading, |count| {
        let message = format!("{what}: {count}, at most {} allowed", limit.most);
        Answer::unless(*count <= limit.most, limit.severity, message, advice)
    })
}

fn remapped_rows(gpu: &GpuFacts, limit: &CountLevels) -> Answer {
    levels(&gpu.remapped_rows_uncorrected, limit, "rows of memory replaced")
}

fn retired_pages(gpu: &GpuFacts, limit: &CountLevels) -> Answer {
    levels(&gpu.retired_pages, limit, "pages of memory taken out of use")
}

fn levels(reading: &Reading<u64>, limit: &CountLevels, what: &str) -> Answer {
    Answer::of(reading, |count| {
        let (severity, allowed) = if limit.fatal_over < *count {
            (Severity::Fatal, limit.fatal_over)
        } else {
            (Severity::Warn, limit.warn_over)
        };
        let message = format!("{what}: {count}, at most {allowed} allowed");
        let advice = "Have the card checked, and replaced if the number grows.";
        Answer::unless(*count <= allowed, severity, message, advice)
    })
}

fn remapping_pending(gpu: &GpuFacts, limit: &Must) -> Answer {
    Answer::of(&gpu.remapping_pending, |pending| match pending {
        false => Answer::Pass("no row replacement waits for a reset".to_owned()),
        true => Answer::found(
            limit.severity,
            "a row of memory failed, and its replacement waits for a reset",
            "Reset the GPU with `nvidia-smi --gpu-reset`, or reboot the host.",
        ),
    })
}

fn remapping_failed(gpu: &GpuFacts, limit: &Must) -> Answer {
    Answer::of(&gpu.remapping_failed, |failed| match failed {
        false => Answer::Pass("no row replacement failed".to_owned()),
        true => Answer::found(
            limit.severity,
            "a failed row of memory could not be replaced",
            "Have the card replaced.",
        ),
    })
}

fn recovery_action(gpu: &GpuFacts, limit: &RecoveryAction) -> Answer {
    Answer::of(&gpu.recovery_action, |action| {
        let (severity, advice) = match action.as_str() {
            "none" => return Answer::Pass("the driver asks for no recovery".to_owned()),
            "reset" => (limit.reset, "Reset the GPU with `nvidia-smi --gpu-reset`."),
            "reboot" => (limit.reboot, "Reboot the host."),
            "drain-p2p" => (limit.drain_p2p, "End what uses peer-to-peer traffic."),
            "drain-and-reset" => (limit.drain_and_reset, "End what uses the GPU, then reset it."),
            other => return Answer::Unreadable(format!("unknown recovery action `{other}`")),
        };
        Answer::found(severity, format!("the driver asks for recovery: {action}"), advice)
    })
}

fn xids(gpu: &GpuFacts, limit: &Xids) -> Answer {
    Answer::of(&gpu.past_xids, |seen| {
        if seen.is_empty() {
            return Answer::Pass("no Xid in the kernel log".to_owned());
        }
        let of = |list: &[u32]| -> Vec<PastXid> {
            seen.iter().copied().filter(|past| list.contains(&past.xid)).collect()
        };
        // Where the log does not tell when it was, it may have been just now.
        let is_recent =
            |past: &PastXid| past.age_s.is_none_or(|seconds| seconds <= limit.recent.0.as_secs());
        let (fatal, warn) = (of(&limit.fatal), of(&limit.warn));
        let (severity, xids) = if fatal.iter().any(is_recent) {
            (Severity::Fatal, fatal)
        } else if !fatal.is_empty() {
            (Severity::Warn, fatal)
        } else if !warn.is_empty() {
            (Severity::Warn, warn)
        } else {
            (Severity::Info, seen.clone())
        };
        let advice = "Look the numbers up in NVIDIA's Xid catalogue.";
        Answer::found(severity, format!("Xid in the kernel log: {}", counted(xids)), advice)
    })
}

/// The numbers in order, each once, with how often it came and how long ago that was last.
fn counted(mut xids: Vec<PastXid>) -> String {
    xids.sort_by_key(|past| past.xid);
    let groups = xids.chunk_by(|one, next| one.xid == next.xid);
    let told = groups.filter_map(|group| {
        let xid = group.first()?.xid;
        let times = (1 < group.len()).then(|| format!("{}×", group.len()));
        let last = group.iter().filter_map(|past| past.age_s).min();
        let ago = last.map(|seconds| format!("{} ago", Span(Duration::from_secs(seconds))));
        let more: Vec<_> = times.into_iter().chain(ago).collect();
        Some(if more.is_empty() { xid.to_string() } else { format!("{xid} ({})", more.join(", ")) })
    });
    told.collect::<Vec<_>>().join(", ")
}

fn pcie_width(gpu: &GpuFacts, limit: &ShareLevels) -> Answer {
    let advice = "Reseat the card, and check the slot and the BIOS's lane settings.";
    share_of(&gpu.pcie_width, |width, share| {
        let (severity, allowed) = if share < limit.fatal_below.fraction() {
            (Severity::Fatal, limit.fatal_below)
        } else {
            (Severity::Warn, limit.warn_below)
        };
        let message =
            format!("{} of {} PCIe lanes in use, at least {allowed} wanted", width.now, width.full);
        Answer::unless(allowed.fraction() <= share, severity, message, advice)
    })
}

fn pcie_generation(gpu: &GpuFacts, limit: &ShareAtLeast) -> Answer {
    let advice = "Check the slot, the riser and the BIOS's PCIe settings.";
    at_work(gpu, &gpu.pcie_generation, limit, "PCIe generation", advice)
}

fn sm_clock(gpu: &GpuFacts, limit: &ShareAtLeast) -> Answer {
    at_work(gpu, &gpu.sm_clock_mhz, limit, "SM clock in MHz", "Look for what limits the clock.")
}

/// A share that means something only while the card works: an idle one saves power.
fn at_work(
    gpu: &GpuFacts,
    range: &Reading<Range>,
    limit: &ShareAtLeast,
    what: &str,
    advice: &str,
) -> Answer {
    share_of(range, |range, share| {
        let holds = limit.at_least.fraction() <= share;
        if !holds && is_idle(gpu) {
            let message = format!(
                "{what}: {} of {}, not judged while the card is idle",
                range.now, range.full
            );
            return Answer::info(message, "Look at it again under load.");
        }
        let message =
            format!("{what}: {} of {}, at least {} wanted", range.now, range.full, limit.at_least);
        Answer::unless(holds, limit.severity, message, advice)
    })
}

fn is_idle(gpu: &GpuFacts) -> bool {
    let reasons = gpu.throttle_reasons.known();
    reasons.is_some_and(|all| all.iter().any(|name| name == ThrottleReason::GpuIdle.as_str()))
}

fn power_limit(gpu: &GpuFacts, limit: &ShareAtLeast) -> Answer {
    share_of(&gpu.power_limit_mw, |power, share| {
        let message = format!(
            "power limit {} W where {} W is the default, at least {} wanted",
            power.now / 1000,
            power.full / 1000,
            limit.at_least
        );
        let holds = limit.at_least.fraction() <= share;
        let advice = "Set the default limit again with `nvidia-smi --power-limit`.";
        Answer::unless(holds, limit.severity, message, advice)
    })
}

fn share_of(range: &Reading<Range>, judge: impl FnOnce(&Range, f64) -> Answer) -> Answer {
    Answer::of(range, |range| match range.full {
        0 => Answer::Unreadable("the highest value is said to be 0".to_owned()),
        full => judge(range, range.now as f64 / full as f64),
    })
}

fn nvlinks(gpu: &GpuFacts, gpus: usize, limit: &Must) -> Answer {
    Answer::of(&gpu.nvlinks, |links| {
        let up = format!("{} of {} NVLinks are up", links.now, links.full);
        if gpus < 2 {
            return Answer::Pass(format!("{up}; a target with one GPU needs none"));
        }
        let message = format!("{up}, all wanted between {gpus} GPUs");
        let holds = links.full <= links.now;
        let advice = "Check the fabric manager and the NVLink bridges, then reset the GPUs.";
        Answer::unless(holds, limit.severity, message, advice)
    })
}

fn throttling(gpu: &GpuFacts, limit: &Throttling) -> Answer {
    Answer::of(&gpu.throttle_reasons, |names| {
        let mut severity = None;
        let mut reasons = Vec::new();
        for name in names {
            let matters = match ThrottleReason::named(name) {
                Some(reason) if limit.fatal.contains(&reason) => Severity::Fatal,
                Some(reason) if limit.warn.contains(&reason) => Severity::Warn,
                Some(_) => continue,
                None => Severity::Warn,
            };
            severity = severity.max(Some(matters));
            reasons.push(name.as_str());
        }
        match severity {
            None => Answer::Pass("clocks are not reduced".to_owned()),
            Some(severity) => Answer::found(
                severity,
                format!("clocks are reduced: {}", reasons.join(", ")),
                "Look at cooling, power supply and clock settings of the card.",
            ),
        }
    })
}

fn persistence(gpu: &GpuFacts, limit: &Must) -> Answer {
    Answer::of(&gpu.persistence, |on| match on {
        true => Answer::Pass("persistence mode is on".to_owned()),
        false => Answer::found(
            limit.severity,
            "persistence mode is off, so the first use is slow",
            "Turn it on with `nvidia-smi --persistence-mode=1`.",
        ),
    })
}

fn slowdown_margin(gpu: &GpuFacts, limit: &CelsiusAtLeast) -> Answer {
    Answer::of_both(&gpu.temperature_c, &gpu.slowdown_c, |now, slowdown| {
        let message = format!(
            "{now} C where the card slows down at {slowdown} C, a margin of {} wanted",
            limit.at_least
        );
        let holds = now.saturating_add(limit.at_least.0) <= *slowdown;
        Answer::unless(holds, limit.severity, message, "Let the card cool down, and check its air.")
    })
}

fn start_temperature(gpu: &GpuFacts, limit: &StartTemperature) -> Answer {
    Answer::of(&gpu.temperature_c, |now| {
        let message = format!("{now} C at the start, at most {} allowed", limit.most);
        let holds = *now <= limit.most.0;
        Answer::unless(holds, limit.severity, message, "Let the card cool down first.")
    })
}

fn mib(bytes: u64) -> u64 {
    Memory::from_bytes(bytes).mib()
}
