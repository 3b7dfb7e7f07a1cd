//! Names of flags as argparse reads them: in full, or any beginning that fits one name only.
//!
//! Done before the command line is parsed, over all flags of the tool, so that an abbreviation
//! means here what it means there, and a refused flag is refused under whatever name it came.

use std::ffi::{OsStr, OsString};

use super::flags::{self, Support};

/// A flag that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongFlag {
    /// The tool has it, `load` does not.
    #[error("`--{name}` of SGLang's tool is not supported: {why}")]
    Refused {
        /// The flag in full.
        name: &'static str,
        /// Why.
        why: &'static str,
    },
    /// It begins several names.
    #[error("`{given}` may be {}", among(.known))]
    Ambiguous {
        /// As given.
        given: String,
        /// What it may be.
        known: Vec<&'static str>,
    },
}

fn among(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`--{name}`")).collect();
    names.join(" or ")
}

/// The words with every flag of `load` in full; words of other commands are left alone.
pub fn expand(words: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, WrongFlag> {
    let words: Vec<OsString> = words.collect();
    if words.get(1).map(OsString::as_os_str) != Some(OsStr::new("load")) {
        return Ok(words);
    }
    let mut flags_end = false;
    let full = words.into_iter().map(|word| {
        flags_end |= word == "--";
        match word.to_str().and_then(|text| text.strip_prefix("--")) {
            Some(flag) if !flags_end => in_full(flag),
            _ => Ok(word),
        }
    });
    full.collect()
}

fn in_full(flag: &str) -> Result<OsString, WrongFlag> {
    let (given, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let name = resolve(given)?.unwrap_or(given);
    if let Some(known) = flags::TOOL.iter().find(|known| known.name == name)
        && let Support::Refused(why) = known.support
    {
        return Err(WrongFlag::Refused { name: known.name, why });
    }
    Ok(match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    }
    .into())
}

/// The flag that a name means, if it is one of `load`'s.
fn resolve(given: &str) -> Result<Option<&'static str>, WrongFlag> {
    let tool = || flags::TOOL.iter().map(|flag| flag.name);
    let own = || flags::OWN.iter().map(|(name, _)| *name);
    if let Some(name) = tool().chain(own()).find(|name| *name == given) {
        return Ok(Some(name));
    }
    // The tool's come first: ours must not make an abbreviation of theirs ambiguous.
    let fits = |names: &mut dyn Iterator<Item = &'static str>| -> Vec<&'static str> {
        names.filter(|name| !given.is_empty() && name.starts_with(given)).collect()
    };
    for known in [fits(&mut tool()), fits(&mut own())] {
        match known.as_slice() {
            [] => {}
            [name] => return Ok(Some(name)),
            [_, _, ..] => return Err(WrongFlag::Ambiguous { given: format!("--{given}"), known }),
        }
    }
    Ok(None)
}
