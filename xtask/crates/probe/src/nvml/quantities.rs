//! What is read of a GPU while a load runs.
//!
//! Every call takes the driver's one lock, which the program that is measured needs too: what is
//! asked here is asked in as few calls as there are, and the list of processes never.

use std::collections::BTreeMap;

use domain::facts::Reading;
use domain::telemetry::{Quantities, ThrottleReason};
use domain::units::Memory;
use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, PerformancePolicy, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST,
    NVML_FI_DEV_MEMORY_TEMP, NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT,
    NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
};

use super::{Chosen, NAMES, Nvml, part, reading, value_of};
use crate::sampler::Moment;

const POWER: usize = 0;
const POWER_AVERAGE: usize = 1;
const MEMORY_TEMPERATURE: usize = 2;
const GAUGES: usize = 3;
const ENERGY: usize = GAUGES;
const COUNTERS: usize = 4;

/// Everything that has a field, to be asked for in one call; gauges stand first. Answers come in
/// this order; their ids may be others.
const FIELDS: [FieldId; 9] = [
    FieldId(NVML_FI_DEV_POWER_INSTANT),
    FieldId(NVML_FI_DEV_POWER_AVERAGE),
    FieldId(NVML_FI_DEV_MEMORY_TEMP),
    FieldId(NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION),
    FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP),
    FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST),
    FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
    FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
    FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),
];

/// What the counters among the fields count, from [`COUNTERS`] on.
const COUNTED: [ThrottleReason; 5] = [
    ThrottleReason::SwPowerCap,
    ThrottleReason::SyncBoost,
    ThrottleReason::SwThermalSlowdown,
    ThrottleReason::HwThermalSlowdown,
    ThrottleReason::HwPowerBrakeSlowdown,
];

impl Nvml {
    /// Reads a GPU once.
    pub(crate) fn quantities(&self, gpu: &Chosen, moment: Moment) -> Quantities {
        match self.library.device_by_index(gpu.index) {
            Ok(device) => quantities(&device, moment),
            Err(error) => refused(&error),
        }
    }
}

fn quantities(device: &Device<'_>, moment: Moment) -> Quantities {
    let asked = match moment {
        Moment::Gauges => &FIELDS[..GAUGES],
        Moment::Counters | Moment::Edge => &FIELDS[..],
    };
    let fields = fields(device, asked);
    let gauges = gauges(device, &fields);
    if moment == Moment::Gauges {
        return gauges;
    }
    Quantities {
        energy_mj: or_else(&fields[ENERGY], || device.total_energy_consumption()),
        throttled_us: throttled(device, &fields),
        pcie_replays: match moment {
            Moment::Edge => reading(device.pcie_replay_counter().map(u64::from)),
            Moment::Counters | Moment::Gauges => Reading::NotSupported,
        },
        ..gauges
    }
}

/// What [`Quantities::gauges`] keeps: on an H100 each call takes 50 to 150 µs.
fn gauges(device: &Device<'_>, fields: &[Reading<u64>]) -> Quantities {
    let busy = reading(device.utilization_rates());
    let power_average = || device.power_usage().map(u64::from);
    Quantities {
        used_mib: part(&super::memory(device), |memory| Memory::from_bytes(memory.used).mib()),
        power_mw: fields[POWER].clone(),
        power_average_mw: or_else(&fields[POWER_AVERAGE], power_average),
        sm_clock_mhz: reading(device.clock_info(Clock::SM).map(u64::from)),
        memory_clock_mhz: reading(device.clock_info(Clock::Memory).map(u64::from)),
        busy_percent: part(&busy, |busy| busy.gpu.into()),
        memory_busy_percent: part(&busy, |busy| busy.memory.into()),
        temperature_c: reading(device.temperature(TemperatureSensor::Gpu).map(u64::from)),
        memory_temperature_c: fields[MEMORY_TEMPERATURE].clone(),
        throttle_reasons: part(&reading(device.current_throttle_reasons()), |held| named(*held)),
        ..Quantities::NONE
    }
}

/// Everything about a card that does not answer.
fn refused(error: &NvmlError) -> Quantities {
    let no = || Reading::Unreadable(error.to_string());
    Quantities { used_mib: no(), power_mw: no(), energy_mj: no(), ..Quantities::NONE }
}

/// The values of these fields, in their order.
fn fields(device: &Device<'_>, asked: &[FieldId]) -> Vec<Reading<u64>> {
    match device.field_values_for(asked) {
        Ok(values) => {
            let values = values.into_iter().zip(asked);
            values.map(|(value, FieldId(id))| value_of(*id, value)).collect()
        }
        Err(error) => asked.iter().map(|_| reading::<u64>(Err(clone(&error)))).collect(),
    }
}

/// The errors of the library cannot be copied; only how they are told apart matters here.
fn clone(error: &NvmlError) -> NvmlError {
    match error {
        error if super::is_not_supported(error) => NvmlError::NotSupported,
        NvmlError::GpuLost => NvmlError::GpuLost,
        NvmlError::NoPermission => NvmlError::NoPermission,
        _ => NvmlError::Unknown,
    }
}

/// What an older call tells, where a card does not have the field.
fn or_else(field: &Reading<u64>, older: impl FnOnce() -> Result<u64, NvmlError>) -> Reading<u64> {
    match field {
        Reading::NotSupported => reading(older()),
        Reading::Known(_) | Reading::Unreadable(_) => field.clone(),
    }
}

fn named(held: ThrottleReasons) -> Vec<ThrottleReason> {
    let held = NAMES.iter().filter(|(reason, _)| held.contains(*reason));
    held.map(|(_, name)| *name).collect()
}

/// The counters of lowered clocks; a card without them may have the older ones of two causes.
fn throttled(
    device: &Device<'_>,
    fields: &[Reading<u64>],
) -> Reading<BTreeMap<ThrottleReason, u64>> {
    let mut counters = BTreeMap::new();
    for (reason, field) in COUNTED.iter().zip(&fields[COUNTERS..]) {
        match field {
            Reading::Known(ns) => _ = counters.insert(*reason, ns / 1000),
            Reading::NotSupported => {}
            Reading::Unreadable(why) => return Reading::Unreadable(why.clone()),
        }
    }
    if !counters.is_empty() {
        return Reading::Known(counters);
    }
    let older = [
        (ThrottleReason::SwPowerCap, PerformancePolicy::Power),
        (ThrottleReason::HwThermalSlowdown, PerformancePolicy::Thermal),
    ];
    for (reason, policy) in older {
        match reading(device.violation_status(policy)) {
            Reading::Known(time) => _ = counters.insert(reason, time.violation_time / 1000),
            Reading::NotSupported => return Reading::NotSupported,
            Reading::Unreadable(why) => return Reading::Unreadable(why),
        }
    }
    Reading::Known(counters)
}
