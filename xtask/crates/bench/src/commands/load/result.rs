//! What is made of a load: the block, the line of JSON, the records, the exit code.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use domain::anomaly::Anomaly;
use domain::exit::Exit;
use domain::framework::Backend;
use domain::profile::{Dataset, Profile};
use domain::summary::Measurement;
use load::{Drive, RequestSet};
use report::block::{BlockInput, CacheSection, Extras, block};
use report::jsonl::{Line, Own};
use stats::Observation;
use time::OffsetDateTime;

use crate::cli::LoadArgs;
use crate::failure::Failure;
use crate::lag::Allowed;
use crate::output::print;

/// Where the line of JSON goes, checked before anything is sent.
pub(super) struct Output(PathBuf);

impl Output {
    /// The file of the flags, or the one that the tool would choose.
    ///
    /// The tool notices a missing folder when the run is over, and its result is lost.
    pub(super) fn plan(args: &LoadArgs) -> Result<Self, Failure> {
        let now = OffsetDateTime::now_utc();
        let file = args.result.output_file.clone().unwrap_or_else(|| usual_name(args, now).into());
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !parent.is_dir() {
            let error = anyhow!("there is no folder `{}` for `--output-file`", parent.display());
            return Err(Failure::usage(error).with_hint(format!("mkdir -p {}", parent.display())));
        }
        if file.is_dir() {
            let error = anyhow!("`--output-file` names the folder `{}`", file.display());
            return Err(Failure::usage(error));
        }
        Ok(Self(file))
    }
}

/// The file name that the tool chooses; the day is that of UTC.
fn usual_name(args: &LoadArgs, now: OffsetDateTime) -> String {
    let (data, backend) = (&args.data, args.server.backend);
    let day = format!("{:02}{:02}", u8::from(now.month()), now.day());
    let n = data.num_prompts;
    match data.dataset_name {
        Dataset::Random | Dataset::RandomIds => {
            let (input, output) = (data.random_input_len, data.random_output_len);
            format!("{backend}_{day}_{n}_{input}_{output}.jsonl")
        }
        dataset @ (Dataset::GeneratedSharedPrefix | Dataset::Sharegpt | Dataset::Custom) => {
            format!("{backend}_{day}_{n}_{dataset}.jsonl")
        }
    }
}

/// A load that was made.
pub(super) struct Made<'a> {
    /// What was asked for.
    pub(super) args: &'a LoadArgs,
    /// The load.
    pub(super) profile: &'a Profile,
    /// What was sent.
    pub(super) requests: &'a RequestSet,
    /// What came of it.
    pub(super) drive: &'a Drive,
    /// What the server tells of itself.
    pub(super) told: Option<serde_json::Value>,
    /// Model id as in the requests.
    pub(super) model: &'a str,
    /// How far the client's own lag may move a number.
    pub(super) allowed: Allowed,
}

impl Made<'_> {
    /// Prints and writes everything. Says whether every request completed, and in time.
    pub(super) fn give(&self, output: &Output) -> Result<Exit, Failure> {
        let (args, drive) = (self.args, self.drive);
        let measurement = self.measurement();
        let request_set = self.requests.fingerprint();
        let max_itl_ms = stats::metrics::max_itl_ms(&drive.records);
        let slos = &args.result.goodput;
        let goodput = stats::goodput(&drive.records, drive.duration_ns, slos);
        let cache = if args.result.cache_report { CacheSection::Hits } else { CacheSection::None };
        let accept_length = self.accept_length();
        if let Some(file) = &args.result.records {
            load::records::write(file, &drive.records).map_err(Failure::not_measured)?;
        }
        let line = Line {
            tag: args.result.tag.as_deref(),
            backend: args.server.backend,
            profile: self.profile,
            measurement: &measurement,
            server_info: self.told.as_ref(),
            accept_length,
            goodput: goodput.as_ref(),
            cache,
            details: args.result.output_details.then_some(drive.records.as_slice()),
            own: Own {
                version: env!("CARGO_PKG_VERSION"),
                model: self.model,
                compat: args.data.compat,
                seed: self.requests.seed(),
                request_set: &request_set,
                started: drive.started,
                finished: drive.finished,
                max_itl_ms,
            },
        };
        let line = line.text().context("cannot express the result as JSON")?;
        if args.result.json {
            print(&line)?;
        } else {
            print(&block(&BlockInput {
                backend: args.server.backend,
                profile: self.profile,
                measurement: &measurement,
                request_set: Some(&request_set),
                max_itl_ms,
                extras: Extras { accept_length, goodput: goodput.as_ref(), cache },
            }))?;
        }
        append(&output.0, &line)?;
        let complete = measurement.requests.completed as usize == self.requests.requests().len();
        let late = measurement.anomalies.iter().filter(|one| one.is_of_the_client());
        let late: Vec<&Anomaly> = late.collect();
        for late in &late {
            eprintln!("INVALID: {late}");
        }
        Ok(if complete && late.is_empty() { Exit::Done } else { Exit::NotMeasured })
    }

    /// What was measured, and whether the client's own lag spoilt it.
    fn measurement(&self) -> Measurement {
        let mut measurement = stats::summarise(&Observation {
            records: &self.drive.records,
            asked: self.requests.asked(),
            duration_ns: self.drive.duration_ns,
            cpu_ns: self.drive.cpu_ns,
            threads: self.drive.threads,
        });
        measurement.anomalies.extend(self.allowed.exceeded(&measurement, self.profile));
        measurement
    }

    /// Tokens that speculative decoding accepts at once; servers of SGLang tell.
    fn accept_length(&self) -> Option<f64> {
        let sglang = matches!(
            self.args.server.backend,
            Backend::Sglang | Backend::SglangNative | Backend::SglangOai | Backend::SglangOaiChat
        );
        let told = self.told.as_ref().filter(|_| sglang)?;
        // Where prefill and decoding are apart, the decoder's counts.
        let told = told.get("decode").and_then(|parts| parts.get(0)).unwrap_or(told);
        told.pointer("/internal_states/0/avg_spec_accept_length")?.as_f64()
    }
}

/// Appends a line in one write, so that lines of two runs never mix.
fn append(file: &Path, line: &str) -> Result<(), Failure> {
    let open = OpenOptions::new().append(true).create(true).open(file);
    open.and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("cannot append to `{}`", file.display()))
        .map_err(Failure::not_measured)
}
