//! Versions of SGLang, as far as the tool's behaviour depends on them.

use std::fmt;
use std::str::FromStr;

/// A release of SGLang: the three numbers that decide, and the whole text for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u32; 3],
    text: String,
}

/// A text that does not begin like a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version like `0.5.23`")]
pub struct NotAVersion(String);

impl Version {
    /// The oldest release whose output this module is tested with.
    pub const OLDEST: [u32; 3] = [0, 4, 3];

    /// Whether it is the given release or a later one. A pre-release counts as its release: it
    /// has the features of it.
    pub fn at_least(&self, release: [u32; 3]) -> bool {
        release <= self.numbers
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let refused = || NotAVersion(text.to_owned());
        let mut parts = text.trim().splitn(3, '.').map(leading_number);
        let mut next = || parts.next().flatten();
        let numbers = match (next(), next(), next()) {
            (Some(major), Some(minor), patch) => [major, minor, patch.unwrap_or(0)],
            (_, _, _) => return Err(refused()),
        };
        Ok(Self { numbers, text: text.trim().to_owned() })
    }
}

/// The digits that `part` begins with: 10 of `10.post1`, 4 of `4rc1`.
fn leading_number(part: &str) -> Option<u32> {
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    part[..digits].parse().ok()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_their_variants_are_ordered_by_number() {
        let version: Version = "0.5.10.post1".parse().unwrap();
        assert!(version.at_least([0, 5, 10]) && version.at_least([0, 5, 9]));
        assert!(!version.at_least([0, 5, 11]));
        assert!("0.5.4rc1".parse::<Version>().unwrap().at_least([0, 5, 4]));
        assert!("0.6".parse::<Version>().unwrap().at_least([0, 5, 23]));
        assert_eq!(version.to_string(), "0.5.10.post1");
    }

    #[test]
    fn a_text_that_is_no_version_is_refused() {
        for text in ["", "main", "5", "v0.5.3", "0.x"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
