//! Where an object store is, as it is typed: `s3://BUCKET/PREFIX`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// The address of a store. It holds no secret, so that it can be printed and recorded: credentials
/// come from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreUrl {
    /// Who keeps it.
    pub service: Service,
    /// The bucket or container; empty for a folder.
    pub bucket: String,
    /// What the names of all its objects begin with; the folder, for a folder.
    pub prefix: Path,
}

/// Who keeps a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, or another service that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// A folder of this machine or of a network file system.
    Folder,
}

impl Service {
    const ALL: [Self; 4] = [Self::S3, Self::Gcs, Self::Azure, Self::Folder];

    /// What a URL of it begins with.
    const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
            Self::Folder => "file",
        }
    }
}

/// A text that is no address of a store. It never repeats the text beyond its scheme, which may
/// hold a secret by mistake.
#[derive(Debug, thiserror::Error)]
pub enum NotAStore {
    /// It has no scheme that is known.
    #[error("the store's URL does not begin with `s3://`, `gs://`, `az://` or `file:///`")]
    Scheme,
    /// There is something in it that looks like a user, a password or a token.
    #[error(
        "the store's URL has a `{0}`; credentials and options come from the environment, because \
         the URL is printed and recorded"
    )]
    Credentials(char),
    /// It names no bucket.
    #[error("the store's URL names no bucket: `{scheme}://BUCKET/PREFIX`")]
    Bucket {
        /// Its scheme.
        scheme: &'static str,
    },
    /// It names a folder of another host, or none.
    #[error("the store's URL names no folder of this machine: `file:///FOLDER`")]
    Folder,
    /// The prefix has an empty part, a `..` or the like.
    #[error("the store's URL has a prefix that cannot be used")]
    Prefix(#[from] object_store::path::Error),
}

impl FromStr for StoreUrl {
    type Err = NotAStore;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAStore::Scheme)?;
        let service = Service::ALL.into_iter().find(|service| service.scheme() == scheme);
        let service = service.ok_or(NotAStore::Scheme)?;
        if let Some(odd) = rest.chars().find(|c| "@?#".contains(*c)) {
            return Err(NotAStore::Credentials(odd));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let url = Self { service, bucket: bucket.to_owned(), prefix: Path::from_url_path(prefix)? };
        match service {
            Service::Folder if !bucket.is_empty() || url.prefix.as_ref().is_empty() => {
                Err(NotAStore::Folder)
            }
            Service::S3 | Service::Gcs | Service::Azure if bucket.is_empty() => {
                Err(NotAStore::Bucket { scheme: service.scheme() })
            }
            Service::S3 | Service::Gcs | Service::Azure | Service::Folder => Ok(url),
        }
    }
}

impl StoreUrl {
    /// The folder that it names, for a folder.
    pub fn folder(&self) -> PathBuf {
        std::path::Path::new("/").join(self.prefix.as_ref())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.as_ref();
        let slash = if prefix.is_empty() { "" } else { "/" };
        write!(f, "{}://{}{slash}{prefix}", self.service.scheme(), self.bucket)
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = NotAStore;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        // A part is decoded when it is read, so what would be decoded again is encoded.
        url.to_string().replace('%', "%25")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_typed() {
        for text in ["s3://bucket", "gs://b/one/two", "az://container/p", "file:///srv/a b"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
        let url: StoreUrl = "file:///srv/a%20b/".parse().unwrap();
        assert_eq!(url.folder(), PathBuf::from("/srv/a b"));
        let odd: StoreUrl = "s3://bucket/100%25".parse().unwrap();
        assert_eq!(String::from(odd.clone()).parse::<StoreUrl>().unwrap(), odd);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let refused = [
            "results/store",
            "https://bucket.s3.amazonaws.com",
            "s3://AKIAKEY:hunter2hunter2@bucket",
            "az://container?sv=2024&sig=hunter2hunter2",
            "s3:///prefix",
            "file://host/folder",
            "file:///",
            "s3://bucket/../other",
        ];
        let mut said = String::new();
        for text in refused {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            said += &format!("{error}\n");
        }
        insta::assert_snapshot!(said);
    }
}
