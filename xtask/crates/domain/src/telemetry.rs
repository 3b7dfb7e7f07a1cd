//! What GPUs did while a load ran: samples of them, and what the samples come to.
//!
//! A quantity that a card does not have is told as such in the result, and left out of every sample;
//! it is never zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::Reading;
use crate::names::names;
use crate::timestamp::Timestamp;

/// One line of `gpu.jsonl`: one GPU at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuSample {
    /// When it was read, by the clock on the wall.
    pub at: Timestamp,
    /// When it was read, in µs from the start of the sampler by a clock that never jumps.
    pub at_us: u64,
    /// How long the reading took, in µs.
    pub took_us: u64,
    /// Index of the GPU in PCI order.
    pub gpu: u32,
    /// What was read.
    #[serde(flatten)]
    pub quantities: Quantities,
}

/// What a GPU tells of itself at one moment. In files a value is a number, or why it could not be
/// read. One that is left out was not asked for at that moment, or the card does not have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantities {
    /// Memory in use, in MiB, without what the driver reserves.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub used_mib: Reading<u64>,
    /// Power drawn at this moment, in mW.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub power_mw: Reading<u64>,
    /// Power drawn over the last second, in mW.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub power_average_mw: Reading<u64>,
    /// Energy taken since the driver was loaded, in mJ.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub energy_mj: Reading<u64>,
    /// Clock of the multiprocessors, in MHz.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub sm_clock_mhz: Reading<u64>,
    /// Clock of the memory, in MHz.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub memory_clock_mhz: Reading<u64>,
    /// Share of the last fraction of a second in which any kernel ran, in percent.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub busy_percent: Reading<u64>,
    /// Share of the last fraction of a second in which memory was read or written, in percent.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub memory_busy_percent: Reading<u64>,
    /// Temperature of the die, in degrees Celsius.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub temperature_c: Reading<u64>,
    /// Temperature of the memory, in degrees Celsius.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub memory_temperature_c: Reading<u64>,
    /// Why clocks are lowered at this moment.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<Vec<ThrottleReason>>")]
    pub throttle_reasons: Reading<Vec<ThrottleReason>>,
    /// For how long clocks were lowered since the driver was loaded, in µs, by reason.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<BTreeMap<ThrottleReason, u64>>")]
    pub throttled_us: Reading<BTreeMap<ThrottleReason, u64>>,
    /// PCIe packets sent again since the driver was loaded; read at the first and the last moment
    /// only.
    #[serde(with = "compact", default = "absent", skip_serializing_if = "is_absent")]
    #[schemars(with = "compact::Form<u64>")]
    pub pcie_replays: Reading<u64>,
}

/// What a line means that does not tell a quantity.
const fn absent<T>() -> Reading<T> {
    Reading::NotSupported
}

/// Whether a line does not tell it.
const fn is_absent<T>(reading: &Reading<T>) -> bool {
    matches!(reading, Reading::NotSupported)
}

impl Quantities {
    /// What has a value of its own at each moment, without what counts up.
    #[must_use]
    pub fn gauges(self) -> Self {
        Self { energy_mj: absent(), throttled_us: absent(), pcie_replays: absent(), ..self }
    }

    /// A card that tells nothing.
    pub const NONE: Self = Self {
        used_mib: Reading::NotSupported,
        power_mw: Reading::NotSupported,
        power_average_mw: Reading::NotSupported,
        energy_mj: Reading::NotSupported,
        sm_clock_mhz: Reading::NotSupported,
        memory_clock_mhz: Reading::NotSupported,
        busy_percent: Reading::NotSupported,
        memory_busy_percent: Reading::NotSupported,
        temperature_c: Reading::NotSupported,
        memory_temperature_c: Reading::NotSupported,
        throttle_reasons: Reading::NotSupported,
        throttled_us: Reading::NotSupported,
        pcie_replays: Reading::NotSupported,
    };
}

/// Why clocks are reduced, as NVML tells it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ThrottleReason {
    /// Nothing runs.
    GpuIdle,
    /// Clocks were set by an administrator or a program.
    ApplicationsClocksSetting,
    /// The power limit is reached.
    SwPowerCap,
    /// The hardware halves the clocks, for heat or power.
    HwSlowdown,
    /// Clocks follow the slowest card of a group.
    SyncBoost,
    /// The driver lowers the clocks for heat.
    SwThermalSlowdown,
    /// The hardware lowers the clocks for heat.
    HwThermalSlowdown,
    /// The power supply asks for less.
    HwPowerBrakeSlowdown,
    /// A display needs other clocks.
    DisplayClockSetting,
}

