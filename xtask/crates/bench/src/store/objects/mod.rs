//! An object store of files that are written once and never change.
//!
//! There is no index: what is there is what a listing shows, and every service that is spoken to
//! lists an object as soon as its write has been answered. So writers have nothing in common that
//! one could take from another, and a write either is there whole or is not there.

mod error;
mod url;

use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nix::sys::signal::{Signal, raise};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

pub use error::{ReadOnly, StoreError};
use url::Service;
pub use url::StoreUrl;

/// What may be done with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Reading, and why no more.
    Read(ReadOnly),
}

/// An open store.
#[derive(Clone, Debug)]
pub struct Objects {
    url: StoreUrl,
    access: Access,
    /// What all names begin with.
    root: Path,
    store: Arc<dyn ObjectStore>,
}

/// What a folder of the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// How many objects.
    pub count: usize,
    /// The names that come last, in order.
    pub last: Vec<String>,
}

/// One request, which carries some tens of kilobytes.
const REQUEST_WITHIN: &str = "15 seconds";

/// Failed requests are repeated by the library this often and no longer than this: enough for a
/// server that is restarted, little beside a benchmark.
const REPEATS: usize = 5;
const REPEATED_WITHIN: Duration = Duration::from_secs(30);

/// Pauses between them grow from the first to the last value, with jitter.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Longest that any call takes, whatever happens in it.
const CALL_WITHIN: Duration = Duration::from_secs(90);

/// How often a write is tried whose outcome is not clear, and the pauses in between, which grow
/// and have jitter, so that writers who met do not meet again.
const WRITES: u32 = 6;
const WRITE_PAUSE: Duration = Duration::from_millis(50);

/// Requests on their way at a time when many objects are read.
const READS_AT_ONCE: usize = 16;

/// No object that is written is a tenth of this; a larger one is not ours.
const OBJECT_BYTES: u64 = 32 << 20;

/// Digits of the digest in a name: two contents of one session and moment meet once in 2^64.
const DIGEST_DIGITS: usize = 16;

/// Crash tests set this to the number of the step (a listing, a read, a write) after which the
/// process kills itself; it is the only way to stop exactly between two of them.
const CRASH_AFTER: &str = "SERVEGATE_CRASH_AFTER_STORE_STEP";

impl Objects {
    /// Opens a store. Nothing is asked of it yet, but a folder must be there.
    pub fn open(url: &StoreUrl, access: Access) -> Result<Self, StoreError> {
        // The client asks the process for its TLS; it fails only where one has been chosen already,
        // and then that one is used.
        drop(rustls::crypto::ring::default_provider().install_default());
        let opened = match url.service {
            Service::S3 => s3(url),
            Service::Gcs => gcs(url),
            Service::Azure => azure(url),
            // A crash must leave the file whole and under its name, or no file.
            Service::Folder => LocalFileSystem::new_with_prefix(url.folder())
                .map(|store| Arc::new(store.with_fsync(true)) as Arc<dyn ObjectStore>),
        };
        let store = opened.map_err(|error| StoreError::failed("open".to_owned(), url, &error))?;
        let root = match url.service {
            Service::Folder => Path::default(),
            Service::S3 | Service::Gcs | Service::Azure => url.prefix.clone(),
        };
        Ok(Self { url: url.clone(), access, root, store })
    }

    /// Its address.
    pub const fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Whether it may be written to.
    pub fn may_write(&self) -> Result<(), StoreError> {
        match &self.access {
            Access::Full => Ok(()),
            Access::Read(why) => {
                Err(StoreError::ReadOnly { store: self.url.clone(), why: why.clone() })
            }
        }
    }

    /// The folders in a folder, by name.
    pub fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = self.path(folder);
        let listed = self.wait(self.store.list_with_delimiter(Some(&prefix)));
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        self.step();
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The `most` objects of a folder whose names come last. A folder that is not there is empty.
    pub fn list(&self, folder: &str, most: usize) -> Result<Listing, StoreError> {
        let prefix = self.path(folder);
        let listed = self.wait(async {
            let mut stream = self.store.list(Some(&prefix));
            let (mut count, mut last) = (0, BTreeSet::new());
            while let Some(meta) = stream.try_next().await? {
                if let Some(name) = meta.location.filename().filter(|name| is_named(name)) {
                    count += 1;
                    last.insert(name.to_owned());
                    if most < last.len() {
                        last.pop_first();
                    }
                }
            }
            Ok(Listing { count, last: last.into_iter().collect() })
        });
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        self.step();
        Ok(listed)
    }

