//! The card that the simulated server seems to run on.

use domain::facts::{GpuFacts, GpuProcess, Range, Reading};

use crate::engine::Load;

/// Memory of the card, in bytes.
const TOTAL_BYTES: u64 = 24 << 30;
/// What the driver and the server's context take, in bytes.
const CONTEXT_BYTES: u64 = 512 << 20;
/// What the model's weights take, in bytes.
pub(crate) const WEIGHTS_BYTES: u64 = 4 << 30;
/// What one token takes in the KV cache, in bytes.
const TOKEN_BYTES: u64 = 64 << 10;

/// Memory in use, in bytes: it follows the KV cache, unlike on a card whose engine takes all of
/// it at the start, so that a reader of peaks has something to see.
pub(crate) const fn used_bytes(load: Load) -> u64 {
    CONTEXT_BYTES + WEIGHTS_BYTES + TOKEN_BYTES * load.kv_used
}

/// Everything about the card, as the GPU health check gathers it.
pub(crate) fn facts(load: Load) -> GpuFacts {
    let busy = 0 < load.running;
    let process = GpuProcess {
        pid: std::process::id(),
        command: Some("servegate sim".to_owned()),
        used_bytes: Some(used_bytes(load)),
        ours: true,
    };
    GpuFacts {
        index: 0,
        uuid: "GPU-00000000-0000-0000-0000-000000000000".to_owned(),
        name: "Simulated GPU".to_owned(),
        vram_total_bytes: Reading::Known(TOTAL_BYTES),
        vram_used_bytes: Reading::Known(used_bytes(load)),
        processes: Reading::Known(vec![process]),
        display_active: Reading::Known(false),
        compute_mode: Reading::Known("default".to_owned()),
        mig_enabled: Reading::NotSupported,
        mig_pending: Reading::NotSupported,
        ecc_enabled: Reading::NotSupported,
        ecc_pending: Reading::NotSupported,
        ecc_uncorrected_volatile: Reading::NotSupported,
        ecc_uncorrected_aggregate: Reading::NotSupported,
        ecc_corrected_volatile: Reading::NotSupported,
        remapped_rows_uncorrected: Reading::NotSupported,
        remapping_pending: Reading::NotSupported,
        remapping_failed: Reading::NotSupported,
        retired_pages: Reading::NotSupported,
        recovery_action: Reading::Known("none".to_owned()),
        past_xids: Reading::Known(Vec::new()),
        openers: Reading::Known(Vec::new()),
        pcie_width: Reading::Known(Range { now: 16, full: 16 }),
        pcie_generation: Reading::Known(Range { now: if busy { 4 } else { 1 }, full: 4 }),
        pcie_replays: Reading::Known(0),
        nvlinks: Reading::NotSupported,
        throttle_reasons: Reading::Known(Vec::new()),
        persistence: Reading::Known(true),
        power_limit_mw: Reading::Known(Range { now: 300_000, full: 300_000 }),
        sm_clock_mhz: Reading::Known(Range { now: if busy { 1800 } else { 210 }, full: 1800 }),
        temperature_c: Reading::Known(if busy { 60 } else { 35 }),
        slowdown_c: Reading::Known(90),
    }
}
