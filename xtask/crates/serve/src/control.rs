//! Control requests: health, models, version, flush. Never the load.
//!
//! Every request has a deadline and every answer a size. The client goes straight to the server:
//! a proxy of the environment would answer in its place.

use std::error::Error;
use std::sync::Once;
use std::time::Duration;

use domain::framework::Framework;
use domain::hint::Hinted;
use domain::target::Target;
use reqwest::{Client, Method, Response, Url};
use serde_json::Value;

use crate::log::cut;

/// The largest answer that is read: SGLang's `/server_info` and a `/metrics` with many labels
/// take some hundred KiB.
pub(crate) const ANSWER_BYTES: usize = 4 << 20;

/// Where a server is talked to, and as what.
#[derive(Clone, Debug)]
pub struct Endpoint {
    framework: Framework,
    url: String,
    /// The model that it must serve; without one it must serve exactly one.
    model: Option<String>,
    /// The value of the header that a server with keys wants.
    authorisation: Option<String>,
    client: Client,
}

/// Why an address cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The target has none.
    #[error("the target has no `url` to attach to")]
    NoUrl,
    /// It is not one.
    #[error("`{url}` is not the base URL of a server")]
    NotAUrl {
        /// As given.
        url: String,
    },
    /// It is the base of the API, not of the server.
    #[error("`{url}` ends in `/v1`, where the base URL of the server is wanted")]
    ApiUrl {
        /// As given.
        url: String,
        /// Without that end.
        base: String,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

impl Hinted for EndpointError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoUrl => None,
            Self::NotAUrl { .. } => Some("write for example `http://127.0.0.1:30000`".to_owned()),
            Self::ApiUrl { base, .. } => Some(format!("write `{base}`")),
            Self::Client(_) => None,
        }
    }
}

/// Whether a text is the base URL of a server.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), EndpointError> {
    check_base(url, url.trim_end_matches('/'))
}

impl Endpoint {
    /// The running server that a target names.
    ///
    /// # Errors
    ///
    /// When the target has no usable address.
    pub fn attach(target: &Target) -> Result<Self, EndpointError> {
        let url = target.url.as_deref().ok_or(EndpointError::NoUrl)?;
        let model = target.served_model_name.clone().or_else(|| target.model.clone());
        Self::new(target.framework, url, model)
    }

    pub(crate) fn new(
        framework: Framework,
        url: &str,
        model: Option<String>,
    ) -> Result<Self, EndpointError> {
        let base = url.trim_end_matches('/');
        check_base(url, base)?;
        let url = base.to_owned();
        Ok(Self { framework, url, model, authorisation: None, client: client()? })
    }

    /// The same server, asked with this value of `Authorization`.
    #[must_use]
    pub fn authorised(self, value: &str) -> Self {
        Self { authorisation: Some(value.to_owned()), ..self }
    }

    /// The same server, taken for one of this framework.
    #[must_use]
    pub fn speaking(self, framework: Framework) -> Self {
        Self { framework, ..self }
    }

    /// The framework.
    pub const fn framework(&self) -> Framework {
        self.framework
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The model that the server must serve, if one is named.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> Option<(String, u16)> {
        let url = Url::parse(&self.url).ok()?;
        // Brackets belong to the URL, not to the IPv6 address.
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port_or_known_default()?))
    }

    pub(crate) async fn get(&self, path: &str, within: Duration) -> Result<Answer, NoAnswer> {
        Answer::read(self.send(Method::GET, path, None, within).await?).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Answer, NoAnswer> {
        Answer::read(self.send(Method::POST, path, body, within).await?).await
    }

    /// Sends a request and waits for the head of its answer; the body is to be read within the
    /// same deadline.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Response, NoAnswer> {
        let request = self.client.request(method, format!("{}{path}", self.url)).timeout(within);
        let request = match &self.authorisation {
            Some(value) => request.header(reqwest::header::AUTHORIZATION, value),
            None => request,
        };
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send().await.map_err(NoAnswer::from)
    }
}

fn check_base(url: &str, base: &str) -> Result<(), EndpointError> {
    let parsed = Url::parse(base).ok().filter(|parsed| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.query().is_none()
            && parsed.fragment().is_none()
    });
    if parsed.is_none() {
        return Err(EndpointError::NotAUrl { url: url.to_owned() });
    }
    match base.strip_suffix("/v1") {
        Some(rest) => Err(EndpointError::ApiUrl { url: url.to_owned(), base: rest.to_owned() }),
        None => Ok(()),
    }
}

fn client() -> Result<Client, EndpointError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails only where the process has chosen one already, and then that one is used.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    Client::builder().no_proxy().build().map_err(EndpointError::Client)
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    async fn read(mut response: Response) -> Result<Self, NoAnswer> {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if ANSWER_BYTES < body.len() {
                return Err(NoAnswer::TooLarge);
            }
        }
        Ok(Self { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    pub(crate) const fn is_ok(&self) -> bool {
        self.status == 200
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// Status and the beginning of the body, for people.
    pub(crate) fn shown(&self) -> String {
        match self.body.trim() {
            "" => format!("HTTP {}", self.status),
            body => format!("HTTP {}: {}", self.status, cut(&body.replace('\n', " "))),
        }
    }
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The request failed on its way or took too long.
    #[error("{0}")]
    Http(String),
    /// The answer has no end.
    #[error("the answer is larger than {} MiB", ANSWER_BYTES >> 20)]
    TooLarge,
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(reason(&error))
    }
}

/// What went wrong, without the URL that reqwest puts into its text and without its causes'
/// wrappers: `connection refused`, `no answer in time`.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(Framework::Openai, url, None)
    }

    #[test]
    fn a_base_url_has_no_slash_at_its_end() {
        assert_eq!(endpoint("http://h:1/").unwrap().url(), "http://h:1");
        assert_eq!(endpoint("https://h/proxy//").unwrap().url(), "https://h/proxy");
    }

    #[test]
    fn what_is_not_a_base_url_is_refused_with_the_right_one() {
        for url in ["", "localhost:30000", "ftp://h", "http://", "http://h/?x=1"] {
            assert!(matches!(endpoint(url), Err(EndpointError::NotAUrl { .. })), "{url}");
        }
        let error = endpoint("http://h:8000/v1/").unwrap_err();
        insta::assert_snapshot!(error, @"`http://h:8000/v1/` ends in `/v1`, where the base URL of the server is wanted");
        assert_eq!(error.hint().as_deref(), Some("write `http://h:8000`"));
    }

    #[test]
    fn the_port_of_the_scheme_is_the_default() {
        assert_eq!(endpoint("https://h").unwrap().address(), Some(("h".to_owned(), 443)));
        assert_eq!(endpoint("http://[::1]:8").unwrap().address(), Some(("::1".to_owned(), 8)));
    }

    #[tokio::test]
    async fn a_refused_connection_says_so_without_wrappers() {
        let port = crate::port::free_port().unwrap();
        let endpoint = endpoint(&format!("http://127.0.0.1:{port}")).unwrap();
        let error = endpoint.get("/health", Duration::from_secs(5)).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
    }
}
