//! What the host says of itself, from `/proc`, `/sys` and the file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::thread;

use domain::facts::{
    DriverState, Environment, Fabric, GpuFacts, GpuProcess, GpuSetup, HealthFacts, HostFacts,
    Reading,
};
use nix::sys::statvfs::statvfs;

use crate::process;

/// A file of `/proc` that says something of the host is far shorter, except on hosts with a
/// thousand CPUs, of which the first says all.
const TEXT_BYTES: u64 = 1 << 20;

/// What is worth knowing of where a run was made; `used` are the GPUs that the target ran on,
/// none for a target on the CPU.
pub fn environment(facts: &HealthFacts, used: &[GpuFacts]) -> Environment {
    let driver = match &facts.driver {
        DriverState::Loaded { version, .. } => Some(version.clone()),
        DriverState::Absent { .. } | DriverState::Broken { .. } => None,
    };
    Environment {
        servegate: env!("CARGO_PKG_VERSION").to_owned(),
        host: facts.host.name.clone(),
        kernel: facts.host.kernel.clone(),
        cpu: facts.host.cpu.clone(),
        cpus: facts.host.cpus,
        driver,
        gpus: used.iter().map(|gpu| gpu.name.clone()).collect(),
        gpu_setups: used.iter().map(setup).collect(),
        load_1m: facts.host.load_1m.known().copied(),
    }
}

/// What makes two cards of one name differ in speed.
fn setup(gpu: &GpuFacts) -> GpuSetup {
    GpuSetup {
        power_limit_mw: gpu.power_limit_mw.known().map(|limit| limit.now),
        vram_total_bytes: gpu.vram_total_bytes.known().copied(),
        mig_enabled: gpu.mig_enabled.known().copied(),
    }
}

/// Which machine this is.
#[derive(Clone, Debug, PartialEq)]
pub struct Here {
    /// Its name.
    pub name: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Load average over one minute, if it can be read.
    pub load_1m: Option<f64>,
}

/// Which machine this is, by the same names as in [`environment`].
pub fn here() -> Here {
    Here {
        name: one_line("/proc/sys/kernel/hostname"),
        kernel: one_line("/proc/sys/kernel/osrelease"),
        load_1m: parsed(&text("/proc/loadavg"), load).known().copied(),
    }
}

/// Reads everything about the host.
pub(crate) fn gather(results_dir: &Path, variables: &[String]) -> HostFacts {
    let memory = text("/proc/meminfo");
    let in_memory = |key| parsed(&memory, |text| bytes_of(text, key));
    HostFacts {
        name: one_line("/proc/sys/kernel/hostname"),
        kernel: one_line("/proc/sys/kernel/osrelease"),
        cpu: cpu_model(),
        cpus: cpus(),
        load_1m: parsed(&text("/proc/loadavg"), load),
        governor: governor(Path::new("/sys/devices/system/cpu")),
        memory_total_bytes: in_memory("MemTotal"),
        memory_available_bytes: in_memory("MemAvailable"),
        swap_used_bytes: parsed(&memory, |text| {
            bytes_of(text, "SwapTotal")?.checked_sub(bytes_of(text, "SwapFree")?)
        }),
        shm_free_bytes: free_bytes(Path::new("/dev/shm")),
        disk_free_bytes: free_bytes(existing(results_dir)),
        harmful_env: set_variables(variables),
        mps: Reading::Known(mps()),
        fabric: fabric(Path::new("/dev")),
        own_pid_namespace: own_pid_namespace(),
    }
}

pub(crate) fn text(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TEXT_BYTES).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| format!("{path}: {error}"))
}