// In the order of NVML's bits.
names!(ThrottleReason, "reason for lowered clocks", {
    GpuIdle => "gpu-idle",
    ApplicationsClocksSetting => "applications-clocks-setting",
    SwPowerCap => "sw-power-cap",
    HwSlowdown => "hw-slowdown",
    SyncBoost => "sync-boost",
    SwThermalSlowdown => "sw-thermal-slowdown",
    HwThermalSlowdown => "hw-thermal-slowdown",
    HwPowerBrakeSlowdown => "hw-power-brake-slowdown",
    DisplayClockSetting => "display-clock-setting",
});

impl ThrottleReason {
    /// The reason with this name, if it is a known one.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether the card was forced: too hot, or short of power from outside. A card that reaches
    /// its power limit works as it is meant to.
    pub const fn is_forced(self) -> bool {
        match self {
            Self::HwSlowdown
            | Self::SwThermalSlowdown
            | Self::HwThermalSlowdown
            | Self::HwPowerBrakeSlowdown => true,
            Self::GpuIdle
            | Self::ApplicationsClocksSetting
            | Self::SwPowerCap
            | Self::SyncBoost
            | Self::DisplayClockSetting => false,
        }
    }
}

/// What the GPUs did in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Telemetry {
    /// Length of the measurement that everything but `sampling` is about, in s.
    pub window_s: f64,
    /// Energy that all GPUs took together, and what that is for each token and request.
    pub energy: Reading<Energy>,
    /// Each GPU, in PCI order.
    pub gpus: Vec<GpuTelemetry>,
    /// How the sampler itself did.
    pub sampling: Sampling,
}

/// What one GPU did in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuTelemetry {
    /// Index in PCI order.
    pub gpu: u32,
    /// Energy by the card's counter, in J.
    pub counter_j: Reading<f64>,
    /// Energy by integrating the sampled power over time, in J.
    pub integral_j: Reading<f64>,
    /// Power drawn, in W.
    pub power_w: Reading<Spread>,
    /// Clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Reading<Spread>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Reading<Spread>,
    /// Share of time in which any kernel ran, in percent. It says nothing of how well the kernels
    /// used the card.
    pub busy_percent: Reading<Spread>,
    /// Temperature of the die, in degrees Celsius.
    pub temperature_c: Reading<Spread>,
    /// Temperature of the memory, in degrees Celsius.
    pub memory_temperature_c: Reading<Spread>,
    /// Share of the measurement in which clocks were lowered, by the card's own counters: by
    /// reason, 0 to 1.
    pub throttled: Reading<BTreeMap<ThrottleReason, f64>>,
    /// Share of the samples in which a reason held, 0 to 1.
    pub reasons_seen: Reading<BTreeMap<ThrottleReason, f64>>,
    /// PCIe packets sent again.
    pub pcie_replays: Reading<u64>,
}

/// A quantity over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Mean over time.
    pub mean: f64,
    /// Smallest sample.
    pub least: f64,
    /// Largest sample.
    pub most: f64,
}

/// Energy of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Energy {
    /// Energy of all GPUs, in J.
    pub joules: f64,
    /// Where it is from.
    pub source: EnergySource,
    /// Joules for each generated token; absent if none was generated.
    pub per_output_token_j: Option<f64>,
    /// Joules for each completed request; absent if none completed.
    pub per_request_j: Option<f64>,
    /// By how much the integral of the sampled power differs from the counter, as a fraction of
    /// the counter; absent where there are not both.
    pub integral_differs: Option<f64>,
    /// Why it may be wrong; nothing if it is valid.
    pub doubts: Vec<EnergyDoubt>,
}

impl Energy {
    /// Whether it may be believed.
    pub const fn is_valid(&self) -> bool {
        self.doubts.is_empty()
    }
}

/// Where an amount of energy is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnergySource {
    /// The cards' own counters, which miss nothing between samples.
    Counter,
    /// The sampled power, integrated: a card has no counter.
    Power,
}

names!(EnergySource, "source of energy", { Counter => "counter", Power => "power" });

/// Why an amount of energy may be wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EnergyDoubt {
    /// The measurement is short beside the steps of the counter.
    ShortWindow {
        /// Its length, in s.
        seconds: f64,
        /// What is needed, in s.
        least_s: f64,
    },
    /// The counter went back.
    CounterFell {
        /// On which GPU.
        gpu: u32,
    },
    /// The counter did not move.
    CounterStoodStill {
        /// On which GPU.
        gpu: u32,
    },
    /// Nothing was read for a while.
    Gap {
        /// On which GPU.
        gpu: u32,
        /// How long, in ms.
        ms: f64,
        /// What is allowed, in ms.
        most_ms: f64,
    },
    /// The samples begin late or end early.
    NotCovered {
        /// On which GPU.
        gpu: u32,
        /// What is not covered, in ms.
        ms: f64,
    },
    /// Counter and integral differ by more than sampling explains.
    IntegralDiffers {
        /// By how much, as a fraction of the counter.
        by: f64,
        /// What is allowed.
        most: f64,
    },
}

