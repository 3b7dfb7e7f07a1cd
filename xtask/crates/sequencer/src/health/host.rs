//! The checks of the host.

use domain::facts::{HostFacts, Reading};
use domain::units::Memory;
use skill::health::{
    Checks, Environment, Governor, MemoryAtLeast, MemoryAtMost, MemoryLevels, Must, ShareAtMost,
};

use super::tally::{Answer, Tally};
use domain::facts::Severity;

/// Does every check of the host that the skill asks for.
pub(super) fn judge(host: &HostFacts, checks: &Checks, tally: &mut Tally) {
    tally.check("load", None, checks.load.as_ref(), |limit| load(host, limit));
    tally.check("governor", None, checks.governor.as_ref(), |limit| governor(host, limit));
    tally.check("memory_available", None, checks.memory_available.as_ref(), |limit| {
        at_least(&host.memory_available_bytes, limit, "of memory", "End what else runs here.")
    });
    tally.check("swap_used", None, checks.swap_used.as_ref(), |limit| swap_used(host, limit));
    tally.check("shm_free", None, checks.shm_free.as_ref(), |limit| {
        let advice = "Enlarge `/dev/shm`, in a container with `--shm-size`.";
        at_least(&host.shm_free_bytes, limit, "of `/dev/shm`", advice)
    });
    tally.check("disk_free", None, checks.disk_free.as_ref(), |limit| disk_free(host, limit));
    tally.check("environment", None, checks.environment.as_ref(), |limit| environment(host, limit));
}

/// Does every check of the host that concerns only targets on a GPU.
pub(super) fn judge_for_gpus(host: &HostFacts, checks: &Checks, tally: &mut Tally) {
    tally.check("fabric", None, checks.fabric.as_ref(), |limit| fabric(host, limit));
    tally.check("mps", None, checks.mps.as_ref(), |limit| mps(host, limit));
}

fn fabric(host: &HostFacts, limit: &Must) -> Answer {
    Answer::of(&host.fabric, |fabric| {
        let switches = format!("GPUs are joined by {} switches", fabric.switches);
        match fabric.manager_runs {
            true => Answer::Pass(format!("{switches}, and the fabric manager runs")),
            false => Answer::found(
                limit.severity,
                format!("{switches}, but no fabric manager runs"),
                "Start it with `systemctl start nvidia-fabricmanager`.",
            ),
        }
    })
}

fn mps(host: &HostFacts, limit: &Must) -> Answer {
    Answer::of(&host.mps, |processes| {
        if processes.is_empty() {
            return Answer::Pass("no multi-process service runs".to_owned());
        }
        let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
        let message = format!("the multi-process service runs: processes {}", pids.join(", "));
        let advice = "End it with `echo quit | nvidia-cuda-mps-control`.";
        Answer::found(limit.severity, message, advice)
    })
}

fn load(host: &HostFacts, limit: &ShareAtMost) -> Answer {
    Answer::of(&host.load_1m, |load| {
        let allowed = f64::from(host.cpus) * limit.most.fraction();
        let message = format!(
            "load {load:.2} on {} CPUs, at most {allowed:.2} allowed ({})",
            host.cpus, limit.most
        );
        Answer::unless(*load <= allowed, limit.severity, message, "End what else runs here.")
    })
}

fn governor(host: &HostFacts, limit: &Governor) -> Answer {
    Answer::of(&host.governor, |governor| {
        let allowed = limit.allowed.join(", ");
        let message = format!("the CPU frequency governor is `{governor}`, allowed: {allowed}");
        let holds = limit.allowed.contains(governor);
        let advice = "Set the governor with `cpupower frequency-set -g performance`.";
        Answer::unless(holds, limit.severity, message, advice)
    })
}

fn at_least(free: &Reading<u64>, limit: &MemoryAtLeast, what: &str, advice: &str) -> Answer {
    Answer::of(free, |bytes| {
        let free = Memory::from_bytes(*bytes);
        let message = format!("{} MiB {what} free, at least {} wanted", free.mib(), limit.at_least);
        Answer::unless(limit.at_least <= free, limit.severity, message, advice)
    })
}

fn swap_used(host: &HostFacts, limit: &MemoryAtMost) -> Answer {
    Answer::of(&host.swap_used_bytes, |bytes| {
        let used = Memory::from_bytes(*bytes);
        let message = format!("{} MiB of swap in use, at most {} allowed", used.mib(), limit.most);
        let advice = "Free memory, then empty the swap with `swapoff -a && swapon -a`.";
        Answer::unless(used <= limit.most, limit.severity, message, advice)
    })
}

fn disk_free(host: &HostFacts, limit: &MemoryLevels) -> Answer {
    Answer::of(&host.disk_free_bytes, |bytes| {
        let free = Memory::from_bytes(*bytes);
        let advice = "Free space, or put the results elsewhere with `--results`.";
        let answer = |severity, allowed: Memory| {
            let message =
                format!("{} MiB free where results go, at least {allowed} wanted", free.mib());
            Answer::unless(allowed <= free, severity, message, advice)
        };
        if free < limit.fatal_below {
            answer(Severity::Fatal, limit.fatal_below)
        } else {
            answer(Severity::Warn, limit.warn_below)
        }
    })
}

fn environment(host: &HostFacts, limit: &Environment) -> Answer {
    let set: Vec<_> = limit
        .variables
        .iter()
        .filter_map(|name| Some(format!("{name}={}", host.harmful_env.get(name)?)))
        .collect();
    let message = match set.as_slice() {
        [] => "none of the variables that slow GPU programs down is set".to_owned(),
        set => format!("set, and slows GPU programs down: {}", set.join(", ")),
    };
    Answer::unless(set.is_empty(), limit.severity, message, "Unset it before measuring.")
}