    /// The contents of objects, in their order. Each is what its name says.
    pub fn read(&self, names: &[String]) -> Result<Vec<Vec<u8>>, StoreError> {
        let reads: Vec<_> =
            names
                .iter()
                .map(|name| async move {
                    self.contents(name).await.map_err(|error| (name.clone(), error))
                })
                .collect();
        // Polled by one task: the requests wait for the network, not for the processor.
        let reads = stream::iter(reads).buffered(READS_AT_ONCE).try_collect::<Vec<_>>();
        let contents = match self.wait(async { Ok(reads.await) }) {
            Ok(Ok(contents)) => contents,
            Ok(Err((name, error))) => return Err(self.failed("read", &name, &error)),
            Err(error) => return Err(self.failed("read", &names.join("`, `"), &error)),
        };
        self.step();
        for (name, contents) in names.iter().zip(&contents) {
            if !name.ends_with(&suffix(contents)) {
                let how = "its content does not have the digest in its name".to_owned();
                return Err(self.damaged(name, how));
            }
        }
        Ok(contents)
    }

    /// Writes a new object; its name is `stem` and a digest of its content. To write the same
    /// again changes nothing. Returns the name.
    pub fn write(&self, stem: &str, content: &[u8]) -> Result<String, StoreError> {
        self.may_write()?;
        let name = format!("{stem}{}", suffix(content));
        match self.wait(self.create(&name, content)) {
            Ok(Created::IsThere) => {}
            Ok(Created::SomethingElse) => {
                return Err(StoreError::Taken { object: name, store: self.url.clone() });
            }
            Err(error) => return Err(self.failed("write", &name, &error)),
        }
        self.step();
        Ok(name)
    }

    /// An error about an object that cannot be understood.
    pub fn damaged(&self, name: &str, how: String) -> StoreError {
        StoreError::Damaged { object: name.to_owned(), store: self.url.clone(), how }
    }

    /// Creates an object, never replaces one. Where it is not clear what came of it, the name
    /// tells: it is of this content alone.
    async fn create(&self, name: &str, content: &[u8]) -> Result<Created, Error> {
        let path = self.path(name);
        let mut writes = 0;
        loop {
            let payload = content.to_vec().into();
            let unclear = match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => return Ok(Created::IsThere),
                Err(error @ Error::AlreadyExists { .. }) => match self.contents(name).await {
                    Ok(found) if found == content => return Ok(Created::IsThere),
                    Ok(_) => return Ok(Created::SomethingElse),
                    // Two writers met and the service let neither win.
                    Err(Error::NotFound { .. }) => error,
                    Err(error) => return Err(error),
                },
                Err(error) if error::is_unsure(&error) => error,
                Err(error) => return Err(error),
            };
            writes += 1;
            if WRITES <= writes {
                return Err(unclear);
            }
            tokio::time::sleep(jittered(WRITE_PAUSE * 2_u32.pow(writes))).await;
        }
    }

    async fn contents(&self, name: &str) -> Result<Vec<u8>, Error> {
        let found = self.store.get(&self.path(name)).await?;
        if OBJECT_BYTES < found.meta.size {
            let source = format!("it has {} bytes, more than any of ours", found.meta.size).into();
            return Err(Error::Generic { store: "size", source });
        }
        Ok(found.bytes().await?.to_vec())
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), Path::join)
    }

    fn failed(&self, verb: &str, name: &str, error: &Error) -> StoreError {
        StoreError::failed(format!("{verb} `{name}` in"), &self.url, error)
    }

    /// Carries a task out to its end or to the deadline, from synchronous code as from code that
    /// runs in a runtime of its own.
    fn wait<T: Send>(
        &self,
        task: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let other = |source: io::Error| Error::Generic { store: "runtime", source: source.into() };
        let runtime = runtime().map_err(other)?;
        let bounded = async {
            tokio::time::timeout(CALL_WITHIN, task).await.unwrap_or_else(|_| {
                Err(other(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", CALL_WITHIN.as_secs()),
                )))
            })
        };
        std::thread::scope(|scope| match scope.spawn(|| runtime.block_on(bounded)).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Notes that a step is done.
    fn step(&self) {
        static STEPS: AtomicU64 = AtomicU64::new(0);
        let done = STEPS.fetch_add(1, Ordering::SeqCst) + 1;
        let crash_after = std::env::var(CRASH_AFTER).ok().and_then(|text| text.parse().ok());
        if crash_after == Some(done) {
            let _ = raise(Signal::SIGKILL);
        }
    }
}

