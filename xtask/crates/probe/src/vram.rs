//! Memory in use on the GPUs while a load runs.
//!
//! NVML has no peak counter, so the peak is sampled. The thread does nothing else, holds no lock
//! of anybody and makes only the one call a GPU that costs microseconds: it must never disturb
//! what is being measured.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use domain::facts::{Reading, Vram};
use domain::timestamp::Timestamp;
use domain::units::Memory;
use serde::{Deserialize, Serialize};

use crate::nvml::{Chosen, Nvml};
use crate::script::Script;
use crate::{NoSuchGpu, Probe, Selection};

/// The driver renews its counters ten times a second, so that more often tells no more.
const INTERVAL: Duration = Duration::from_millis(100);

/// Six hours of one GPU, about 16 MB: the hard deadline of a run is far below, and the peak goes
/// on being watched when the file is full.
const LOG_LINES: u64 = 216_000;

/// One line of `gpu.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSample {
    /// When it was read.
    pub at: Timestamp,
    /// Index of the GPU in PCI order.
    pub gpu: u32,
    /// Memory in use, in MiB, without what the driver reserves.
    pub used_mib: u64,
}

/// What a sampler saw.
#[derive(Debug)]
pub struct VramReport {
    /// Memory in use on all GPUs together; `None` if it could not be read before or after.
    pub vram: Option<Vram>,
    /// How often all GPUs were read.
    pub samples: u64,
    /// How often one of them could not be.
    pub unreadable: u64,
    /// Lines that are not in the file, because it was full.
    pub lines_dropped: u64,
    /// Why the file was not written to its end, if it was not.
    pub log_error: Option<io::Error>,
}

/// A running sampler. One that is dropped ends by itself, within a tenth of a second.
#[derive(Debug)]
pub struct VramSampler {
    stop: Sender<()>,
    thread: Option<JoinHandle<VramReport>>,
}

impl VramSampler {
    /// Reads the memory in use once, then starts to watch it. `None` where there are no GPUs.
    ///
    /// # Errors
    ///
    /// A selected GPU is not there, the file exists already or cannot be made, or no thread can
    /// be started.
    pub fn start(
        probe: &Probe,
        gpus: &Selection,
        log: &Path,
    ) -> Result<Option<Self>, SamplerError> {
        let Some(mut reader) = probe.reader(gpus)? else { return Ok(None) };
        let mut watch = Watch::new(Log::create(log)?);
        watch.take(&reader.read());
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            // A sampler that was dropped is told to stop by the channel's end.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                watch.take(&reader.read());
            }
            watch.take(&reader.read());
            watch.finish()
        };
        let thread = thread::Builder::new().name("vram".to_owned()).spawn(run);
        Ok(Some(Self { stop, thread: Some(thread.map_err(SamplerError::Thread)?) }))
    }

    /// Reads the memory in use a last time and ends the sampler; takes at most a few
    /// milliseconds. `None` if the thread is lost, which only a bug can bring about.
    pub fn stop(mut self) -> Option<VramReport> {
        // A thread that has ended already has its report ready.
        let _ = self.stop.send(());
        self.thread.take()?.join().ok()
    }
}

