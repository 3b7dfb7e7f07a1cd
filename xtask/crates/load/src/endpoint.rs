//! Where requests go: the base URL taken apart, and the bytes of each request.

use std::net::SocketAddr;

use domain::framework::Wire;

use crate::error::DriveError;

/// A server's base URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As it stands in the URL, for the `Host` header.
    authority: String,
    host: String,
    port: u16,
    /// What stands before every path, without a slash at the end.
    prefix: String,
}

impl Endpoint {
    /// Reads `http://host[:port][/prefix]`.
    pub(crate) fn parse(url: &str) -> Result<Self, DriveError> {
        let bad = || DriveError::BadUrl { url: url.to_owned() };
        if url.starts_with("https://") {
            return Err(DriveError::Encrypted { url: url.to_owned() });
        }
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority, 80).ok_or_else(bad)?;
        let printable = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if !printable || host.is_empty() || path.contains(['?', '#']) {
            return Err(bad());
        }
        let prefix = match path.trim_end_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        Ok(Self { authority: authority.to_owned(), host: host.to_owned(), port, prefix })
    }

    /// The server's addresses.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, DriveError> {
        let failed = |source| DriveError::Resolve { host: self.host.clone(), source };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        Ok(found.map_err(failed)?.collect())
    }

    /// The bytes of a request, head and body.
    pub(crate) fn request(&self, wire: Wire, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
        let Self { authority, prefix, .. } = self;
        let mut head = format!(
            "POST {prefix}{path} HTTP/1.1\r\n\
             Host: {authority}\r\n\
             User-Agent: servegate/{version}\r\n\
             Accept: */*\r\n\
             Accept-Encoding: identity\r\n\
             Connection: close\r\n\
             Content-Type: application/json\r\n\
             Content-Length: {length}\r\n",
            path = wire.path(),
            version = env!("CARGO_PKG_VERSION"),
            length = body.len(),
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }
}

/// What stands between scheme and path: `host`, `host:port`, `[v6]` or `[v6]:port`. Without a port
/// it is the scheme's `usual` one.
pub(crate) fn host_and_port(authority: &str, usual: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match port {
        "" => Some((host, usual)),
        port => Some((host, port.strip_prefix(':')?.parse().ok()?)),
    }
}

/// Refuses a header that would break the head of the request.
pub(crate) fn check_headers(headers: &[(String, String)]) -> Result<(), DriveError> {
    let name_ok = |name: &str| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(token)
    };
    let value_ok =
        |value: &str| value.bytes().all(|byte| byte == b'\t' || b' ' <= byte && byte != 127);
    match headers.iter().find(|(name, value)| !name_ok(name) || !value_ok(value)) {
        Some((name, _)) => Err(DriveError::BadHeader { name: name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use domain::hint::Hinted as _;

    use super::*;

    fn parsed(url: &str) -> (String, u16, String) {
        let Endpoint { host, port, prefix, .. } = Endpoint::parse(url).unwrap();
        (host, port, prefix)
    }

    #[test]
    fn a_base_url_is_taken_apart() {
        assert_eq!(parsed("http://127.0.0.1:30000"), ("127.0.0.1".into(), 30000, String::new()));
        assert_eq!(parsed("http://gpu"), ("gpu".into(), 80, String::new()));
        assert_eq!(parsed("http://[::1]:8000/a/b/"), ("::1".into(), 8000, "/a/b".into()));
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in [
            "",
            "gpu:80",
            "http://",
            "http://:80",
            "http://a:b",
            "http://a:99999",
            "http://a b",
            "http://[::1",
            "http://a/?x",
            "http://u@a",
            "http://a\r\n",
        ] {
            assert!(matches!(Endpoint::parse(url), Err(DriveError::BadUrl { .. })), "{url}");
        }
        let encrypted = Endpoint::parse("https://a").unwrap_err();
        assert!(encrypted.hint().is_some());
    }

    #[test]
    fn the_bytes_of_a_request() {
        let endpoint = Endpoint::parse("http://gpu:8000/base").unwrap();
        let headers = [("x-request-index".to_owned(), "3".to_owned())];
        let bytes = endpoint.request(Wire::OpenaiChat, &headers, b"{}");
        let text = String::from_utf8(bytes).unwrap().replace(env!("CARGO_PKG_VERSION"), "V");
        insta::assert_snapshot!(text.replace("\r\n", "\n"), @"
        POST /base/v1/chat/completions HTTP/1.1
        Host: gpu:8000
        User-Agent: servegate/V
        Accept: */*
        Accept-Encoding: identity
        Connection: close
        Content-Type: application/json
        Content-Length: 2
        x-request-index: 3

        {}
        ");
    }

    #[test]
    fn a_header_that_would_break_the_head_is_refused() {
        let header = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        assert!(check_headers(&header("Authorization", "Bearer x y")).is_ok());
        for (name, value) in [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\nb: c")] {
            assert!(check_headers(&header(name, value)).is_err(), "{name} {value}");
        }
    }
}
