//! Parameters of the steps of gpu-health-check.
//!
//! Every limit stands in the skill and nowhere else. A check that the skill leaves out is not
//! done, and the judgement says so; it never passes by silence.

use std::fmt;
use std::str::FromStr;

use domain::facts::Severity;
pub use domain::telemetry::ThrottleReason;
use domain::units::{Celsius, Memory, Percent, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `check-gpu`: look at the driver, the GPUs and the host, and judge them by limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckGpu {
    /// What is said before it starts; `{framework}` is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<String>,
    /// How long a trouble that may pass by itself is waited for: memory of a server that has
    /// just ended, a card that is still warm, a slowdown while clocks change.
    pub settle: Span,
    /// What a reading counts as that the device should give and does not.
    pub unreadable: Doubt,
    /// The checks and their limits. One that is left out is not done.
    pub checks: Checks,
}

impl CheckGpu {
    /// Names of the environment variables that are looked for.
    pub fn variables(&self) -> &[String] {
        self.checks.environment.as_ref().map_or(&[], |check| check.variables.as_slice())
    }
}

/// What a reading counts as that could not be had. It never counts as a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// Measured all the same, and noted.
    Warn,
    /// Nothing is measured.
    Fatal,
}

impl From<Doubt> for Severity {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Warn => Self::Warn,
            Doubt::Fatal => Self::Fatal,
        }
    }
}

/// What a check looks at: decides whether it is done for a target on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LooksAt {
    /// The driver or a GPU; not done for a target on the CPU.
    Gpu,
    /// The host; always done.
    Host,
}

/// One check as documentation lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckInfo {
    /// Its key in the skill.
    pub key: &'static str,
    /// What it looks at, in words.
    pub what: &'static str,
    /// What it looks at.
    pub looks_at: LooksAt,
}

/// Declares the checks once: the fields with their schema, and the catalogue for documentation.
macro_rules! checks {
    ($($group:ident { $($(#[doc = $what:literal])+ $key:ident: $limits:ty,)+ })+) => {
        /// The checks and their limits. One that is left out is not done.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Checks {
            $($(
                $(#[doc = $what])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$limits>,
            )+)+
        }

        impl Checks {
            /// Every check there is, in the order of the documentation.
            pub const fn catalogue() -> &'static [CheckInfo] {
                const CATALOGUE: &[CheckInfo] = &[$($(CheckInfo {
                    key: stringify!($key),
                    what: concat!($($what),+).trim_ascii(),
                    looks_at: LooksAt::$group,
                },)+)+];
                CATALOGUE
            }

            /// The checks that the skill leaves out.
            pub fn left_out(&self) -> Vec<CheckInfo> {
                let asked = [$($(self.$key.is_some(),)+)+];
                let all = Self::catalogue().iter().zip(asked);
                all.filter(|(_, asked)| !asked).map(|(check, _)| *check).collect()
            }
        }
    };
}

checks! {
    Gpu {
        /// The newest CUDA version that the driver serves.
        cuda: CudaAtLeast,
        /// The fabric manager runs, where GPUs are joined by switches.
        fabric: Must,
        /// NVIDIA's multi-process service, which puts itself between programs and GPUs.
        mps: Must,
        /// The card answers at all; one that is lost or needs a reset does not.
        answers: Must,
        /// Processes on the card that servegate did not start.
        foreign_processes: ForeignProcesses,
        /// Memory in use that no visible process holds.
        ghost_vram: MemoryAtMost,
        /// Memory in use before anything was started.
        vram_used: VramUsed,
        /// Memory that is free, for the model.
        vram_free: MemoryAtLeast,
        /// Compute mode: whether several processes may use the card.
        compute_mode: ComputeMode,
        /// MIG: whether the card is divided, or will be after the next reset.
        mig: Mig,
        /// ECC: whether memory errors are corrected; it changes memory size and bandwidth.
        ecc_mode: EccMode,
        /// Uncorrected memory errors since the driver was loaded.
        ecc_uncorrected_volatile: CountAtMost,
        /// Uncorrected memory errors in the card's life.
        ecc_uncorrected_aggregate: CountAtMost,
        /// Corrected memory errors since the driver was loaded.
        ecc_corrected_volatile: CountAtMost,
        /// Rows of memory replaced after uncorrected errors.
        remapped_rows: CountLevels,
        /// A row replacement waits for a reset.
        remapping_pending: Must,
        /// A row replacement failed.
        remapping_failed: Must,
        /// Pages of memory taken out of use, on cards before Ampere.
        retired_pages: CountLevels,
        /// What the driver says must be done to recover the card.
        recovery_action: RecoveryAction,
        /// Errors of this card in the kernel log, by Xid number.
        xids: Xids,
        /// PCIe lanes in use.
        pcie_width: ShareLevels,
        /// PCIe generation in use; judged only while the card works, idle links slow down.
        pcie_generation: ShareAtLeast,
        /// PCIe packets sent again since the driver was loaded.
        pcie_replays: CountAtMost,
        /// NVLinks that are up; matters only when the target has several GPUs.
        nvlinks: Must,
        /// Reasons for which clocks are reduced now.
        throttling: Throttling,
        /// The driver stays loaded while nobody uses the card.
        persistence: Must,
        /// The power limit, as a share of the default.
        power_limit: ShareAtLeast,
        /// The SM clock, as a share of the highest; judged only while the card works.
        sm_clock: ShareAtLeast,
        /// The temperature's distance from where the card slows down.
        slowdown_margin: CelsiusAtLeast,
        /// The temperature at the start, so that no framework inherits another's heat.
        start_temperature: StartTemperature,
    }
    Host {
        /// Load average over one minute, as a share of the CPUs.
        load: ShareAtMost,
        /// The CPU frequency governor.
        governor: Governor,
        /// Memory that can be had without swapping.
        memory_available: MemoryAtLeast,
        /// Swap in use.
        swap_used: MemoryAtMost,
        /// Free space of `/dev/shm`, which tensor-parallel servers use.
        shm_free: MemoryAtLeast,
        /// Free space where results go.
        disk_free: MemoryLevels,
        /// Environment variables that slow GPU programs down.
        environment: Environment,
    }
}

/// Declares a set of limits: a plain structure whose fields are all required.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                $($(#[doc = $field_doc])+ pub $field: $type,)+
            }
        )+
    };
}

