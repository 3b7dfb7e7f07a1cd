//! Why a store could not be used: what, where, and how to mend it; never a secret.

use std::error::Error;
use std::fmt;
use std::io;

use domain::hint::Hinted;
use object_store::client::{HttpError, HttpErrorKind};

use super::url::{NotAStore, Service, StoreUrl};

/// A store that cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text on the command line or in the environment is no address.
    #[error(transparent)]
    NotAStore(#[from] NotAStore),
    /// It may only be read.
    #[error("the store `{store}` is only read here: {why}")]
    ReadOnly {
        /// The store.
        store: StoreUrl,
        /// Why.
        why: ReadOnly,
    },
    /// The store, the network or this machine refuses.
    #[error("cannot {action} the store `{store}`")]
    Failed {
        /// What was tried, up to the words "the store".
        action: String,
        /// The store.
        store: StoreUrl,
        /// What kind of failure it is.
        fault: Fault,
        /// What was said.
        source: Said,
    },
    /// An object is not what its name says.
    #[error("the object `{object}` of the store `{store}` is damaged: {how}")]
    Damaged {
        /// The object.
        object: String,
        /// The store.
        store: StoreUrl,
        /// In what way.
        how: String,
    },
    /// Another object has the name already.
    #[error("the name `{object}` is taken by something else in the store `{store}`")]
    Taken {
        /// The name.
        object: String,
        /// The store.
        store: StoreUrl,
    },
}

/// Why a store is only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// It was asked for.
    Asked,
    /// What runs is a pull request: its code has not been reviewed.
    PullRequest {
        /// The event's name.
        event: String,
    },
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("`--store-read-only` was given"),
            Self::PullRequest { event } => write!(f, "GITHUB_EVENT_NAME is `{event}`"),
        }
    }
}

/// Kinds of failure, as far as they can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There are no credentials.
    NoCredentials,
    /// There are, and they are not right.
    WrongCredentials,
    /// They are right, and do not allow it.
    NoRights,
    /// The bucket, container or folder is not there.
    NoSuchPlace,
    /// The bucket is in another region.
    OtherRegion,
    /// The endpoint has no TLS.
    NoTls,
    /// Nobody answers.
    Unreachable,
    /// Something else.
    Other,
}

/// What the innermost of a chain of errors said, on one line and without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub String);

/// Longest text of a cause that is shown, in characters: a server may answer with a whole page.
const SAID_CHARS: usize = 300;

/// Values of environment variables shorter than this are words like `true`, no secrets.
const SECRET_CHARS: usize = 8;

impl StoreError {
    /// What `source` makes of an attempt at `action`.
    pub(super) fn failed(action: String, store: &StoreUrl, source: &object_store::Error) -> Self {
        let (fault, said) = (fault(source), Said::of(source));
        Self::Failed { action, store: store.clone(), fault, source: said }
    }

    /// Whether what was asked for is wrong, rather than the world.
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::NotAStore(_) | Self::ReadOnly { .. } => true,
            Self::Failed { .. } | Self::Damaged { .. } | Self::Taken { .. } => false,
        }
    }
}

impl Hinted for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAStore(_) | Self::Taken { .. } => None,
            Self::ReadOnly { why: ReadOnly::Asked, .. } => Some("leave the flag out".to_owned()),
            Self::ReadOnly { why: ReadOnly::PullRequest { .. }, .. } => {
                Some("accept baselines where merged code runs".to_owned())
            }
            Self::Damaged { .. } => {
                Some("put the object back as it was, or remove it from the store".to_owned())
            }
            Self::Failed { store, fault, .. } => fault.hint(store),
        }
    }
}

impl Fault {
    fn hint(self, store: &StoreUrl) -> Option<String> {
        let bucket = &store.bucket;
        let hint = match (self, store.service) {
            (Self::NoCredentials, Service::S3) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or the job \
                 a role; profiles of the AWS tools are not read"
                    .to_owned()
            }
            (Self::NoCredentials, Service::Gcs) => {
                "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or GOOGLE_BEARER_TOKEN"
                    .to_owned()
            }
            (Self::NoCredentials, Service::Azure) => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID, \
                 AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE"
                    .to_owned()
            }
            (Self::WrongCredentials, _) => "the credentials are wrong or have expired".to_owned(),
            (Self::NoRights, Service::S3) => format!(
                "the credentials must allow s3:ListBucket on `{bucket}`, and s3:GetObject on its \
                 objects; to accept baselines s3:PutObject, too"
            ),
            (Self::NoRights, Service::Gcs) => {
                "the account needs the role Storage Object Viewer; to accept baselines Storage \
                 Object Creator, too"
                    .to_owned()
            }
            (Self::NoRights, Service::Azure) => {
                "the account needs the role Storage Blob Data Reader; to accept baselines Storage \
                 Blob Data Contributor"
                    .to_owned()
            }
            (Self::NoCredentials | Self::NoRights, Service::Folder) => {
                "the folder must be readable; to accept baselines writable, too".to_owned()
            }
            (Self::NoSuchPlace, Service::Folder) => {
                "create or mount the folder: servegate makes none, because a share that is not \
                 mounted must not look like an empty store"
                    .to_owned()
            }
            (Self::NoSuchPlace, _) => format!("create `{bucket}`, or mend the URL"),
            (Self::OtherRegion, _) => "set AWS_REGION to the bucket's region".to_owned(),
            (Self::NoTls, Service::S3) => {
                "AWS_ALLOW_HTTP=true allows an endpoint without TLS".to_owned()
            }
            (Self::NoTls | Self::Unreachable | Self::Other, _) => return None,
        };
        Some(hint)
    }
}

