use std::fs;
use std::time::Instant;

use super::*;
use crate::{ProbeError, Source};

/// Far longer than a test takes, unless it fails.
const LONG: Duration = Duration::from_secs(60);

fn fixture(name: &str) -> Source {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/gpu");
    Source::Script(Path::new(folder).join(name))
}

fn open(name: &str) -> Probe {
    Probe::open(&fixture(name)).unwrap()
}

fn used(mib: &[u64]) -> Vec<Used> {
    let known = |mib: &u64| Reading::Known(Memory::from_mib(*mib));
    (0..).zip(mib.iter().map(known)).collect()
}

fn unreadable() -> Vec<Used> {
    vec![(0, Reading::Known(Memory::from_mib(1))), (1, Reading::Unreadable("lost".to_owned()))]
}

/// A watch that writes at most `lines`, and the file that it writes.
fn watch(folder: &Path, lines: u64) -> (Watch, PathBuf) {
    let path = folder.join("gpu.jsonl");
    let log = Log { room: lines, ..Log::create(&path).unwrap() };
    (Watch::new(log), path)
}

#[test]
fn the_sampler_plays_a_script_from_before_to_after() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gpu.jsonl");
    let probe = open("settling.json");
    let sampler = VramSampler::start(&probe, &Selection::All, &log).unwrap().unwrap();
    let crate::Readings::Script(script) = &probe.readings else { panic!("a script") };
    let deadline = Instant::now() + LONG;
    while !script.is_played() {
        assert!(Instant::now() < deadline, "the sampler does not sample");
        thread::yield_now();
    }
    let report = sampler.stop().unwrap();
    let vram = Vram { before_mib: 0, peak_mib: 70_480, after_mib: 0 };
    assert_eq!((report.vram, report.unreadable, report.lines_dropped), (Some(vram), 0, 0));
    assert!(report.log_error.is_none());

    let text = fs::read_to_string(&log).unwrap();
    let samples: Vec<GpuSample> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len() as u64, report.samples);
    let mib: Vec<_> = samples.iter().map(|sample| sample.used_mib).collect();
    assert!(mib.starts_with(&[0, 0, 512, 70_123, 70_480, 70_480, 3, 0]), "{mib:?}");
    assert!(samples.is_sorted_by_key(|sample| sample.at));
}

#[test]
fn without_a_gpu_there_is_no_sampler_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gpu.jsonl");
    for source in [Source::None, fixture("no-driver.json"), fixture("no-gpu.json")] {
        let probe = Probe::open(&source).unwrap();
        assert!(VramSampler::start(&probe, &Selection::All, &log).unwrap().is_none());
        assert_eq!(probe.vram_used(&Selection::All).unwrap(), None);
    }
    assert!(!log.exists());
}

#[test]
fn a_gpu_that_is_not_there_and_a_file_that_is_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gpu.jsonl");
    let probe = open("h100-idle.json");
    let other = Selection::Only(vec!["GPU-other".to_owned()]);
    let refused = VramSampler::start(&probe, &other, &log).unwrap_err();
    assert!(matches!(refused, SamplerError::NoSuchGpu(_)));
    fs::write(&log, "of another run").unwrap();
    let refused = VramSampler::start(&probe, &Selection::All, &log).unwrap_err();
    assert!(matches!(refused, SamplerError::Log { .. }));
    assert_eq!(fs::read_to_string(&log).unwrap(), "of another run");
}

#[test]
fn a_script_without_samples_tells_what_its_facts_tell() {
    let used = open("foreign-process.json").vram_used(&Selection::All).unwrap();
    assert_eq!(used, Some(Reading::Known(Memory::from_mib(70_123))));
    let lost = open("lost.json").vram_used(&Selection::All).unwrap();
    assert_eq!(lost, Some(Reading::Unreadable("the GPU is lost".to_owned())));
}

#[test]
fn the_peak_is_that_of_all_gpus_at_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut watch, path) = watch(folder.path(), LOG_LINES);
    for mib in [[1, 2], [10, 3], [2, 9], [1, 1]] {
        watch.take(&used(&mib));
    }
    let report = watch.finish();
    assert_eq!(report.vram, Some(Vram { before_mib: 3, peak_mib: 13, after_mib: 2 }));
    assert_eq!(report.samples, 4);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 8);
}

#[test]
fn a_moment_that_cannot_be_read_is_counted_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sampled, path) = watch(folder.path(), LOG_LINES);
    for moment in [used(&[5, 5]), unreadable(), used(&[6, 6])] {
        sampled.take(&moment);
    }
    let report = sampled.finish();
    assert_eq!(report.vram, Some(Vram { before_mib: 10, peak_mib: 12, after_mib: 12 }));
    assert_eq!((report.samples, report.unreadable), (2, 1));
    fs::remove_file(path).unwrap();

    let (mut sampled, _) = watch(folder.path(), LOG_LINES);
    for moment in [unreadable(), used(&[6, 6])] {
        sampled.take(&moment);
    }
    assert_eq!(sampled.finish().vram, None);
}

#[test]
fn a_full_file_grows_no_more_but_the_peak_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut watch, path) = watch(folder.path(), 2);
    for mib in [1, 2, 50, 4] {
        watch.take(&used(&[mib]));
    }
    let report = watch.finish();
    assert_eq!(report.vram, Some(Vram { before_mib: 1, peak_mib: 50, after_mib: 4 }));
    assert_eq!(report.lines_dropped, 2);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 2);
}

#[test]
fn a_script_that_is_none_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.json");
    let open = |text: &str| {
        fs::write(&path, text).unwrap();
        Probe::open(&Source::Script(path.clone())).unwrap_err()
    };
    assert!(matches!(open("{ \"readings\": [] }"), ProbeError::Empty { .. }));
    let ProbeError::Malformed { source, .. } = open("{\n \"readings\": [ { \"source\": 1 } ] }")
    else {
        panic!("not refused as malformed")
    };
    assert_eq!(
        source.to_string(),
        "invalid type: integer `1`, expected a string at line 2 column 28"
    );
    assert!(matches!(open("no JSON"), ProbeError::Malformed { .. }));
    let missing = Probe::open(&Source::Script(folder.path().join("missing")));
    assert!(matches!(missing.unwrap_err(), ProbeError::Unreadable { .. }));
}
