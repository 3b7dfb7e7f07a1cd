//! Evidence: the unforgeable Rust value of a fact.
//!
//! An effect that needs a fact takes a reference to its evidence. Evidence is neither `Clone` nor
//! `Deserialize`, so it cannot be copied out of a file; it is minted only by the judgements of
//! this crate ([`crate::health`], [`crate::server`], [`crate::run`]).
//!
//! Nobody outside can write one down:
//!
//! ```compile_fail,E0451
//! use sequencer::{Evidence, GpuHealthy};
//! let forged: Evidence<GpuHealthy> = Evidence { subject: String::new(), fact: std::marker::PhantomData };
//! ```
//!
//! nor mint one without a judgement:
//!
//! ```compile_fail,E0624
//! use sequencer::{Evidence, GpuHealthy};
//! let forged = Evidence::<GpuHealthy>::earned("GPU-0");
//! ```
//!
//! nor keep a copy for later:
//!
//! ```compile_fail,E0277
//! fn copies<T: Clone>() {}
//! copies::<sequencer::Evidence<sequencer::GpuHealthy>>();
//! ```
//!
//! but everybody may hand it on:
//!
//! ```
//! use sequencer::{Evidence, GpuHealthy};
//! fn launch(_healthy: &Evidence<GpuHealthy>) {}
//! fn passes_it_on(healthy: &Evidence<GpuHealthy>) { launch(healthy) }
//! ```

use std::marker::PhantomData;

use skill::FactName;

/// Something that can be proved about the world.
pub trait Fact: sealed::Sealed {
    /// Its name in skills and journals.
    const NAME: FactName;
}

/// The device is fit to measure on.
#[derive(Debug)]
pub enum GpuHealthy {}

/// The server generates what it is asked to.
#[derive(Debug)]
pub enum ServerVerified {}

/// The load ran to its end and its result counts.
#[derive(Debug)]
pub enum Measured {}

impl Fact for GpuHealthy {
    const NAME: FactName = FactName::GpuHealthy;
}

impl Fact for ServerVerified {
    const NAME: FactName = FactName::ServerVerified;
}

impl Fact for Measured {
    const NAME: FactName = FactName::Measured;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::GpuHealthy {}
    impl Sealed for super::ServerVerified {}
    impl Sealed for super::Measured {}
}

/// Proof that `F` held for a subject.
#[must_use = "evidence exists to be handed to the step that needs it"]
#[derive(Debug)]
pub struct Evidence<F: Fact> {
    subject: String,
    fact: PhantomData<F>,
}

impl<F: Fact> Evidence<F> {
    /// What it is about: GPU UUIDs or host, base URL, run.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Mints evidence; only a judgement of this crate may.
    pub(crate) fn earned(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), fact: PhantomData }
    }
}
