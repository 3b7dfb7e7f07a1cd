use std::fs;
use std::time::Instant;

use super::*;
use crate::{ProbeError, Source};

/// The driver's own.
const EVERY: Duration = Duration::from_millis(100);

/// Far longer than a test takes, unless it fails.
const LONG: Duration = Duration::from_secs(60);

fn fixture(name: &str) -> Source {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/gpu");
    Source::Script(Path::new(folder).join(name))
}

fn open(name: &str) -> Probe {
    Probe::open(&fixture(name)).unwrap()
}

/// A probe of a script of its own, with this for memory in use.
fn scripted(folder: &Path, more: &str) -> Probe {
    let text = fs::read_to_string(match fixture("h100-idle.json") {
        Source::Script(path) => path,
        Source::Auto | Source::None => panic!("a script"),
    });
    let mut script: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let more: serde_json::Value = serde_json::from_str(more).unwrap();
    script.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = folder.join("script.json");
    fs::write(&path, script.to_string()).unwrap();
    Probe::open(&Source::Script(path)).unwrap()
}

/// Takes so many moments of a script, with room for so many samples.
fn watched(probe: &Probe, log: Option<&Path>, moments: usize, room: usize) -> SamplerReport {
    let reader = probe.reader(&Selection::All).unwrap().unwrap();
    let log = log.map(|path| Log::create(path).unwrap());
    let mut watch = Watch { room, ..Watch::new(log) };
    for _ in 0..moments {
        watch.take(&reader, Moment::Counters, Duration::ZERO);
    }
    watch.finish(EVERY, Duration::ZERO, Duration::ZERO)
}

#[test]
fn the_sampler_plays_a_script_from_before_to_after() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gpu.jsonl");
    let probe = open("settling.json");
    let spec = SamplerSpec { log: Some(&log), every: EVERY };
    let sampler = Sampler::start(&probe, &Selection::All, spec).unwrap().unwrap();
    assert!(!log.exists(), "it has its name when it is complete");
    let crate::Readings::Script(script) = &probe.readings else { panic!("a script") };
    let deadline = Instant::now() + LONG;
    while !script.is_played() {
        assert!(Instant::now() < deadline, "the sampler does not sample");
        thread::yield_now();
    }
    let report = sampler.stop().unwrap();
    let vram = Vram { before_mib: 0, peak_mib: 70_480, after_mib: 0 };
    assert_eq!((report.vram, report.unreadable, report.dropped), (Some(vram), 0, 0));
    assert!(report.log_error.is_none());

    let text = fs::read_to_string(&log).unwrap();
    let samples: Vec<GpuSample> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples, report.samples);
    assert_eq!(report.late_us.len(), samples.len());
    let mib = samples.iter().map(|sample| *sample.quantities.used_mib.known().unwrap());
    let mib: Vec<u64> = mib.collect();
    assert!(mib.starts_with(&[0, 0, 512, 70_123, 70_480, 70_480, 3, 0]), "{mib:?}");
    assert!(samples.is_sorted_by_key(|sample| sample.at_us));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
}

#[test]
fn without_a_gpu_there_is_no_sampler_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gpu.jsonl");
    for source in [Source::None, fixture("no-driver.json"), fixture("no-gpu.json")] {
        let probe = Probe::open(&source).unwrap();
        let spec = SamplerSpec { log: Some(&log), every: EVERY };
        assert!(Sampler::start(&probe, &Selection::All, spec).unwrap().is_none());
        assert!(crate::ErrorWatch::start(&probe, &Selection::All).unwrap().is_none());
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
    let spec = SamplerSpec { log: Some(&log), every: EVERY };
    let refused = Sampler::start(&probe, &other, spec).unwrap_err();
    assert!(matches!(refused, SamplerError::NoSuchGpu(_)));
    fs::write(&log, "of another run").unwrap();
    let refused = Sampler::start(&probe, &Selection::All, spec).unwrap_err();
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
fn a_moment_that_cannot_be_read_is_counted_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let lost = r#"{"used_mib":{"unreadable":"lost"}}"#;
    let told = |first: &str, second: &str, third: &str| {
        format!(r#"{{"telemetry":[{first},{second},{third}]}}"#)
    };
    let (five, six) = (r#"{"used_mib":5}"#, r#"{"used_mib":6}"#);
    let report = watched(&scripted(folder.path(), &told(five, lost, six)), None, 3, LINES);
    assert_eq!(report.vram, Some(Vram { before_mib: 5, peak_mib: 6, after_mib: 6 }));
    assert_eq!((report.samples.len(), report.unreadable), (3, 1));
    let report = watched(&scripted(folder.path(), &told(lost, five, six)), None, 3, LINES);
    assert_eq!(report.vram, None);
}

#[test]
fn a_full_file_grows_no_more_but_the_peak_and_the_last_counters_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpu.jsonl");
    let moments = [(1, 10), (2, 20), (50, 30), (4, 40)];
    let moments = moments.map(|(mib, mj)| format!(r#"{{"used_mib":{mib},"energy_mj":{mj}}}"#));
    let probe = scripted(folder.path(), &format!(r#"{{"telemetry":[{}]}}"#, moments.join(",")));
    let report = watched(&probe, Some(&path), 4, 2);
    assert_eq!(report.vram, Some(Vram { before_mib: 1, peak_mib: 50, after_mib: 4 }));
    assert_eq!(report.dropped, 2);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 2);
    let counters: Vec<_> =
        report.samples.iter().map(|sample| sample.quantities.energy_mj.clone()).collect();
    assert_eq!(counters, [Reading::Known(10), Reading::Known(40)]);
}

#[test]
fn what_a_script_does_not_list_is_what_its_facts_tell() {
    let folder = tempfile::tempdir().unwrap();
    let report = watched(&scripted(folder.path(), "{}"), None, 1, LINES);
    let told = &report.samples[0].quantities;
    assert_eq!(told.used_mib, Reading::Known(0));
    assert!(told.temperature_c.known().is_some() && told.sm_clock_mhz.known().is_some());
    assert_eq!(told.energy_mj, Reading::NotSupported);
}

#[test]
fn the_sum_over_cards_is_missing_where_one_is() {
    let known = |mib| Reading::Known(Memory::from_mib(mib));
    assert_eq!(total([known(1), known(2)].iter()), known(3));
    let lost = Reading::Unreadable("lost".to_owned());
    assert_eq!(total([known(1), lost.clone()].iter()), lost);
}

#[test]
fn errors_of_a_script_are_reported_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let probe = scripted(folder.path(), r#"{"live_xids":[31]}"#);
    let watch = crate::ErrorWatch::start(&probe, &Selection::All).unwrap().unwrap();
    let error = crate::GpuError { gpu: Some(0), error: "Xid 31".to_owned() };
    assert_eq!(watch.stop(), Reading::Known(vec![error]));
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

#[test]
fn counters_are_not_read_at_every_moment() {
    let reader = open("at-work.json").reader(&Selection::All).unwrap().unwrap();
    let mut watch = Watch::new(None);
    watch.take(&reader, Moment::Gauges, Duration::ZERO);
    watch.take(&reader, Moment::Counters, Duration::ZERO);
    let told = |at: usize| &watch.samples[at].quantities;
    assert_eq!(*told(0), told(0).clone().gauges());
    assert!(told(0).power_mw.known().is_some() && told(0).sm_clock_mhz.known().is_some());
    assert!(told(1).energy_mj.known().is_some() && told(1).power_mw.known().is_some());
}