/// The chain of an error, the outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Which kind of failure an error is. A listing and a credential provider wrap what they got, so
/// the status is looked for in what was said.
fn fault(error: &object_store::Error) -> Fault {
    let text: String = chain(error).map(|error| format!("{error}\n")).collect();
    let told = SAYINGS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    match (told, error) {
        (Some((fault, _)), _) => *fault,
        (None, object_store::Error::NotFound { .. }) => Fault::NoSuchPlace,
        (None, object_store::Error::PermissionDenied { .. }) => Fault::NoRights,
        (None, object_store::Error::Unauthenticated { .. }) => Fault::WrongCredentials,
        (None, _) => chain(error).find_map(inner_fault).unwrap_or(Fault::Other),
    }
}

/// What is said where a failure is of a kind; the first that fits counts.
const SAYINGS: [(Fault, &[&str]); 6] = [
    // Addresses at which clouds hand credentials to machines of theirs.
    (
        Fault::NoCredentials,
        &["169.254.", "/latest/api/token", "metadata.google.internal", "/metadata/"],
    ),
    (
        Fault::WrongCredentials,
        &[
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "InvalidToken",
            "ExpiredToken",
            "AuthenticationFailed",
            "status code: 401",
        ],
    ),
    (
        Fault::OtherRegion,
        &["Received redirect", "status code: 301", "AuthorizationHeaderMalformed"],
    ),
    (Fault::NoRights, &["status code: 403"]),
    (Fault::NoSuchPlace, &["status code: 404"]),
    (Fault::NoTls, &["scheme is not allowed"]),
];

fn inner_fault(error: &(dyn Error + 'static)) -> Option<Fault> {
    if let Some(http) = error.downcast_ref::<HttpError>() {
        let deaf = matches!(http.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout);
        return deaf.then_some(Fault::Unreachable);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::NotFound => Some(Fault::NoSuchPlace),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(Fault::NoRights)
        }
        _ => None,
    }
}

/// Whether a write that failed so may have been carried out all the same.
pub(super) fn is_unsure(error: &object_store::Error) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<HttpError>())
        .any(|http| matches!(http.kind(), HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
}

impl Said {
    fn of(error: &object_store::Error) -> Self {
        let innermost = chain(error).last().map_or_else(String::new, ToString::to_string);
        Self(presentable(&innermost))
    }
}

/// A cause on one line: a server's answer in its own words, without its page around them; no
/// query of a URL; no value of a variable that holds a secret.
fn presentable(text: &str) -> String {
    let mut said = answer(text).unwrap_or_else(|| text.to_owned());
    for (name, value) in std::env::vars() {
        if holds_secret(&name) && SECRET_CHARS <= value.len() {
            said = said.replace(&value, "***");
        }
    }
    let words = said.split_whitespace().map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?***"),
        Some(_) | None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").chars().take(SAID_CHARS).collect()
}

fn holds_secret(name: &str) -> bool {
    ["KEY", "SECRET", "TOKEN", "PASSWORD", "SAS", "CREDENTIAL"]
        .iter()
        .any(|word| name.to_ascii_uppercase().contains(word))
}

/// `403 Forbidden: AccessDenied: Access Denied`, of an answer that carries a document.
fn answer(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("status code: ")?;
    let (status, body) = rest.split_once(": ").unwrap_or((rest, ""));
    let between = |open: &str, close: &str| {
        let (_, rest) = body.split_once(open)?;
        Some(rest.split_once(close)?.0.trim().to_owned())
    };
    let code = between("<Code>", "</Code>");
    let message = between("<Message>", "</Message>").or_else(|| {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(body.pointer("/error/message")?.as_str()?.to_owned())
    });
    let parts = [Some(status.trim().to_owned()), code, message];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_its_code_and_message_are_kept() {
        let text = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\
            <Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.\
            </Message><StringToSign>hunter2</StringToSign></Error>";
        insta::assert_snapshot!(presentable(text), @"403 Forbidden: SignatureDoesNotMatch: The signature does not match.");
        let text = "Server returned non-2xx status code: 404 Not Found: {\"error\": {\"message\": \"no such bucket\"}}";
        insta::assert_snapshot!(presentable(text), @"404 Not Found: no such bucket");
    }

    #[test]
    fn the_query_of_a_url_is_not_shown() {
        let text = "error for https://a.blob.core.windows.net/c/o?sv=1&sig=hunter2 why?";
        insta::assert_snapshot!(presentable(text), @"error for https://a.blob.core.windows.net/c/o?*** why?");
    }

    #[test]
    fn names_of_variables_that_hold_secrets_are_known() {
        for name in ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_SAS_KEY", "GOOGLE_BEARER_TOKEN"] {
            assert!(holds_secret(name), "{name}");
        }
        assert!(!holds_secret("AWS_REGION"));
    }
}