fn one_line(path: &str) -> String {
    text(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn parsed<T>(text: &Result<String, String>, parse: impl FnOnce(&str) -> Option<T>) -> Reading<T> {
    match text {
        Ok(text) => parse(text).map_or_else(
            || Reading::Unreadable("not in the form that Linux writes".to_owned()),
            Reading::Known,
        ),
        Err(reason) => Reading::Unreadable(reason.clone()),
    }
}

fn load(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The value of a line like `MemTotal:       131072 kB`.
fn bytes_of(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn cpu_model() -> String {
    let model = text("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    // ARM kernels tell only part numbers.
    model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// CPUs that this process may use, by affinity and control group; one if that cannot be told,
/// which is the least there can be.
fn cpus() -> u32 {
    thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// The governor of all CPUs; several are told with commas between.
fn governor(cpus: &Path) -> Reading<String> {
    let names = || -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(cpus)? {
            match fs::read_to_string(entry?.path().join("cpufreq/scaling_governor")) {
                Ok(name) => _ = names.insert(name.trim().to_owned()),
                Err(error) if is_no_such_file(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    };
    match names() {
        Ok(names) if names.is_empty() => Reading::NotSupported,
        Ok(names) => Reading::Known(names.into_iter().collect::<Vec<_>>().join(", ")),
        Err(error) if is_no_such_file(&error) => Reading::NotSupported,
        Err(error) => Reading::Unreadable(format!("{}: {error}", cpus.display())),
    }
}

fn is_no_such_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn free_bytes(path: &Path) -> Reading<u64> {
    match statvfs(path) {
        Ok(stat) => match stat.blocks_available().checked_mul(stat.fragment_size()) {
            Some(bytes) => Reading::Known(bytes),
            None => Reading::Unreadable(format!("{}: free space has no end", path.display())),
        },
        Err(nix::Error::ENOENT) => Reading::NotSupported,
        Err(error) => Reading::Unreadable(format!("{}: {error}", path.display())),
    }
}

/// The path itself or the nearest folder above that exists: where it would be made.
fn existing(path: &Path) -> &Path {
    let mut above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    above.find(|path| path.exists()).unwrap_or(Path::new("."))
}

/// The multi-process service's own processes. Programs that use it have another name.
fn mps() -> Vec<GpuProcess> {
    let told =
        |pid| GpuProcess { pid, command: process::command(pid), used_bytes: None, ours: false };
    process::named("nvidia-cuda-mps").into_iter().map(told).collect()
}

/// NVLink switches, each of which is a device file, and what manages them.
fn fabric(devices: &Path) -> Reading<Fabric> {
    let is_switch = |name: &str| {
        let number = name.strip_prefix("nvidia-nvswitch");
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let listing = match fs::read_dir(devices) {
        Ok(listing) => listing.filter_map(Result::ok),
        Err(error) => return Reading::Unreadable(format!("{}: {error}", devices.display())),
    };
    let switches = listing.filter(|entry| entry.file_name().to_str().is_some_and(is_switch));
    let switches = u32::try_from(switches.count()).unwrap_or(u32::MAX);
    let manager_runs = !process::named("nv-fabricmanage").is_empty();
    match (switches, manager_runs, own_pid_namespace()) {
        (0, _, _) => Reading::NotSupported,
        (_, false, Reading::Known(true)) => {
            let reason = "the fabric manager cannot be seen from this PID namespace";
            Reading::Unreadable(reason.to_owned())
        }
        (switches, manager_runs, _) => Reading::Known(Fabric { switches, manager_runs }),
    }
}

/// Whether this is another PID namespace than the host's first, whose number the kernel fixes.
fn own_pid_namespace() -> Reading<bool> {
    const FIRST: &str = "pid:[4026531836]";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(name) => Reading::Known(name != Path::new(FIRST)),
        Err(error) => Reading::Unreadable(format!("/proc/self/ns/pid: {error}")),
    }
}

fn set_variables(names: &[String]) -> BTreeMap<String, String> {
    let set = names.iter().filter_map(|name| Some((name.clone(), std::env::var_os(name)?)));
    set.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn meminfo_and_loadavg_are_read() {
        let meminfo = "MemTotal:       131072 kB\nSwapTotal:      2048 kB\nSwapFree: 1024 kB\n";
        assert_eq!(bytes_of(meminfo, "MemTotal"), Some(131_072 << 10));
        assert_eq!(bytes_of(meminfo, "Mem"), None);
        assert_eq!(bytes_of("MemTotal: many", "MemTotal"), None);
        assert_eq!(load("0.52 0.58 0.59 1/345 12345\n"), Some(0.52));
        assert_eq!(load(""), None);
    }

    #[test]
    fn governors_of_all_cpus_are_told() {
        let cpus = tempfile::tempdir().unwrap();
        let set = |cpu: &str, governor: &str| {
            let folder = cpus.path().join(cpu).join("cpufreq");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("scaling_governor"), governor).unwrap();
        };
        fs::create_dir(cpus.path().join("cpuidle")).unwrap();
        assert_eq!(governor(cpus.path()), Reading::NotSupported);
        assert_eq!(governor(&cpus.path().join("missing")), Reading::NotSupported);
        set("cpu0", "performance\n");
        set("cpu1", "performance\n");
        assert_eq!(governor(cpus.path()), Reading::Known("performance".to_owned()));
        set("cpu1", "powersave\n");
        assert_eq!(governor(cpus.path()), Reading::Known("performance, powersave".to_owned()));
    }

    /// A program of this name, which ends with its input.
    fn program(folder: &Path, name: &str) -> Child {
        let path = folder.join(name);
        fs::write(&path, "#!/bin/sh\necho here\nread -r end\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child =
            Command::new(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "here\n");
        child
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn switches_are_counted_and_what_manages_them_is_found() {
        let devices = tempfile::tempdir().unwrap();
        assert_eq!(fabric(devices.path()), Reading::NotSupported);
        for name in ["nvidia0", "nvidiactl", "nvidia-nvswitchctl", "nvidia-nvswitch"] {
            fs::write(devices.path().join(name), "").unwrap();
        }
        assert_eq!(fabric(devices.path()), Reading::NotSupported);
        for name in ["nvidia-nvswitch0", "nvidia-nvswitch11"] {
            fs::write(devices.path().join(name), "").unwrap();
        }
        // A host with real switches has a manager of its own.
        if process::named("nv-fabricmanage").is_empty() {
            match (fabric(devices.path()), own_pid_namespace()) {
                (Reading::Unreadable(_), Reading::Known(true)) => {}
                (told, _) => assert_eq!(told, known_fabric(false)),
            }
        }
        let manager = program(devices.path(), "nv-fabricmanager");
        let told = fabric(devices.path());
        end(manager);
        assert_eq!(told, known_fabric(true));
        assert!(matches!(fabric(&devices.path().join("none")), Reading::Unreadable(_)));
    }

    fn known_fabric(manager_runs: bool) -> Reading<Fabric> {
        Reading::Known(Fabric { switches: 2, manager_runs })
    }

    #[test]
    fn a_multi_process_service_that_runs_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let service = program(folder.path(), "nvidia-cuda-mps-control");
        let pid = service.id();
        let told = mps();
        end(service);
        let found = told.iter().find(|process| process.pid == pid).expect("it runs");
        assert!(found.command.as_ref().unwrap().contains("nvidia-cuda-mps-control"));
        assert!(mps().iter().all(|process| process.pid != pid));
    }

    #[test]
    fn this_host_tells_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let set = ["PATH".to_owned(), "SERVEGATE_NEVER_SET".to_owned()];
        let host = gather(&folder.path().join("not/yet/there"), &set);
        assert!(!host.name.is_empty() && !host.kernel.is_empty() && !host.cpu.is_empty());
        assert!(1 <= host.cpus);
        assert!(host.disk_free_bytes.known().is_some());
        assert!(host.memory_available_bytes.known() <= host.memory_total_bytes.known());
        assert_eq!(host.harmful_env.keys().collect::<Vec<_>>(), ["PATH"]);
    }
}
