//! Quantities as people write them in skills and on the command line: a number and its unit.
//!
//! A bare number is refused: `timeout: 10` has cost too many people ten minutes of waiting for
//! what they meant as seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is not a quantity of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}; write for example {example}")]
pub struct WrongUnit {
    text: String,
    wanted: &'static str,
    example: &'static str,
}

/// Gives a newtype the string form, serde and schema that all quantities share.
macro_rules! quantity {
    ($name:ident, $wanted:literal, $example:literal, $pattern:literal) => {
        impl $name {
            fn refused(text: &str) -> WrongUnit {
                WrongUnit { text: text.to_owned(), wanted: $wanted, example: $example }
            }
        }

        impl TryFrom<String> for $name {
            type Error = WrongUnit;

            fn try_from(text: String) -> Result<Self, WrongUnit> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(quantity: $name) -> Self {
                quantity.to_string()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": concat!($wanted, ", for example ", $example),
                })
            }
        }
    };
}

/// A length of time: `500ms`, `90s`, `10m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

quantity!(Span, "a length of time", "`90s` or `10m`", r"^\s*(\d+\s*[a-z]+\s*)+$");

impl Span {
    /// Longer waits are mistakes, and would overflow a clock.
    pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
}

impl FromStr for Span {
    type Err = WrongUnit;

    fn from_str(text: &str) -> Result<Self, WrongUnit> {
        // `humantime` reads a bare `0` as a duration; here every quantity names its unit.
        let has_unit = text.chars().any(char::is_alphabetic);
        let parsed = humantime::parse_duration(text).ok().filter(|_| has_unit);
        match parsed {
            Some(span) if span <= Self::LONGEST => Ok(Self(span)),
            Some(_) => {
                let wanted = "a length of time of at most 30 days";
                Err(WrongUnit { wanted, ..Self::refused(text) })
            }
            None => Err(Self::refused(text)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// An amount of memory in whole bytes, written `512 MiB` or `1 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u64);

quantity!(Memory, "an amount of memory", "`256 MiB` or `1 GiB`", r"^\s*\d+\s*(KiB|MiB|GiB)\s*$");

impl Memory {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes (2^20 bytes).
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// Whole bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whole mebibytes (2^20 bytes), rounded to nearest.
    pub const fn mib(self) -> u64 {
        (self.0 + (1 << 19)) >> 20
    }
}

impl FromStr for Memory {
    type Err = WrongUnit;

    fn from_str(text: &str) -> Result<Self, WrongUnit> {
        const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let parsed = UNITS.iter().find_map(|(unit, shift)| {
            let number: u64 = text.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        });
        parsed.map(Self).ok_or_else(|| Self::refused(text))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 && bytes > 0 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{} KiB", bytes.div_ceil(1 << 10)),
        }
    }
}

/// A share, written `2 %`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(f64);

quantity!(Percent, "a percentage", "`2 %`", r"^\s*\d+(\.\d+)?\s*%\s*$");

impl Percent {
    /// `1 %`.
    pub const ONE: Self = Self(1.0);
    /// `0 %`.
    pub const ZERO: Self = Self(0.0);

    /// The share as a fraction: `2 %` is 0.02.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = WrongUnit;

    fn from_str(text: &str) -> Result<Self, WrongUnit> {
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim_end().parse::<f64>().ok());
        let valid = number.filter(|n| n.is_finite() && 0.0 <= *n);
        valid.map(Self).ok_or_else(|| Self::refused(text))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// A temperature difference or level in whole degrees, written `85 C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Celsius(pub u32);

quantity!(Celsius, "a temperature", "`85 C`", r"^\s*\d+\s*C\s*$");

impl FromStr for Celsius {
    type Err = WrongUnit;

    fn from_str(text: &str) -> Result<Self, WrongUnit> {
        let number = text.trim().strip_suffix('C').and_then(|n| n.trim_end().parse().ok());
        number.map(Self).ok_or_else(|| Self::refused(text))
    }
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} C", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_what_they_write() {
        for text in ["500ms", "1m 30s", "10m"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["256 MiB", "1 GiB", "3 KiB"] {
            assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
        }
        assert_eq!("2.5%".parse::<Percent>().unwrap().to_string(), "2.5 %");
        assert_eq!("85C".parse::<Celsius>().unwrap().to_string(), "85 C");
    }

    #[test]
    fn a_number_without_its_unit_is_refused() {
        assert!("10".parse::<Span>().is_err());
        assert!("0".parse::<Span>().is_err());
        assert!("99999999999h".parse::<Span>().is_err());
        assert!("512".parse::<Memory>().is_err());
        assert!("2".parse::<Percent>().is_err());
        assert!("NaN %".parse::<Percent>().is_err());
        assert!("99999999999999999999 GiB".parse::<Memory>().is_err());
    }

    #[test]
    fn the_refusal_says_how_to_mend_it() {
        let refusal = "10 MiB".parse::<Span>().unwrap_err().to_string();
        assert_eq!(refusal, "`10 MiB` is not a length of time; write for example `90s` or `10m`");
    }
}
