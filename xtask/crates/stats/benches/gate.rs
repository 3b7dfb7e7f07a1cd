//! Error rates of the gate on simulated noise, beside those of the rules that are in use.
//!
//! `cargo bench -p stats --bench gate` prints the tables and writes them to
//! `results/published/gate-simulation.md`. Seeded: the same numbers on every machine. The rules
//! for contrast are written anew from their documentation; their projects' own programs are not
//! run.

mod gate {
    pub(crate) mod contrast;
    pub(crate) mod noise;
    pub(crate) mod real;
    pub(crate) mod run;
    pub(crate) mod speed;
    pub(crate) mod stored;
    pub(crate) mod tables;
}

use std::fs;
use std::path::Path;

/// Comparisons of each cell: enough to tell 1 % from 0.6 %.
const COMPARISONS: u32 = 8000;

/// Comparisons where tests only want to see that it runs.
const TRIAL: u32 = 20;

fn main() -> std::io::Result<()> {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let report = gate::tables::report(if measuring { COMPARISONS } else { TRIAL });
    println!("{report}");
    println!("{}", gate::speed::report());
    if measuring {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../results/published");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("gate-simulation.md"), report)?;
    }
    Ok(())
}
