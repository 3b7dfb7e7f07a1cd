//! A GPU that is read from a file: for tests, demonstrations and hosts without one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use domain::facts::{GpuFacts, HealthFacts, Reading};
use domain::telemetry::{Quantities, ThrottleReason};
use domain::units::Memory;
use serde::Deserialize;

use crate::{GatherSpec, NoSuchGpu, ProbeError, Selection};

/// A script of a thousand readings is smaller than this.
const SCRIPT_BYTES: u64 = 16 << 20;

/// Readings that are given out one after the other; the last one is kept.
#[derive(Debug)]
pub(crate) struct Script {
    readings: Vec<HealthFacts>,
    vram: Vec<Memory>,
    telemetry: Vec<Quantities>,
    live_xids: Vec<u32>,
    next: Mutex<Next>,
}

/// Positions of what is given out next.
#[derive(Debug)]
struct Next {
    reading: usize,
    vram: usize,
    telemetry: usize,
}

/// The two forms of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    readings: Vec<HealthFacts>,
    #[serde(default)]
    vram_mib: Vec<u64>,
    #[serde(default)]
    telemetry: Vec<Quantities>,
    #[serde(default)]
    live_xids: Vec<u32>,
}

#[derive(Deserialize)]
struct Single {
    #[serde(flatten)]
    facts: HealthFacts,
    #[serde(default)]
    vram_mib: Vec<u64>,
    #[serde(default)]
    telemetry: Vec<Quantities>,
    #[serde(default)]
    live_xids: Vec<u32>,
}

impl Script {
    pub(crate) fn read(path: &Path) -> Result<Self, ProbeError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(SCRIPT_BYTES).read_to_string(&mut text))
            .map_err(|source| ProbeError::Unreadable { path: path.to_owned(), source })?;
        let script = Self::parse(&text)
            .map_err(|source| ProbeError::Malformed { path: path.to_owned(), source })?;
        if script.readings.is_empty() {
            return Err(ProbeError::Empty { path: path.to_owned() });
        }
        Ok(script)
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // Which form it is decides which errors are worth telling.
        let any: serde_json::Value = serde_json::from_str(text)?;
        let script = if any.get("readings").is_some() {
            serde_json::from_str::<Several>(text)?
        } else {
            let Single { facts, vram_mib, telemetry, live_xids } = serde_json::from_str(text)?;
            Several { readings: vec![facts], vram_mib, telemetry, live_xids }
        };
        let Several { readings, vram_mib, telemetry, live_xids } = script;
        let vram = vram_mib.into_iter().map(Memory::from_mib).collect();
        let next = Mutex::new(Next { reading: 0, vram: 0, telemetry: 0 });
        Ok(Self { readings, vram, telemetry, live_xids, next })
    }

    /// The next reading, as if it had been gathered.
    pub(crate) fn next(&self, spec: &GatherSpec<'_>) -> Result<HealthFacts, NoSuchGpu> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts = self.readings[self.clamp(next.reading)].clone();
        next.reading = self.clamp(next.reading + 1);
        drop(next);
        facts.gpus = select(&facts.gpus, spec.gpus)?;
        for gpu in &mut facts.gpus {
            if let Reading::Known(processes) = &mut gpu.processes {
                for process in processes {
                    process.ours |= spec.ours.contains(&process.pid);
                }
            }
        }
        Ok(facts)
    }

    /// Whether the current reading has one of these GPUs, and the index of the first.
    pub(crate) fn first_gpu(&self, gpus: &Selection) -> Result<Option<u32>, NoSuchGpu> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = &self.readings[self.clamp(next.reading)];
        Ok(select(&facts.gpus, gpus)?.first().map(|gpu| gpu.index))
    }

    /// The next sample of memory in use: of the list, else of the current reading.
    pub(crate) fn next_vram(&self, gpus: &Selection) -> Reading<Memory> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = self.vram.len().checked_sub(1) else {
            let facts = &self.readings[self.clamp(next.reading)];
            return match select(&facts.gpus, gpus) {
                Ok(gpus) => used(&gpus),
                Err(error) => Reading::Unreadable(error.to_string()),
            };
        };
        let sample = self.vram[next.vram.min(last)];
        next.vram = (next.vram + 1).min(self.vram.len());
        Reading::Known(sample)
    }

    /// The next sample of everything: of the list, of which the last is kept, else what the
    /// current reading tells. Memory in use has a list of its own.
    pub(crate) fn next_quantities(&self, gpus: &Selection) -> Quantities {
        let used = self.next_vram(gpus);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match self.telemetry.len().checked_sub(1) {
            Some(last) => {
                let at = next.telemetry.min(last);
                next.telemetry = at + 1;
                self.telemetry[at].clone()
            }
            None => {
                let facts = &self.readings[self.clamp(next.reading)];
                let gpus = select(&facts.gpus, gpus).unwrap_or_default();
                gpus.first().map_or(Quantities::NONE, at_rest)
            }
        };
        let listed = !self.vram.is_empty() || told.used_mib == Reading::NotSupported;
        let used = || match used {
            Reading::Known(memory) => Reading::Known(memory.mib()),
            Reading::NotSupported => Reading::NotSupported,
            Reading::Unreadable(reason) => Reading::Unreadable(reason),
        };
        if listed { Quantities { used_mib: used(), ..told } } else { told }
    }

    /// Errors that come while a load runs.
    pub(crate) fn live_xids(&self) -> &[u32] {
        &self.live_xids
    }

    /// Whether every sample of the list was given out.
    #[cfg(test)]
    pub(crate) fn is_played(&self) -> bool {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.vram.len() <= next.vram
    }

    fn clamp(&self, position: usize) -> usize {
        position.min(self.readings.len().saturating_sub(1))
    }
}

fn select(gpus: &[GpuFacts], selection: &Selection) -> Result<Vec<GpuFacts>, NoSuchGpu> {
    let uuids: Vec<_> = gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    let positions = selection.positions(&uuids)?;
    Ok(positions.into_iter().map(|position| gpus[position].clone()).collect())
}

/// What the facts of a card tell of the quantities that change.
fn at_rest(gpu: &GpuFacts) -> Quantities {
    fn of<T>(reading: &Reading<T>, pick: impl FnOnce(&T) -> u64) -> Reading<u64> {
        match reading {
            Reading::Known(value) => Reading::Known(pick(value)),
            Reading::NotSupported => Reading::NotSupported,
            Reading::Unreadable(reason) => Reading::Unreadable(reason.clone()),
        }
    }
    let reasons = gpu.throttle_reasons.known();
    let named = |names: &Vec<String>| {
        names.iter().filter_map(|name| ThrottleReason::named(name)).collect::<Vec<_>>()
    };
    Quantities {
        sm_clock_mhz: of(&gpu.sm_clock_mhz, |clock| clock.now),
        temperature_c: of(&gpu.temperature_c, |degrees| u64::from(*degrees)),
        throttle_reasons: reasons
            .map_or(Reading::NotSupported, |names| Reading::Known(named(names))),
        pcie_replays: gpu.pcie_replays.clone(),
        ..Quantities::NONE
    }
}

fn used(gpus: &[GpuFacts]) -> Reading<Memory> {
    let mut bytes = 0_u64;
    for gpu in gpus {
        match &gpu.vram_used_bytes {
            Reading::Known(used) => bytes = bytes.saturating_add(*used),
            Reading::NotSupported => return Reading::NotSupported,
            Reading::Unreadable(reason) => return Reading::Unreadable(reason.clone()),
        }
    }
    Reading::Known(Memory::from_bytes(bytes))
}
