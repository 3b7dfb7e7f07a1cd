//! What the GPUs do while a load runs: what changes ten times a second, what counts up seldom.
//!
//! The thread does nothing else, holds no lock of ours and asks the driver for little: it must
//! never disturb what is being measured, and it accounts for what it costs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use domain::facts::{Reading, Vram};
use domain::telemetry::{GpuSample, Quantities};
use domain::timestamp::Timestamp;
use domain::units::Memory;
use nix::time::{ClockId, clock_gettime};

use crate::nvml::{Chosen, Nvml};
use crate::script::Script;
use crate::{NoSuchGpu, Probe, Selection};

/// Eleven hours of one GPU at ten samples a second, about 200 MB in the file and in memory: the
/// hard deadline of a run is far below.
const LINES: usize = 400_000;

/// How often counters are read. On an H100 that takes 7 ms of CPU time, twenty times as much as
/// everything else together; and between two readings a counter forgets nothing.
const COUNTERS_EVERY: Duration = Duration::from_secs(5);

/// What is read at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Everything there is, at the first and the last: nothing is measured yet, or any more.
    Edge,
    /// Everything that is read while something is measured.
    Counters,
    /// What has a value of its own at each moment.
    Gauges,
}

/// How to sample.
#[derive(Clone, Copy, Debug)]
pub struct SamplerSpec<'a> {
    /// The file for the samples, which appears when the sampler ends; none is written without.
    pub log: Option<&'a Path>,
    /// Time from one sample to the next. Drivers renew their counters ten times a second.
    pub every: Duration,
}

/// What a sampler saw, and what it cost.
#[derive(Debug)]
pub struct SamplerReport {
    /// Memory in use on all GPUs together; `None` if it could not be read before or after.
    pub vram: Option<Vram>,
    /// Time from one sample to the next, as asked for, in µs.
    pub every_us: u64,
    /// When the clock of the samples stood at zero.
    pub began: Timestamp,
    /// Every sample, in the order of time.
    pub samples: Vec<GpuSample>,
    /// How late each moment was, in µs.
    pub late_us: Vec<u64>,
    /// How long reading all GPUs took at each moment, in µs.
    pub reading_us: Vec<u64>,
    /// Moments that were passed over, because the one before took too long.
    pub missed: u64,
    /// Moments at which the memory of a GPU could not be read.
    pub unreadable: u64,
    /// Samples that found no room.
    pub dropped: u64,
    /// CPU time of the sampler between the readings at the edges, in µs.
    pub cpu_us: u64,
    /// How long it lived until the reading at the end, in µs.
    pub lived_us: u64,
    /// Why the file was not written to its end, if it was not.
    pub log_error: Option<io::Error>,
}

/// A running sampler. One that is dropped ends by itself, at its next sample.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    thread: Option<JoinHandle<SamplerReport>>,
}

impl Sampler {
    /// Reads the GPUs once, then starts to sample them. `None` where there are no GPUs.
    ///
    /// # Errors
    ///
    /// A selected GPU is not there, the file exists already or cannot be made, or no thread can
    /// be started.
    pub fn start(
        probe: &Probe,
        gpus: &Selection,
        spec: SamplerSpec<'_>,
    ) -> Result<Option<Self>, SamplerError> {
        let Some(reader) = probe.reader(gpus)? else { return Ok(None) };
        let log = spec.log.map(Log::create).transpose()?;
        let mut watch = Watch::new(log);
        watch.take(&reader, Moment::Edge, Duration::ZERO);
        let (stop, stopped) = mpsc::channel();
        let run = move || watch.over(&reader, spec.every, &stopped);
        let thread = thread::Builder::new().name("gpu-sampler".to_owned()).spawn(run);
        Ok(Some(Self { stop, thread: Some(thread.map_err(SamplerError::Thread)?) }))
    }

