//! Certificates in the results tree: `results/certificates/<host>-<timestamp>.json`.

use std::fs;
use std::path::{Path, PathBuf};

use domain::certificate::Certificate;
use domain::client::ErrorBound;
use domain::summary::Measurement;

use crate::store::Results;

/// Where certificates lie, relative to the results folder.
const FOLDER: &str = "certificates";

/// The file of a new certificate, relative to the results folder.
pub fn file(certificate: &Certificate) -> PathBuf {
    let stamp = certificate.made.compact();
    Path::new(FOLDER).join(format!("{}-{stamp}.json", plain(&certificate.host)))
}

/// How far the numbers of a run on this host may be from the truth, by the newest certificate that
/// can be read, if one of its cells covers the run.
pub fn bound(results: &Results, host: &str, measured: &Measurement) -> Option<ErrorBound> {
    let (file, certificate) = newest(results, host)?;
    stats::certificate::bound(&certificate, &file, measured)
}

/// The newest certificate of a host, and its file relative to the results folder.
fn newest(results: &Results, host: &str) -> Option<(String, Certificate)> {
    let listing = fs::read_dir(results.path(Path::new(FOLDER))).ok()?;
    let mut names: Vec<String> = listing
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&format!("{}-", plain(host))))
        .collect();
    // Their timestamps sort as text.
    names.sort_unstable();
    names.iter().rev().find_map(|name| {
        let file = Path::new(FOLDER).join(name);
        let text = fs::read(results.path(&file)).ok()?;
        let certificate: Certificate = serde_json::from_slice(&text).ok()?;
        let fits = certificate.host == host && certificate.schema == Certificate::SCHEMA;
        fits.then(|| (file.display().to_string(), certificate))
    })
}

/// A host's name made fit for a file name.
fn plain(host: &str) -> String {
    host.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::timestamp::Timestamp;

    use super::*;
    use crate::store::write_new_json;

    fn certificate(host: &str, millis: i64) -> Certificate {
        Certificate {
            schema: Certificate::SCHEMA,
            host: host.to_owned(),
            made: Timestamp::from_unix_millis(millis),
            servegate_version: "0.1.0".to_owned(),
            kernel: None,
            server_cpu: 0,
            client_cpu: 1,
            load_1m: None,
            cells: Vec::new(),
        }
    }

    #[test]
    fn the_newest_readable_certificate_of_this_host_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::at(folder.path());
        assert!(newest(&results, "vm").is_none());
        for made in [certificate("vm", 1_000), certificate("vm", 9_000), certificate("w", 99_000)] {
            write_new_json(&results.path(&file(&made)), &made).unwrap();
        }
        let broken = results.path(Path::new("certificates/vm-20990101T000000Z.json"));
        fs::write(broken, "{").unwrap();
        let (name, found) = newest(&results, "vm").unwrap();
        assert_eq!(name, "certificates/vm-19700101T000009Z.json");
        assert_eq!(found.made, Timestamp::from_unix_millis(9_000));
    }
}
