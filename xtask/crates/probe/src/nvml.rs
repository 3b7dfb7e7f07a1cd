//! GPU readings from NVML, the driver's management library, which is loaded at run time.
//!
//! Only what a healthy card, a card of another class or an old driver can refuse is left missing,
//! and each missing value says which of the two it is: not there, or there and unreadable.

pub(crate) mod errors;
mod quantities;

use std::path::Path;

use domain::facts::{DriverState, GpuFacts, GpuProcess, PastXid, Range, Reading};
use domain::telemetry::ThrottleReason;
use domain::units::Memory;
use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{
    Clock, ComputeMode, EccCounter, MemoryError, RetirementCause, TemperatureSensor,
    TemperatureThreshold,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::{FieldValueSample, MemoryInfo, ProcessInfo};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, NVML_FI_DEV_REMAPPED_FAILURE,
    NVML_FI_DEV_REMAPPED_PENDING, NVML_FI_DEV_REMAPPED_UNC,
};

use crate::kernel_log::KernelLog;
use crate::{GatherSpec, NoSuchGpu, Selection, process};

/// NVML knows no card with more links.
const NVLINKS: u32 = 18;

/// The driver, loaded.
#[derive(Debug)]
pub(crate) struct Nvml {
    library: nvml_wrapper::Nvml,
}

/// A GPU that was selected.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Index in PCI order.
    pub(crate) index: u32,
    uuid: String,
}

impl Nvml {
    /// Loads the library; what is wrong with the driver is an answer, not an error.
    pub(crate) fn open() -> Result<Self, DriverState> {
        match nvml_wrapper::Nvml::init() {
            Ok(library) => Ok(Self { library }),
            Err(NvmlError::LibloadingError(error)) => {
                Err(DriverState::Absent { reason: error.to_string() })
            }
            Err(error) => Err(DriverState::Broken { reason: error.to_string() }),
        }
    }

    /// Versions of the driver.
    pub(crate) fn driver(&self) -> DriverState {
        let answers = || {
            let version = self.library.sys_driver_version()?;
            let cuda = self.library.sys_cuda_driver_version()?;
            self.library.device_count()?;
            let cuda = format!("{}.{}", cuda / 1000, cuda % 1000 / 10);
            Ok(DriverState::Loaded { version, cuda })
        };
        answers()
            .unwrap_or_else(|error: NvmlError| DriverState::Broken { reason: error.to_string() })
    }

    /// The selected GPUs, in PCI order.
    pub(crate) fn choose(&self, selection: &Selection) -> Result<Vec<Chosen>, NoSuchGpu> {
        // A driver that cannot count its cards is told as broken by `driver`.
        let all: Vec<_> = (0..self.library.device_count().unwrap_or(0))
            .map(|index| {
                let uuid = self.library.device_by_index(index).and_then(|device| device.uuid());
                // A card that is lost has no name any more, but it must not vanish from the facts.
                Chosen { index, uuid: uuid.unwrap_or_else(|error| format!("#{index} ({error})")) }
            })
            .collect();
        let uuids: Vec<_> = all.iter().map(|gpu| gpu.uuid.as_str()).collect();
        let positions = selection.positions(&uuids)?;
        Ok(positions.into_iter().map(|position| all[position].clone()).collect())
    }

    /// Everything about the selected GPUs.
    pub(crate) fn gpus(&self, spec: &GatherSpec<'_>) -> Result<Vec<GpuFacts>, NoSuchGpu> {
        let log = KernelLog::read();
        let chosen = self.choose(spec.gpus)?;
        Ok(chosen
            .iter()
            .map(|gpu| match self.library.device_by_index(gpu.index) {
                Ok(device) => facts(gpu, &device, &log, spec.ours),
                Err(error) => silent(gpu, &error.to_string()),
            })
            .collect())
    }

    /// Memory in use on a GPU: one call of some microseconds.
    pub(crate) fn memory_used(&self, gpu: &Chosen) -> Reading<Memory> {
        match self.library.device_by_index(gpu.index) {
            Ok(device) => part(&memory(&device), |memory| Memory::from_bytes(memory.used)),
            Err(error) => reading(Err(error)),
        }
    }
}