    /// Reads the GPUs a last time and ends the sampler; takes at most some milliseconds, and as
    /// long as the disk takes. `None` if the thread is lost, which only a bug can bring about.
    pub fn stop(mut self) -> Option<SamplerReport> {
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

/// Reads some GPUs.
#[derive(Debug)]
pub(crate) enum Reader {
    Nvml { nvml: Arc<Nvml>, gpus: Vec<Chosen> },
    Script { script: Arc<Script>, gpus: Selection, first: u32 },
}

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

    /// Memory in use on all GPUs together; cheap.
    pub(crate) fn used(&self) -> Reading<Memory> {
        match self {
            Self::Nvml { nvml, gpus } => {
                total(gpus.iter().map(|gpu| nvml.memory_used(gpu)).collect::<Vec<_>>().iter())
            }
            Self::Script { script, gpus, .. } => script.next_vram(gpus),
        }
    }

    /// Reads every GPU; `seen` gets each GPU's index with what it told.
    fn read(&self, moment: Moment, mut seen: impl FnMut(u32, Instant, Quantities)) {
        match self {
            Self::Nvml { nvml, gpus } => {
                for gpu in gpus {
                    let began = Instant::now();
                    seen(gpu.index, began, nvml.quantities(gpu, moment));
                }
            }
            Self::Script { script, gpus, first } => {
                let told = script.next_quantities(gpus);
                let told = if moment == Moment::Gauges { told.gauges() } else { told };
                seen(*first, Instant::now(), told);
            }
        }
    }
}

/// The sum over all GPUs; one that cannot be read makes the sum unreadable.
fn total<'a>(used: impl Iterator<Item = &'a Reading<Memory>>) -> Reading<Memory> {
    let mut bytes = 0_u64;
    for reading in used {
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
    log: Option<Log>,
    room: usize,
    began: (Instant, Timestamp),
    samples: Vec<GpuSample>,
    late_us: Vec<u64>,
    reading_us: Vec<u64>,
    /// Memory in use before, at most, and at last.
    used_mib: Option<[Option<u64>; 3]>,
    missed: u64,
    unreadable: u64,
    dropped: u64,
}

impl Watch {
    fn new(log: Option<Log>) -> Self {
        Self {
            log,
            room: LINES,
            began: (Instant::now(), Timestamp::from(SystemTime::now())),
            samples: Vec::new(),
            late_us: Vec::new(),
            reading_us: Vec::new(),
            used_mib: None,
            missed: 0,
            unreadable: 0,
            dropped: 0,
        }
    }

    /// Samples until told to stop, on a schedule that a late sample does not shift.
    fn over(mut self, reader: &Reader, every: Duration, stopped: &Receiver<()>) -> SamplerReport {
        let (first, _) = self.began;
        let (mut due, mut counters_due) = (every, COUNTERS_EVERY);
        // A sampler that was dropped is told to stop by the channel's end.
        while let Err(RecvTimeoutError::Timeout) =
            stopped.recv_timeout(due.saturating_sub(first.elapsed()))
        {
            let moment = if counters_due <= due { Moment::Counters } else { Moment::Gauges };
            self.take(reader, moment, first.elapsed().saturating_sub(due));
            if moment == Moment::Counters {
                counters_due = due + COUNTERS_EVERY;
            }
            due += every;
            while due < first.elapsed() {
                due += every;
                self.missed += 1;
            }
        }
        // The load is over. Another thread read the first moment, before anything was measured.
        let cpu =
            clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into);
        let lived = first.elapsed();
        self.take(reader, Moment::Edge, Duration::ZERO);
        self.finish(every, cpu, lived)
    }

    /// Reads every GPU at one moment, which is `late` behind the schedule.
    fn take(&mut self, reader: &Reader, moment: Moment, late: Duration) {
        let began = Instant::now();
        let mut used = Some(0);
        reader.read(moment, |gpu, at, quantities| {
            let mib = quantities.used_mib.known();
            used = used.and_then(|sum: u64| Some(sum.saturating_add(*mib?)));
            let at_us = micros(at.duration_since(self.began.0));
            let took_us = micros(at.elapsed());
            let at = Timestamp::from(SystemTime::now());
            keep(
                &mut self.samples,
                &mut self.log,
                &mut self.dropped,
                self.room,
                GpuSample { at, at_us, took_us, gpu, quantities },
            );
        });
        if self.late_us.len() < self.room {
            self.late_us.push(micros(late));
            self.reading_us.push(micros(began.elapsed()));
        }
        self.unreadable += u64::from(used.is_none());
        self.used_mib = Some(match self.used_mib {
            None => [used; 3],
            Some([before, peak, _]) => [before, peak.max(used), used],
        });
    }

    fn finish(self, every: Duration, cpu: Duration, lived: Duration) -> SamplerReport {
        let vram = match self.used_mib {
            Some([Some(before_mib), Some(peak_mib), Some(after_mib)]) => {
                Some(Vram { before_mib, peak_mib, after_mib })
            }
            Some(_) | None => None,
        };
        SamplerReport {
            vram,
            every_us: micros(every),
            began: self.began.1,
            samples: self.samples,
            late_us: self.late_us,
            reading_us: self.reading_us,
            missed: self.missed,
            unreadable: self.unreadable,
            dropped: self.dropped,
            cpu_us: micros(cpu),
            lived_us: micros(lived),
            log_error: self.log.and_then(|log| log.publish().err()),
        }
    }
}

/// Keeps a sample. Where there is no room the last one is replaced, so that counters are known to
/// the end.
fn keep(
    samples: &mut Vec<GpuSample>,
    log: &mut Option<Log>,
    dropped: &mut u64,
    room: usize,
    sample: GpuSample,
) {
    if room <= samples.len() {
        *dropped += 1;
        let same = samples.iter_mut().rev().find(|kept| kept.gpu == sample.gpu);
        if let Some(last) = same {
            *last = sample;
        }
        return;
    }
    if let Some(log) = log {
        log.write(&sample);
    }
    samples.push(sample);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The file of samples. It has another name until it is complete and on the disk.
struct Log {
    file: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    error: Option<io::Error>,
}

impl Log {
    fn create(path: &Path) -> Result<Self, SamplerError> {
        let refused = |source| SamplerError::Log { path: path.to_owned(), source };
        if path.exists() {
            return Err(refused(io::ErrorKind::AlreadyExists.into()));
        }
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        let file = BufWriter::with_capacity(64 << 10, file.map_err(refused)?);
        Ok(Self { file, temporary, path: path.to_owned(), error: None })
    }

    fn write(&mut self, sample: &GpuSample) {
        if self.error.is_none() {
            let line = serde_json::to_string(sample).map_err(io::Error::from);
            self.error = line.and_then(|line| writeln!(self.file, "{line}")).err();
        }
    }

    /// Puts the file on the disk and gives it its name. One that broke off keeps what it has.
    fn publish(mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // A name alone is in the current folder.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.error.map_or(flushed, Err)
    }
}

#[cfg(test)]
mod tests;
