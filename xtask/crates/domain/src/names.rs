//! Closed lists of names: the same spelling in files, in flags and on the screen.

/// A name that is not in a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}; known are {known}")]
pub struct UnknownName {
    given: String,
    what: &'static str,
    known: String,
}

impl UnknownName {
    pub(crate) fn new<'a>(
        given: &str,
        what: &'static str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let known = known.collect::<Vec<_>>().join(", ");
        Self { given: given.to_owned(), what, known }
    }
}

/// A fieldless enum with one stable name per variant, for files, flags and display.
macro_rules! names {
    ($type:ident, $what:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name, as in files and flags.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(given: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|value| value.as_str() == given);
                found.ok_or_else(|| {
                    let known = Self::ALL.iter().map(|value| value.as_str());
                    $crate::names::UnknownName::new(given, $what, known)
                })
            }
        }
    };
}
pub(crate) use names;