impl std::fmt::Display for EnergyDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ShortWindow { seconds, least_s } => {
                write!(f, "the run took {seconds:.1} s, at least {least_s:.0} s are needed")
            }
            Self::CounterFell { gpu } => write!(f, "the counter of GPU {gpu} went back"),
            Self::CounterStoodStill { gpu } => write!(f, "the counter of GPU {gpu} stood still"),
            Self::Gap { gpu, ms, most_ms } => write!(
                f,
                "GPU {gpu} was not read for {ms:.0} ms, at most {most_ms:.0} ms are allowed"
            ),
            Self::NotCovered { gpu, ms } => {
                write!(f, "{ms:.0} ms at an end of the run were not sampled on GPU {gpu}")
            }
            Self::IntegralDiffers { by, most } => write!(
                f,
                "the integral of the sampled power differs by {:+.1} %, at most {:.0} % are allowed",
                by * 100.0,
                most * 100.0
            ),
        }
    }
}

/// How a sampler did, over its whole life, which is a little longer than the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// Time from one sample to the next, as asked for, in ms.
    pub every_ms: f64,
    /// Moments at which all GPUs were read.
    pub samples: u64,
    /// Moments that were passed over, because the one before took too long.
    pub missed: u64,
    /// Moments at which the memory of a GPU could not be read.
    pub unreadable: u64,
    /// Lines that the file had no room for.
    pub dropped: u64,
    /// How late moments were, in ms: median.
    pub late_median_ms: f64,
    /// How late moments were, in ms: 99th percentile.
    pub late_p99_ms: f64,
    /// How late moments were, in ms: the worst.
    pub late_max_ms: f64,
    /// How long reading all GPUs took, in ms: median.
    pub reading_median_ms: f64,
    /// How long reading all GPUs took, in ms: the worst.
    pub reading_max_ms: f64,
    /// CPU time of the sampler as a share of one core.
    pub cpu_share: f64,
}

/// Limits for what is noted of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of the measurement, 0 to 1, in which clocks may be lowered by force.
    pub throttled: f64,
    /// PCIe replays a minute.
    pub pcie_replays_per_minute: u64,
}

/// The form of a [`Reading`] that does not make a line of numbers long.
mod compact {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    pub(super) enum Form<T> {
        Missing(Missing),
        Known(T),
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    pub(super) enum Missing {
        NotSupported,
        Unreadable(String),
    }

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        reading: &Reading<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match reading {
            Reading::Known(value) => value.serialize(to),
            Reading::NotSupported => Missing::NotSupported.serialize(to),
            Reading::Unreadable(reason) => Missing::Unreadable(reason.clone()).serialize(to),
        }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Reading<T>, D::Error> {
        Ok(match Form::deserialize(from)? {
            Form::Known(value) => Reading::Known(value),
            Form::Missing(Missing::NotSupported) => Reading::NotSupported,
            Form::Missing(Missing::Unreadable(reason)) => Reading::Unreadable(reason),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_numbers_what_is_not_there_and_what_was_refused() {
        let sample = GpuSample {
            at: Timestamp::from_unix_millis(1_795_490_100_000),
            at_us: 100_120,
            took_us: 850,
            gpu: 0,
            quantities: Quantities {
                used_mib: Reading::Known(70_123),
                power_mw: Reading::Unreadable("the GPU is lost".to_owned()),
                throttle_reasons: Reading::Known(vec![ThrottleReason::SwPowerCap]),
                throttled_us: Reading::Known([(ThrottleReason::SwPowerCap, 7)].into()),
                ..Quantities::NONE
            },
        };
        let line = serde_json::to_string(&sample).unwrap();
        assert!(line.contains(r#""used_mib":70123,"power_mw":{"unreadable":"the GPU is lost"}"#));
        assert!(!line.contains("energy_mj"), "{line}");
        assert!(line.contains(r#""throttle_reasons":["sw-power-cap"]"#), "{line}");
        assert!(line.contains(r#""throttled_us":{"sw-power-cap":7}"#), "{line}");
        assert_eq!(serde_json::from_str::<GpuSample>(&line).unwrap(), sample);
    }

    #[test]
    fn an_old_line_has_what_it_has() {
        let line = r#"{"at":"2026-11-24T03:15:00Z","at_us":0,"took_us":1,"gpu":1,"used_mib":5}"#;
        let sample: GpuSample = serde_json::from_str(line).unwrap();
        assert_eq!(
            sample.quantities,
            Quantities { used_mib: Reading::Known(5), ..Quantities::NONE }
        );
    }

    #[test]
    fn reasons_have_one_name_everywhere() {
        for reason in ThrottleReason::ALL.iter().copied() {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(ThrottleReason::named(reason.as_str()), Some(reason));
        }
        assert_eq!(ThrottleReason::named("hot"), None);
    }
}
