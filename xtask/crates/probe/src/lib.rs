//! What the GPU and the host say of themselves, and the lease by which one session at a time
//! uses them.
//!
//! This crate reads and records; it never decides whether a device is fit, which is
//! `sequencer`'s judgement, and it changes no setting of any device. A value that cannot be had
//! says why.

mod cpu;
mod errors;
mod host;
mod kernel_log;
pub mod lease;
mod nvml;
mod process;
mod sampler;
mod script;
mod selection;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::facts::{DriverState, HealthFacts, Reading};
use domain::units::Memory;

pub use cpu::CpuWatch;
pub use errors::{ErrorWatch, ErrorWatchError};
pub use host::{Here, environment, here};
pub use lease::{Claim, Holder, Lease, LeaseError, Leases};
pub use nvml::errors::GpuError;
pub use sampler::{Sampler, SamplerError, SamplerReport, SamplerSpec};
pub use selection::{NoSuchGpu, Selection};

use nvml::Nvml;
use sampler::Reader;
use script::Script;

/// Where GPU readings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The NVIDIA driver, if there is one.
    Auto,
    /// Nowhere: the host is taken for one without a GPU.
    None,
    /// A JSON file of [`HealthFacts`], or of several under `readings`: one is given out for each
    /// time of gathering and the last is kept. `vram_mib` is a list of MiB in use, one for each
    /// sample; `telemetry` is a list of [`domain::telemetry::Quantities`] for the same, of which
    /// the last is kept, and `live_xids` are errors that come while a load runs. This is the GPU
    /// of tests and demonstrations.
    Script(PathBuf),
}

/// The source of readings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The script cannot be read.
    #[error("cannot read the GPU script `{path}`")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The script does not hold facts.
    #[error("`{path}` is no GPU script")]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The script holds no reading.
    #[error("the GPU script `{path}` has no readings")]
    Empty {
        /// Its path.
        path: PathBuf,
    },
}

/// What to gather.
#[derive(Clone, Copy, Debug)]
pub struct GatherSpec<'a> {
    /// Folder where results go; its free space is looked at. It need not exist yet.
    pub results_dir: &'a Path,
    /// Processes that servegate started.
    pub ours: &'a [u32],
    /// The GPUs that the target may use.
    pub gpus: &'a Selection,
    /// Environment variables to look for; see `skill::health::CheckGpu::variables`.
    pub variables: &'a [String],
}

/// A source of readings that was opened.
#[derive(Debug)]
pub struct Probe {
    readings: Readings,
}

#[derive(Debug)]
enum Readings {
    None,
    NoDriver(DriverState),
    Nvml(Arc<Nvml>),
    Script(Arc<Script>),
}

impl Probe {
    /// Opens a source. [`Source::Auto`] always succeeds: a missing or broken driver is a fact.
    ///
    /// # Errors
    ///
    /// The script cannot be read, or is none.
    pub fn open(source: &Source) -> Result<Self, ProbeError> {
        let readings = match source {
            Source::None => Readings::None,
            Source::Script(path) => Readings::Script(Arc::new(Script::read(path)?)),
            Source::Auto => match Nvml::open() {
                Ok(nvml) => Readings::Nvml(Arc::new(nvml)),
                Err(driver) => Readings::NoDriver(driver),
            },
        };
        Ok(Self { readings })
    }

    /// Reads everything that gpu-health-check looks at. Takes some tens of milliseconds a GPU and
    /// talks to the driver: not for use while a load runs.
    ///
    /// # Errors
    ///
    /// A selected GPU is not there.
    pub fn gather(&self, spec: &GatherSpec<'_>) -> Result<HealthFacts, NoSuchGpu> {
        let without_gpu = |source: &str, driver| HealthFacts {
            source: source.to_owned(),
            driver,
            gpus: Vec::new(),
            host: host::gather(spec.results_dir, spec.variables),
        };
        match &self.readings {
            Readings::None => {
                let reason = "not looked for".to_owned();
                Ok(without_gpu("none", DriverState::Absent { reason }))
            }
            Readings::NoDriver(driver) => Ok(without_gpu("nvml", driver.clone())),
            Readings::Script(script) => script.next(spec),
            Readings::Nvml(nvml) => {
                let mut facts = without_gpu("nvml", nvml.driver());
                facts.gpus = nvml.gpus(spec)?;
                Ok(facts)
            }
        }
    }

    /// Memory in use on the selected GPUs together, or `None` where there are no GPUs. Cheap.
    ///
    /// # Errors
    ///
    /// A selected GPU is not there.
    pub fn vram_used(&self, gpus: &Selection) -> Result<Option<Reading<Memory>>, NoSuchGpu> {
        Ok(self.reader(gpus)?.map(|reader| reader.used()))
    }

    /// A reader of the selected GPUs' memory, or `None` where there are no GPUs.
    fn reader(&self, gpus: &Selection) -> Result<Option<Reader>, NoSuchGpu> {
        match &self.readings {
            Readings::None | Readings::NoDriver(_) => Ok(None),
            Readings::Script(script) => Reader::of_script(script, gpus),
            Readings::Nvml(nvml) => {
                let chosen = nvml.choose(gpus)?;
                Ok((!chosen.is_empty()).then(|| Reader::of_nvml(nvml, chosen)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