limits! {
    /// Something that must hold.
    Must {
        /// How much it matters when it does not.
        severity: Severity,
    }
    /// A number with a highest value.
    CountAtMost {
        /// The highest value that passes.
        most: u64,
        /// How much more than that matters.
        severity: Severity,
    }
    /// A number with two limits.
    CountLevels {
        /// More than this is a warning.
        warn_over: u64,
        /// More than this forbids measuring.
        fatal_over: u64,
    }
    /// An amount of memory with a highest value.
    MemoryAtMost {
        /// The highest value that passes.
        most: Memory,
        /// How much more than that matters.
        severity: Severity,
    }
    /// An amount of memory with a lowest value.
    MemoryAtLeast {
        /// The lowest value that passes.
        at_least: Memory,
        /// How much less than that matters.
        severity: Severity,
    }
    /// An amount of memory with two lowest values.
    MemoryLevels {
        /// Less than this is a warning.
        warn_below: Memory,
        /// Less than this forbids measuring.
        fatal_below: Memory,
    }
    /// A share with a lowest value.
    ShareAtLeast {
        /// The lowest value that passes.
        at_least: Percent,
        /// How much less than that matters.
        severity: Severity,
    }
    /// A share with a highest value.
    ShareAtMost {
        /// The highest value that passes.
        most: Percent,
        /// How much more than that matters.
        severity: Severity,
    }
    /// A share with two lowest values.
    ShareLevels {
        /// Less than this is a warning.
        warn_below: Percent,
        /// Less than this forbids measuring.
        fatal_below: Percent,
    }
    /// A temperature difference with a lowest value.
    CelsiusAtLeast {
        /// The lowest value that passes.
        at_least: Celsius,
        /// How much less than that matters.
        severity: Severity,
    }
    /// How warm the card may be at the start.
    StartTemperature {
        /// The highest value that passes.
        most: Celsius,
        /// How long a warmer card is waited for to cool down.
        wait: Span,
        /// How much it matters that it is still warmer then.
        severity: Severity,
    }
    /// The CUDA version that the driver must serve.
    CudaAtLeast {
        /// The oldest version that passes.
        at_least: CudaVersion,
        /// How much an older one matters.
        severity: Severity,
    }
    /// Limits of the memory in use at the start.
    VramUsed {
        /// More than this is a warning.
        warn_over: Memory,
        /// More than this forbids measuring, unless the next two allow it.
        fatal_over: Memory,
        /// This share of the card is allowed too, where it is more than `fatal_over`.
        fatal_over_share: Percent,
        /// A card that drives a display may hold this much, with a warning.
        with_display: Memory,
    }
    /// Which processes may be on the card besides those that servegate started.
    ForeignProcesses {
        /// Programs that may, by file name: display servers and the like.
        allowed: Vec<String>,
        /// How much any other process matters.
        severity: Severity,
    }
    /// Which compute modes are good.
    ComputeMode {
        /// How much `prohibited` matters: no process can use the card.
        prohibited: Severity,
        /// How much `exclusive-process` matters: helper processes of a server fail.
        exclusive_process: Severity,
    }
    /// Whether a divided card is good.
    Mig {
        /// How much it matters that the card is divided.
        enabled: Severity,
        /// How much it matters that this changes with the next reset.
        pending_change: Severity,
    }
    /// Whether a card without ECC is good.
    EccMode {
        /// How much it matters that ECC is off.
        disabled: Severity,
        /// How much it matters that this changes with the next reset.
        pending_change: Severity,
    }
    /// How much the recovery actions matter that the driver may ask for.
    RecoveryAction {
        /// Reset the GPU.
        reset: Severity,
        /// Reboot the host.
        reboot: Severity,
        /// End what uses peer-to-peer traffic.
        drain_p2p: Severity,
        /// End what uses the GPU, then reset it.
        drain_and_reset: Severity,
    }
    /// Which errors in the kernel log matter. One that is in neither list is for the record.
    Xids {
        /// Xid numbers that forbid measuring.
        fatal: Vec<u32>,
        /// Xid numbers that are a warning.
        warn: Vec<u32>,
        /// An error of the first list that is longer ago than this is a warning.
        recent: Span,
    }
    /// Which reasons for reduced clocks matter. One that is in neither list is normal.
    Throttling {
        /// Reasons that forbid measuring.
        fatal: Vec<ThrottleReason>,
        /// Reasons that are a warning.
        warn: Vec<ThrottleReason>,
    }
    /// Which frequency governors are good.
    Governor {
        /// Those that pass.
        allowed: Vec<String>,
        /// How much any other matters.
        severity: Severity,
    }
    /// Which environment variables slow GPU programs down.
    Environment {
        /// Their names.
        variables: Vec<String>,
        /// How much it matters that one is set.
        severity: Severity,
    }
}

