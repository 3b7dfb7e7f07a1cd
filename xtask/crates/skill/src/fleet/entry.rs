//! Items that may be written short: a bare name where a map could stand, one text for a list.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{FrameworkEntry, ModelEntry, ProfileEntry, RunnerEntry};

/// What a bare name stands for.
pub(super) trait Named: Sized {
    /// The entry that has only a name.
    fn named(name: &str) -> Self;
}

/// An entry, as a name or as a map.
struct Entry<T>(T);

impl<'de, T: Named + Deserialize<'de>> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrMap<T>(PhantomData<T>);
        impl<'de, T: Named + Deserialize<'de>> Visitor<'de> for NameOrMap<T> {
            type Value = T;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a name or a map of keys")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
                Ok(T::named(name))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_any(NameOrMap(PhantomData::<T>)).map(Self)
    }
}

/// A list of entries, each as a name or as a map.
pub(super) fn list<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Named + Deserialize<'de>,
    D: Deserializer<'de>,
{
    let entries: Vec<Entry<T>> = Vec::deserialize(from)?;
    Ok(entries.into_iter().map(|entry| entry.0).collect())
}

/// One text or a list of texts.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a name or a list of names")
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Vec<String>, E> {
            Ok(vec![name.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = items.next_element()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    from.deserialize_any(OneOrMany)
}

impl Named for FrameworkEntry {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            framework: None,
            executable: None,
            url: None,
            server_args: Vec::new(),
            cost: super::plain_cost(),
            bench_args: Vec::new(),
        }
    }
}

impl Named for ModelEntry {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            model: None,
            tokenizer: None,
            frameworks: Vec::new(),
            cost: super::plain_cost(),
            bench_args: Vec::new(),
        }
    }
}

impl Named for ProfileEntry {
    fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, timeout: None, cost: super::plain_cost(), bench_args: Vec::new() }
    }
}

impl Named for RunnerEntry {
    fn named(name: &str) -> Self {
        let (name, cost) = (name.to_owned(), super::plain_cost());
        Self { name, labels: Vec::new(), gpu: None, cost, bench_args: Vec::new() }
    }
}
