//! A watch for errors that GPUs report while a load runs: such a run does not count.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use domain::facts::Reading;

use crate::nvml::errors::{self, GpuError};
use crate::{NoSuchGpu, Probe, Readings, Selection};

/// The driver takes milliseconds to begin; a watch that begins later is late, not missing.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// A watch that has begun. One that is dropped ends by itself, within a tenth of a second.
#[derive(Debug)]
pub struct ErrorWatch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Reading<Vec<GpuError>>>>,
    scripted: Vec<GpuError>,
}

impl ErrorWatch {
    /// Begins to watch. `None` where there are no GPUs.
    ///
    /// # Errors
    ///
    /// A selected GPU is not there, or no thread can be started.
    pub fn start(probe: &Probe, gpus: &Selection) -> Result<Option<Self>, ErrorWatchError> {
        let stop = Arc::new(AtomicBool::new(false));
        match &probe.readings {
            Readings::None | Readings::NoDriver(_) => Ok(None),
            Readings::Script(script) => {
                let Some(gpu) = script.first_gpu(gpus)? else { return Ok(None) };
                let told = |xid: &u32| GpuError { gpu: Some(gpu), error: format!("Xid {xid}") };
                let scripted = script.live_xids().iter().map(told).collect();
                Ok(Some(Self { stop, thread: None, scripted }))
            }
            Readings::Nvml(nvml) => {
                let chosen = nvml.choose(gpus)?;
                if chosen.is_empty() {
                    return Ok(None);
                }
                let (nvml, told) = (Arc::clone(nvml), Arc::clone(&stop));
                let (ready, begun) = mpsc::channel();
                let run = move || errors::watch(&nvml, &chosen, &told, &ready);
                let thread = thread::Builder::new().name("gpu-errors".to_owned()).spawn(run);
                let thread = thread.map_err(ErrorWatchError::Thread)?;
                // One that cannot begin says why at the end.
                let _ = begun.recv_timeout(READY_WITHIN);
                Ok(Some(Self { stop, thread: Some(thread), scripted: Vec::new() }))
            }
        }
    }

    /// Ends the watch and tells what was reported; takes at most a tenth of a second.
    pub fn stop(mut self) -> Reading<Vec<GpuError>> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            None => Reading::Known(std::mem::take(&mut self.scripted)),
            Some(Ok(errors)) => errors,
            Some(Err(_)) => Reading::Unreadable("the watch broke off".to_owned()),
        }
    }
}

impl Drop for ErrorWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// A watch cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ErrorWatchError {
    /// A selected GPU is not there.
    #[error(transparent)]
    NoSuchGpu(#[from] NoSuchGpu),
    /// No thread can be started.
    #[error("cannot start a thread that watches for GPU errors")]
    Thread(#[source] io::Error),
}