/// Sorts NVML's answers: not there, or there and unreadable.
fn reading<T>(answer: Result<T, NvmlError>) -> Reading<T> {
    match answer {
        Ok(value) => Reading::Known(value),
        Err(error) if is_not_supported(&error) => Reading::NotSupported,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

/// Newer drivers refuse with codes that the wrapper has no name for: 25 (argument version), 26
/// (call removed) up to 30; older ones lack the function altogether.
fn is_not_supported(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound
            | NvmlError::UnexpectedVariant(25..=30)
    )
}

fn facts(
    gpu: &Chosen,
    device: &Device<'_>,
    log: &Result<KernelLog, String>,
    ours: &[u32],
) -> GpuFacts {
    let memory = memory(device);
    let processes = processes(device, ours);
    let openers = openers(device, &processes);
    let mig = reading(device.mig_mode());
    let ecc = reading(device.is_ecc_enabled());
    let remapping = Remapping::read(device);
    let errors = |kind, counter| reading(device.total_ecc_errors(kind, counter));
    GpuFacts {
        index: gpu.index,
        uuid: gpu.uuid.clone(),
        name: device.name().unwrap_or_else(|error| format!("unknown ({error})")),
        vram_total_bytes: part(&memory, |info| info.total),
        vram_used_bytes: part(&memory, |info| info.used),
        processes,
        display_active: reading(device.is_display_active()),
        compute_mode: reading(device.compute_mode().map(compute_mode)),
        mig_enabled: part(&mig, |mode| mode.current != 0),
        mig_pending: part(&mig, |mode| mode.pending != 0),
        ecc_enabled: part(&ecc, |state| state.currently_enabled),
        ecc_pending: part(&ecc, |state| state.pending_enabled),
        ecc_uncorrected_volatile: errors(MemoryError::Uncorrected, EccCounter::Volatile),
        ecc_uncorrected_aggregate: errors(MemoryError::Uncorrected, EccCounter::Aggregate),
        ecc_corrected_volatile: errors(MemoryError::Corrected, EccCounter::Volatile),
        remapped_rows_uncorrected: remapping.rows,
        remapping_pending: remapping.pending,
        remapping_failed: remapping.failed,
        retired_pages: retired_pages(device),
        recovery_action: remapping.recovery,
        past_xids: xids(device, log),
        openers,
        pcie_width: range(device.current_pcie_link_width(), device.max_pcie_link_width()),
        pcie_generation: range(device.current_pcie_link_gen(), device.max_pcie_link_gen()),
        pcie_replays: reading(device.pcie_replay_counter().map(u64::from)),
        nvlinks: nvlinks(device),
        throttle_reasons: reading(device.current_throttle_reasons().map(throttle_reasons)),
        persistence: reading(device.is_in_persistent_mode()),
        power_limit_mw: range(
            device.enforced_power_limit(),
            device.power_management_limit_default(),
        ),
        sm_clock_mhz: range(device.clock_info(Clock::SM), device.max_clock_info(Clock::SM)),
        temperature_c: reading(device.temperature(TemperatureSensor::Gpu)),
        slowdown_c: reading(device.temperature_threshold(TemperatureThreshold::Slowdown)),
    }
}

/// Memory of a card.
fn memory(device: &Device<'_>) -> Reading<MemoryInfo> {
    reading(device.memory_info())
}

/// Facts of a card that does not answer.
fn silent(gpu: &Chosen, reason: &str) -> GpuFacts {
    fn no<T>(reason: &str) -> Reading<T> {
        Reading::Unreadable(reason.to_owned())
    }
    GpuFacts {
        index: gpu.index,
        uuid: gpu.uuid.clone(),
        name: "unknown".to_owned(),
        vram_total_bytes: no(reason),
        vram_used_bytes: no(reason),
        processes: no(reason),
        display_active: no(reason),
        compute_mode: no(reason),
        mig_enabled: no(reason),
        mig_pending: no(reason),
        ecc_enabled: no(reason),
        ecc_pending: no(reason),
        ecc_uncorrected_volatile: no(reason),
        ecc_uncorrected_aggregate: no(reason),
        ecc_corrected_volatile: no(reason),
        remapped_rows_uncorrected: no(reason),
        remapping_pending: no(reason),
        remapping_failed: no(reason),
        retired_pages: no(reason),
        recovery_action: no(reason),
        past_xids: no(reason),
        openers: no(reason),
        pcie_width: no(reason),
        pcie_generation: no(reason),
        pcie_replays: no(reason),
        nvlinks: no(reason),
        throttle_reasons: no(reason),
        persistence: no(reason),
        power_limit_mw: no(reason),
        sm_clock_mhz: no(reason),
        temperature_c: no(reason),
        slowdown_c: no(reason),
    }
}

/// One value of an answer that has several.
fn part<T, U>(answer: &Reading<T>, pick: impl FnOnce(&T) -> U) -> Reading<U> {
    match answer {
        Reading::Known(value) => Reading::Known(pick(value)),
        Reading::NotSupported => Reading::NotSupported,
        Reading::Unreadable(reason) => Reading::Unreadable(reason.clone()),
    }
}

/// A value and what it is measured against; both are needed.
fn range(now: Result<u32, NvmlError>, full: Result<u32, NvmlError>) -> Reading<Range> {
    reading(now.and_then(|now| Ok(Range { now: now.into(), full: full?.into() })))
}

fn compute_mode(mode: ComputeMode) -> String {
    let name = match mode {
        ComputeMode::Default => "default",
        ComputeMode::Prohibited => "prohibited",
        // No longer supported by any driver, and like its successor in what matters here.
        ComputeMode::ExclusiveThread | ComputeMode::ExclusiveProcess => "exclusive-process",
    };
    name.to_owned()
}

/// The bits of NVML, in their order.
const NAMES: [(ThrottleReasons, ThrottleReason); 9] = [
    (ThrottleReasons::GPU_IDLE, ThrottleReason::GpuIdle),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, ThrottleReason::ApplicationsClocksSetting),
    (ThrottleReasons::SW_POWER_CAP, ThrottleReason::SwPowerCap),
    (ThrottleReasons::HW_SLOWDOWN, ThrottleReason::HwSlowdown),
    (ThrottleReasons::SYNC_BOOST, ThrottleReason::SyncBoost),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, ThrottleReason::SwThermalSlowdown),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, ThrottleReason::HwThermalSlowdown),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, ThrottleReason::HwPowerBrakeSlowdown),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, ThrottleReason::DisplayClockSetting),
];