/// A CUDA version, written `12.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CudaVersion {
    major: u32,
    minor: u32,
}

/// A text that is not a CUDA version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a CUDA version; write for example `\"12.4\"`")]
pub struct NotACudaVersion(String);

impl FromStr for CudaVersion {
    type Err = NotACudaVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.trim().split_once('.');
        let numbers = parts.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let (major, minor) = numbers.ok_or_else(|| NotACudaVersion(text.to_owned()))?;
        Ok(Self { major, minor })
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for CudaVersion {
    type Error = NotACudaVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CudaVersion> for String {
    fn from(version: CudaVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl JsonSchema for CudaVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CudaVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^\s*\d+\.\d+\s*$",
            "description": "a CUDA version in quotes, for example `\"12.4\"`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "{ settle: 5s, unreadable: warn, checks: {} }";

    fn read(yaml: &str) -> Result<CheckGpu, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_catalogue_tells_of_every_field_what_its_schema_tells() {
        let schema = serde_json::to_value(schemars::schema_for!(Checks)).unwrap();
        let fields = schema["properties"].as_object().unwrap();
        assert_eq!(fields.len(), Checks::catalogue().len());
        for check in Checks::catalogue() {
            assert_eq!(fields[check.key]["description"], check.what, "{}", check.key);
        }
    }

    #[test]
    fn a_check_that_is_not_written_is_left_out() {
        let none = read(NOTHING).unwrap();
        assert_eq!(none.checks.left_out(), Checks::catalogue());
        let yaml = NOTHING.replace("{}", "{ mig: { enabled: fatal, pending_change: warn } }");
        let left_out = read(&yaml).unwrap().checks.left_out();
        assert_eq!(left_out.len() + 1, Checks::catalogue().len());
        assert!(left_out.iter().all(|check| check.key != "mig"));
    }

    #[test]
    fn a_misspelt_check_a_bare_number_and_a_lenient_doubt_are_refused() {
        let with = |checks: &str| read(&NOTHING.replace("{}", checks)).unwrap_err();
        assert!(with("{ vramused: {} }").contains("unknown field `vramused`"));
        let refused = [
            with("{ ghost_vram: { most: 512, severity: fatal } }"),
            with("{ cuda: { at_least: \"12\", severity: fatal } }"),
            with("{ xids: { fatal: [79] } }"),
            read(&NOTHING.replace("warn", "info")).unwrap_err(),
        ];
        insta::assert_snapshot!(refused.join("\n"), @r#"
        checks.ghost_vram: `512` is not an amount of memory; write for example `256 MiB` or `1 GiB` at line 1 column 55
        checks.cuda: `12` is not a CUDA version; write for example `"12.4"` at line 1 column 49
        checks.xids: missing field `warn` at line 1 column 49
        unreadable: unknown variant `info`, expected `warn` or `fatal` at line 1 column 27
        "#);
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        let yaml = NOTHING.replace("{}", "{ cuda: { at_least: \"12.4\", severity: warn } }");
        let check = read(&yaml).unwrap();
        let json = serde_json::to_value(&check).unwrap();
        assert_eq!(
            json["checks"],
            serde_json::json!({
                "cuda": { "at_least": "12.4", "severity": "warn" }
            })
        );
        assert_eq!(serde_json::from_value::<CheckGpu>(json).unwrap(), check);
    }

    #[test]
    fn cuda_versions_compare_by_number() {
        let version = |text: &str| text.parse::<CudaVersion>().unwrap();
        assert!(version("9.2") < version("12.4") && version("12.4") < version("12.10"));
        for text in ["12", "12.", "+1.0", "12.4.1", ""] {
            assert!(text.parse::<CudaVersion>().is_err(), "{text}");
        }
    }
}
