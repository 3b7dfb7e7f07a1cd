//! What the host's CPUs do while a load runs, by the kernel's own accounts.

use std::time::Instant;

use domain::host::CpuUse;

use crate::host::text;

/// The host's CPUs, watched from now on. Nothing of ours runs meanwhile: the kernel counts.
#[derive(Debug)]
pub struct CpuWatch {
    began: Instant,
    times: Option<Times>,
    waited_us: Option<u64>,
}

impl CpuWatch {
    /// Begins.
    pub fn start() -> Self {
        Self { began: Instant::now(), times: times(), waited_us: waited_us() }
    }

    /// What the CPUs did since; nothing if the kernel's accounts cannot be read.
    pub fn stop(&self) -> Option<CpuUse> {
        let window_s = self.began.elapsed().as_secs_f64();
        let used = Times::between(self.times.as_ref()?, &times()?);
        let waited =
            waited_us().zip(self.waited_us).map(|(last, first)| last.saturating_sub(first));
        Some(CpuUse {
            window_s,
            busy: share(used.busy, used.busy + used.idle + used.stolen),
            stolen: share(used.stolen, used.busy + used.stolen),
            waiting: waited.map(|us| (us as f64 / 1e6 / window_s).min(1.0)),
        })
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Time of all CPUs since the machine started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
    stolen: u64,
}

impl Times {
    /// Waiting for a disk is counted now and then backwards.
    fn between(first: &Self, last: &Self) -> Self {
        Self {
            busy: last.busy.saturating_sub(first.busy),
            idle: last.idle.saturating_sub(first.idle),
            stolen: last.stolen.saturating_sub(first.stolen),
        }
    }
}

fn times() -> Option<Times> {
    times_in(&text("/proc/stat").ok()?)
}

/// `cpu  user nice system idle iowait irq softirq steal …`; what guests take is part of `user`.
fn times_in(stat: &str) -> Option<Times> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, idle, disk, irq, softirq, stolen, ..] = ticks[..] else {
        return None;
    };
    Some(Times { busy: user + nice + system + irq + softirq, idle: idle + disk, stolen })
}

fn waited_us() -> Option<u64> {
    waited_in(&text("/proc/pressure/cpu").ok()?)
}

/// `some avg10=0.05 avg60=8.30 avg300=7.02 total=10376968861`
fn waited_in(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_of_all_cpus_and_guests_are_not_counted_twice() {
        let stat = "cpu  100 20 30 4000 50 6 7 8 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n";
        assert_eq!(times_in(stat), Some(Times { busy: 163, idle: 4050, stolen: 8 }));
        assert_eq!(times_in("cpu  1 2 3\n"), None);
        assert_eq!(times_in("cpu0 1 2 3 4 5 6 7 8 9 10\n"), None);
    }

    #[test]
    fn only_the_time_in_which_some_task_waited_counts() {
        let text = "some avg10=0.05 avg60=8.30 avg300=7.02 total=10376968861\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(waited_in(text), Some(10_376_968_861));
        assert_eq!(waited_in("full total=7\n"), None);
    }

    #[test]
    fn a_count_that_goes_back_is_no_time() {
        let first = Times { busy: 10, idle: 50, stolen: 1 };
        let last = Times { busy: 30, idle: 49, stolen: 1 };
        assert_eq!(Times::between(&first, &last), Times { busy: 20, idle: 0, stolen: 0 });
    }

    #[test]
    fn this_host_has_accounts() {
        let used = CpuWatch::start().stop().unwrap();
        assert!((0.0..=1.0).contains(&used.busy) && (0.0..=1.0).contains(&used.stolen), "{used:?}");
    }
}