fn throttle_reasons(reasons: ThrottleReasons) -> Vec<String> {
    let given = NAMES.iter().filter(|(reason, _)| reasons.contains(*reason));
    given.map(|(_, name)| name.to_string()).collect()
}

/// Processes of all kinds, each once with the most memory that is told of it.
fn processes(device: &Device<'_>, ours: &[u32]) -> Reading<Vec<GpuProcess>> {
    let lists = [
        device.running_compute_processes(),
        device.running_graphics_processes(),
        device.mps_running_compute_processes(),
    ];
    let mut processes: Vec<GpuProcess> = Vec::new();
    for (position, list) in lists.into_iter().enumerate() {
        match reading(list) {
            Reading::Known(list) => list.iter().for_each(|info| add(&mut processes, info, ours)),
            // Only the compute processes are what every card can tell.
            Reading::NotSupported if position == 0 => return Reading::NotSupported,
            Reading::NotSupported => {}
            Reading::Unreadable(reason) => return Reading::Unreadable(reason),
        }
    }
    Reading::Known(processes)
}

fn add(processes: &mut Vec<GpuProcess>, info: &ProcessInfo, ours: &[u32]) {
    let used_bytes = match info.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    match processes.iter_mut().find(|process| process.pid == info.pid) {
        Some(process) => process.used_bytes = process.used_bytes.max(used_bytes),
        None => processes.push(GpuProcess {
            pid: info.pid,
            command: process::command(info.pid),
            used_bytes,
            ours: ours.contains(&info.pid),
        }),
    }
}

/// What the wrapper has no methods for, read by field.
struct Remapping {
    rows: Reading<u64>,
    pending: Reading<bool>,
    failed: Reading<bool>,
    recovery: Reading<String>,
}