/// What came of a write.
enum Created {
    /// The object is there, by this write or by an earlier one of the same.
    IsThere,
    /// Another object has its name.
    SomethingElse,
}

/// The runtime of all stores of the process. It is never dropped: that is not allowed within
/// another runtime, where a store may well be.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let built = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
    });
    built.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

/// What a name ends with: a digest of the content.
fn suffix(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("-{}.json", &digits[..DIGEST_DIGITS])
}

/// Whether a name is one that `write` gives. Whatever else lies about is not looked at.
fn is_named(name: &str) -> bool {
    let digest = name.strip_suffix(".json").and_then(|stem| stem.rsplit_once('-'));
    digest.is_some_and(|(_, digest)| {
        digest.len() == DIGEST_DIGITS && digest.chars().all(|c| c.is_ascii_hexdigit())
    })
}

/// Half of a pause to all of it, drawn from what the standard library seeds its maps with.
fn jittered(pause: Duration) -> Duration {
    let drawn = RandomState::new().hash_one(0_u8) % 1000;
    pause / 2 + pause * u32::try_from(drawn).unwrap_or(0) / 2000
}

fn retries() -> RetryConfig {
    let [init_backoff, max_backoff] = PAUSES;
    RetryConfig {
        backoff: BackoffConfig { init_backoff, max_backoff, base: 2.0 },
        max_retries: REPEATS,
        retry_timeout: REPEATED_WITHIN,
    }
}

fn s3(url: &StoreUrl) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(&url.bucket)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_WITHIN)
        .with_retry(retries())
        .build()?;
    Ok(Arc::new(store))
}

fn gcs(url: &StoreUrl) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&url.bucket)
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), REQUEST_WITHIN)
        .with_retry(retries())
        .build()?;
    Ok(Arc::new(store))
}

fn azure(url: &StoreUrl) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = MicrosoftAzureBuilder::from_env()
        .with_container_name(&url.bucket)
        .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), REQUEST_WITHIN)
        .with_retry(retries())
        .build()?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folder: &std::path::Path, access: Access) -> Objects {
        let url = format!("file://{}", folder.display()).parse().unwrap();
        Objects::open(&url, access).unwrap()
    }

    #[test]
    fn to_write_the_same_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let objects = opened(folder.path(), Access::Full);
        let name = objects.write("a/b", b"text").unwrap();
        assert_eq!(objects.write("a/b", b"text").unwrap(), name);
        assert_ne!(objects.write("a/b", b"other").unwrap(), name);
        assert_eq!(objects.list("a", 9).unwrap().count, 2);
        assert_eq!(objects.read(&[name]).unwrap(), [b"text"]);
    }

    #[test]
    fn a_name_that_something_else_has_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let objects = opened(folder.path(), Access::Full);
        let name = objects.write("a/b", b"text").unwrap();
        std::fs::write(folder.path().join(&name), "tampered").unwrap();
        let error = objects.write("a/b", b"text").unwrap_err();
        assert!(matches!(error, StoreError::Taken { .. }), "{error}");
        let error = objects.read(&[name]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    #[test]
    fn the_last_names_are_found_and_nothing_else_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let objects = opened(folder.path(), Access::Full);
        let mut names: Vec<_> = (0..20_u8)
            .map(|n| objects.write(&format!("a/{n:02}"), &[n]).unwrap())
            .map(|name| name.trim_start_matches("a/").to_owned())
            .collect();
        std::fs::write(folder.path().join("a/zz.json"), "x").unwrap();
        let listing = objects.list("a", 3).unwrap();
        assert_eq!(listing, Listing { count: 20, last: names.split_off(17) });
        assert_eq!(objects.list("b", 3).unwrap(), Listing { count: 0, last: Vec::new() });
        assert_eq!(objects.folders("").unwrap(), ["a"]);
    }

    #[test]
    fn one_that_is_only_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let objects = opened(folder.path(), Access::Read(ReadOnly::Asked));
        let error = objects.write("a/b", b"text").unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_can_be_used_within_another_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let objects = opened(folder.path(), Access::Full);
        objects.write("a/b", b"text").unwrap();
    }
}