/// A sampler cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// A selected GPU is not there.
    #[error(transparent)]
    NoSuchGpu(#[from] NoSuchGpu),
    /// The file cannot be made.
    #[error("cannot create `{path}`")]
    Log {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No thread can be started.
    #[error("cannot start a thread for the GPU sampler")]
    Thread(#[source] io::Error),
}

/// Reads the memory of some GPUs.
#[derive(Debug)]
pub(crate) enum Reader {
    Nvml { nvml: Arc<Nvml>, gpus: Vec<Chosen> },
    Script { script: Arc<Script>, gpus: Selection, first: u32 },
}

/// Index of a GPU and its memory in use.
type Used = (u32, Reading<Memory>);

impl Reader {
    pub(crate) fn of_nvml(nvml: &Arc<Nvml>, gpus: Vec<Chosen>) -> Self {
        Self::Nvml { nvml: Arc::clone(nvml), gpus }
    }

    pub(crate) fn of_script(
        script: &Arc<Script>,
        gpus: &Selection,
    ) -> Result<Option<Self>, NoSuchGpu> {
        let reader = |first| Self::Script { script: Arc::clone(script), gpus: gpus.clone(), first };
        Ok(script.first_gpu(gpus)?.map(reader))
    }

    pub(crate) fn read(&mut self) -> Vec<Used> {
        match self {
            Self::Nvml { nvml, gpus } => {
                gpus.iter().map(|gpu| (gpu.index, nvml.memory_used(gpu))).collect()
            }
            Self::Script { script, gpus, first } => vec![(*first, script.next_vram(gpus))],
        }
    }
}

/// The sum over all GPUs; one that cannot be read makes the sum unreadable.
pub(crate) fn total(used: &[Used]) -> Reading<Memory> {
    let mut bytes = 0_u64;
    for (_, reading) in used {
        match reading {
            Reading::Known(memory) => bytes = bytes.saturating_add(memory.bytes()),
            Reading::NotSupported => return Reading::NotSupported,
            Reading::Unreadable(reason) => return Reading::Unreadable(reason.clone()),
        }
    }
    Reading::Known(Memory::from_bytes(bytes))
}

/// What has been seen so far.
struct Watch {
    log: Log,
    before: Option<Memory>,
    peak: Option<Memory>,
    last: Option<Memory>,
    samples: u64,
    unreadable: u64,
}

impl Watch {
    fn new(log: Log) -> Self {
        Self { log, before: None, peak: None, last: None, samples: 0, unreadable: 0 }
    }

    fn take(&mut self, used: &[Used]) {
        let at = Timestamp::from(SystemTime::now());
        for (gpu, reading) in used {
            if let Reading::Known(memory) = reading {
                self.log.write(&GpuSample { at, gpu: *gpu, used_mib: memory.mib() });
            }
        }
        let total = total(used).known().copied();
        if self.samples == 0 && self.unreadable == 0 {
            self.before = total;
        }
        match total {
            Some(_) => self.samples += 1,
            None => self.unreadable += 1,
        }
        self.peak = self.peak.max(total);
        self.last = total;
    }

    fn finish(self) -> VramReport {
        let seen = (self.before, self.peak, self.last);
        let vram = match seen {
            (Some(before), Some(peak), Some(after)) => Some(Vram {
                before_mib: before.mib(),
                peak_mib: peak.mib(),
                after_mib: after.mib(),
            }),
            (Some(_) | None, Some(_) | None, Some(_) | None) => None,
        };
        let (lines_dropped, log_error) = self.log.finish();
        let (samples, unreadable) = (self.samples, self.unreadable);
        VramReport { vram, samples, unreadable, lines_dropped, log_error }
    }
}

/// The file of samples, of bounded length.
struct Log {
    file: BufWriter<File>,
    room: u64,
    dropped: u64,
    error: Option<io::Error>,
}

impl Log {
    fn create(path: &Path) -> Result<Self, SamplerError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|source| SamplerError::Log { path: path.to_owned(), source })?;
        Ok(Self { file: BufWriter::new(file), room: LOG_LINES, dropped: 0, error: None })
    }

    fn write(&mut self, sample: &GpuSample) {
        if self.error.is_some() {
            return;
        }
        let Some(room) = self.room.checked_sub(1) else {
            self.dropped += 1;
            return;
        };
        self.room = room;
        let line = serde_json::to_string(sample).map_err(io::Error::from);
        self.error = line.and_then(|line| writeln!(self.file, "{line}")).err();
    }

    fn finish(mut self) -> (u64, Option<io::Error>) {
        let flushed = self.file.flush().err();
        (self.dropped, self.error.or(flushed))
    }
}

#[cfg(test)]
mod tests;