impl Remapping {
    fn read(device: &Device<'_>) -> Self {
        let field = |id| field(device, id);
        let pending = field(NVML_FI_DEV_REMAPPED_PENDING);
        let failed = field(NVML_FI_DEV_REMAPPED_FAILURE);
        let recovery = field(NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
        Self {
            rows: field(NVML_FI_DEV_REMAPPED_UNC),
            pending: part(&pending, |count| *count != 0),
            failed: part(&failed, |count| *count != 0),
            recovery: part(&recovery, |action| recovery_action(*action)),
        }
    }
}

/// One field, asked for alone.
fn field(device: &Device<'_>, id: u32) -> Reading<u64> {
    let answer = device.field_values_for(&[FieldId(id)]);
    let first = answer.and_then(|mut values| values.pop().unwrap_or(Err(NvmlError::NoData)));
    value_of(id, first)
}

/// The value of a field. The id that is in the answer may be a translated one.
fn value_of(id: u32, answer: Result<FieldValueSample, NvmlError>) -> Reading<u64> {
    match reading(answer.and_then(|sample| sample.value)) {
        Reading::Known(SampleValue::U32(value)) => Reading::Known(value.into()),
        Reading::Known(SampleValue::U64(value)) => Reading::Known(value),
        Reading::Known(SampleValue::I64(value)) => match u64::try_from(value) {
            Ok(value) => Reading::Known(value),
            Err(_) => Reading::Unreadable(format!("field {id} is {value}")),
        },
        Reading::Known(SampleValue::F64(value)) => {
            Reading::Unreadable(format!("field {id} is {value}, not a count"))
        }
        Reading::NotSupported => Reading::NotSupported,
        Reading::Unreadable(reason) => Reading::Unreadable(reason),
    }
}

fn recovery_action(action: u64) -> String {
    match action {
        0 => "none".to_owned(),
        1 => "reset".to_owned(),
        2 => "reboot".to_owned(),
        3 => "drain-p2p".to_owned(),
        4 => "drain-and-reset".to_owned(),
        other => format!("unknown-{other}"),
    }
}

fn retired_pages(device: &Device<'_>) -> Reading<u64> {
    let causes = [RetirementCause::MultipleSingleBitEccErrors, RetirementCause::DoubleBitEccError];
    let mut pages = 0;
    for cause in causes {
        match reading(device.retired_pages(cause)) {
            Reading::Known(retired) => pages += retired.len() as u64,
            Reading::NotSupported => return Reading::NotSupported,
            Reading::Unreadable(reason) => return Reading::Unreadable(reason),
        }
    }
    Reading::Known(pages)
}

/// Processes that have the card open without being told of by the driver.
fn openers(device: &Device<'_>, told: &Reading<Vec<GpuProcess>>) -> Reading<Vec<GpuProcess>> {
    let minor = match reading(device.minor_number()) {
        Reading::Known(minor) => minor,
        Reading::NotSupported => return Reading::NotSupported,
        Reading::Unreadable(reason) => return Reading::Unreadable(reason),
    };
    let known = |pid| told.known().is_some_and(|all| all.iter().any(|one| one.pid == pid));
    let own = std::process::id();
    let holders = process::holders(Path::new(&format!("/dev/nvidia{minor}")));
    let others = holders.into_iter().filter(|pid| *pid != own && !known(*pid));
    let told =
        |pid| GpuProcess { pid, command: process::command(pid), used_bytes: None, ours: false };
    Reading::Known(others.map(told).collect())
}

fn xids(device: &Device<'_>, log: &Result<KernelLog, String>) -> Reading<Vec<PastXid>> {
    let log = match log {
        Ok(log) => log,
        Err(reason) => return Reading::Unreadable(reason.clone()),
    };
    match reading(device.pci_info()) {
        Reading::Known(pci) => match log.xids_of(&pci.bus_id) {
            Ok(xids) => Reading::Known(xids),
            Err(reason) => Reading::Unreadable(reason),
        },
        Reading::NotSupported => Reading::NotSupported,
        Reading::Unreadable(reason) => Reading::Unreadable(reason),
    }
}

/// Links that are up, of those that the card has. A card without any refuses the first question;
/// a link beyond the last is refused as a wrong argument.
fn nvlinks(device: &Device<'_>) -> Reading<Range> {
    let mut links = Range { now: 0, full: 0 };
    for link in 0..NVLINKS {
        match device.link_wrapper_for(link).is_active() {
            Ok(active) => {
                links.full += 1;
                links.now += u64::from(active);
            }
            Err(error) if is_not_supported(&error) => {}
            Err(NvmlError::InvalidArg) => break,
            Err(error) => return Reading::Unreadable(error.to_string()),
        }
    }
    if links.full == 0 { Reading::NotSupported } else { Reading::Known(links) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_card_does_not_have_is_not_what_cannot_be_read() {
        let not_there = [
            NvmlError::NotSupported,
            NvmlError::FunctionNotFound,
            NvmlError::FailedToLoadSymbol("nvmlDeviceGetMigMode".to_owned()),
            NvmlError::UnexpectedVariant(26),
        ];
        for error in not_there {
            assert_eq!(reading::<u32>(Err(error)), Reading::NotSupported);
        }
        for error in [NvmlError::NoPermission, NvmlError::GpuLost, NvmlError::UnexpectedVariant(5)]
        {
            assert!(matches!(reading::<u32>(Err(error)), Reading::Unreadable(_)));
        }
    }

    #[test]
    fn every_throttle_reason_has_a_name_that_the_skill_knows() {
        let names = throttle_reasons(ThrottleReasons::all());
        let known: Vec<_> = ThrottleReason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, known);
        assert_eq!(throttle_reasons(ThrottleReasons::empty()), Vec::<String>::new());
    }

    #[test]
    fn a_process_of_two_kinds_is_told_once() {
        let info = |pid, used_gpu_memory| ProcessInfo {
            pid,
            used_gpu_memory,
            gpu_instance_id: None,
            compute_instance_id: None,
        };
        let mut processes = Vec::new();
        add(&mut processes, &info(u32::MAX, UsedGpuMemory::Unavailable), &[]);
        add(&mut processes, &info(u32::MAX, UsedGpuMemory::Used(7)), &[]);
        add(
            &mut processes,
            &info(std::process::id(), UsedGpuMemory::Used(1)),
            &[std::process::id()],
        );
        assert_eq!(processes.len(), 2);
        assert_eq!((processes[0].used_bytes, processes[0].ours), (Some(7), false));
        assert!(processes[1].ours && processes[1].command.is_some());
    }
}
