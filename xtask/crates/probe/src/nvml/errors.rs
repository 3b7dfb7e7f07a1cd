//! Errors that the driver reports while a load runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use domain::facts::Reading;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::event::EventData;

use super::{Chosen, Nvml, is_not_supported};

/// How long the driver is waited for at a time: whoever ends the watch waits no longer than this.
const WAIT_MS: u32 = 100;

/// A card that reports more errors than this in one run has said enough.
const MOST_ERRORS: usize = 100;

/// An error that a GPU reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuError {
    /// Index of the GPU, if the driver tells.
    pub gpu: Option<u32>,
    /// What it was, for example `Xid 79`.
    pub error: String,
}

/// Collects errors of these GPUs until `stop`; says through `ready` when it has begun to.
pub(crate) fn watch(
    nvml: &Arc<Nvml>,
    gpus: &[Chosen],
    stop: &AtomicBool,
    ready: &Sender<()>,
) -> Reading<Vec<GpuError>> {
    let collected = collect(nvml, gpus, stop, ready);
    match collected {
        Ok(errors) => Reading::Known(errors),
        Err(error) if is_not_supported(&error) => Reading::NotSupported,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

fn collect(
    nvml: &Nvml,
    gpus: &[Chosen],
    stop: &AtomicBool,
    ready: &Sender<()>,
) -> Result<Vec<GpuError>, NvmlError> {
    let mut set = nvml.library.create_event_set()?;
    let wanted = EventTypes::CRITICAL_XID_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
    for gpu in gpus {
        let device = nvml.library.device_by_index(gpu.index)?;
        let events = device.supported_event_types()? & wanted;
        if !events.contains(EventTypes::CRITICAL_XID_ERROR) {
            return Err(NvmlError::NotSupported);
        }
        set = device.register_events(events, set).map_err(|refused| refused.error)?;
    }
    // Nobody waits for it any more, if the watch was given up meanwhile.
    let _ = ready.send(());
    let mut errors = Vec::new();
    loop {
        // What happened before the end of the run must not be missed: one more look.
        let last = stop.load(Ordering::Acquire);
        match set.wait(if last { 0 } else { WAIT_MS }) {
            Ok(event) if errors.len() < MOST_ERRORS => errors.push(told(&event, gpus)),
            Ok(_) => return Ok(errors),
            Err(NvmlError::Timeout) if last => return Ok(errors),
            Err(NvmlError::Timeout) => {}
            Err(error) => return Err(error),
        }
    }
}

fn told(event: &EventData<'_>, gpus: &[Chosen]) -> GpuError {
    let error = match &event.event_data {
        Some(XidError::Value(xid)) => format!("Xid {xid}"),
        Some(XidError::Unknown) => "an Xid of unknown number".to_owned(),
        None => "an uncorrected memory error".to_owned(),
    };
    let index = event.device.index().ok();
    let only = gpus.first().filter(|_| gpus.len() == 1).map(|gpu| gpu.index);
    GpuError { gpu: index.or(only), error }
}
