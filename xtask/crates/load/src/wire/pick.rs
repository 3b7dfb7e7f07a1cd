//! Small readers that look at a JSON value and keep only what is asked of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// Whether a string has any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HasText(pub(super) bool);

/// Whether any of the texts is there and not empty.
pub(super) fn any_text<const N: usize>(texts: [Option<HasText>; N]) -> bool {
    texts.into_iter().flatten().any(|text| text.0)
}

impl<'de> Deserialize<'de> for HasText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;

        impl Visitor<'_> for Look {
            type Value = HasText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<HasText, E> {
                Ok(HasText(!text.is_empty()))
            }
        }

        from.deserialize_str(Look)
    }
}

/// Why generation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// An empty name, which some servers send while it goes on.
    Unnamed,
    /// The answer may not be longer.
    Length,
    /// The model ended its answer, or something else did.
    Stopped,
    /// The server gave the request up.
    Failed,
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;

        impl Visitor<'_> for Look {
            type Value = Reason;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reason to stop")
            }

            fn visit_str<E>(self, name: &str) -> Result<Reason, E> {
                Ok(match name {
                    "" => Reason::Unnamed,
                    "abort" | "error" => Reason::Failed,
                    "length" => Reason::Length,
                    _ => Reason::Stopped,
                })
            }
        }

        from.deserialize_str(Look)
    }
}

/// The first element of an array, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First<T>(pub(super) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Look<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<First<T>, A::Error> {
                let first = array.next_element()?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        from.deserialize_seq(Look(std::marker::PhantomData))
    }
}
