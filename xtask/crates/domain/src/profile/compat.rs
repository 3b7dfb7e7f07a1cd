//! Which version of the Python tool a load follows.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A release of SGLang's Python tool. The same seed gives other prompts, and other request
/// bodies, with other releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Compat([u32; 3]);

/// A text that names no release that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no release of the Python tool that can be followed; they go from {oldest} to {newest}",
    oldest = Compat::OLDEST,
    newest = Compat::NEWEST
)]
pub struct NotCompatible(String);

impl Compat {
    /// The oldest release that can be followed.
    pub const OLDEST: Self = Self([0, 4, 6]);
    /// The release that is followed unless another is named.
    pub const NEWEST: Self = Self([0, 5, 23]);

    /// Whether it is the given release or a later one.
    pub fn at_least(self, release: [u32; 3]) -> bool {
        release <= self.0
    }

    /// The seed that the release draws with unless another is named.
    pub fn default_seed(self) -> u32 {
        if self.at_least([0, 5, 14]) { 42 } else { 1 }
    }
}

impl FromStr for Compat {
    type Err = NotCompatible;

    fn from_str(text: &str) -> Result<Self, NotCompatible> {
        let refused = || NotCompatible(text.to_owned());
        // A suffix like `.post1` changes nothing of what is sent.
        let mut numbers = text.trim().splitn(4, '.').map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok).ok_or_else(refused);
        let release = Self([next()?, next()?, next()?]);
        let known = Self::OLDEST <= release && release <= Self::NEWEST;
        known.then_some(release).ok_or_else(refused)
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl TryFrom<String> for Compat {
    type Error = NotCompatible;

    fn try_from(text: String) -> Result<Self, NotCompatible> {
        text.parse()
    }
}

impl From<Compat> for String {
    fn from(compat: Compat) -> Self {
        compat.to_string()
    }
}

impl JsonSchema for Compat {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Compat".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^0\.[45]\.\d+",
            "description": "a release of SGLang's Python tool, for example `0.5.23`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_in_order_and_strangers_are_refused() {
        let read = |text: &str| text.parse::<Compat>();
        assert_eq!(read("0.5.23"), Ok(Compat::NEWEST));
        assert_eq!(read("0.5.10.post1").unwrap().to_string(), "0.5.10");
        assert!(read("0.5.9").unwrap() < read("0.5.10").unwrap());
        for wrong in ["", "0.5", "0.4.3", "0.5.24", "1.0.0", "newest"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let error = read("0.6.0").unwrap_err().to_string();
        assert_eq!(
            error,
            "`0.6.0` is no release of the Python tool that can be followed; they go from 0.4.6 to 0.5.23"
        );
    }

    #[test]
    fn the_default_seed_changed_once() {
        let seed = |text: &str| text.parse::<Compat>().unwrap().default_seed();
        assert_eq!((seed("0.5.13"), seed("0.5.14")), (1, 42));
    }
}
