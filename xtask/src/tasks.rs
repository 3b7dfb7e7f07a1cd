//! The list of tasks, and which door a word leads to.
//!
//! The product's commands stand in a generated file, because asking `servegate` would mean building
//! it first: `codegen` writes it, and fails in CI if it is stale.

use crate::repo::Repo;
use crate::{ci, codegen, dist, fuzz, parts, peers, test, tidy};

/// A chore: what it is called with is what stood after its name.
pub(crate) type Chore = fn(&Repo, &[String]) -> anyhow::Result<()>;

/// A task of this crate.
struct Own {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: Chore,
}

const OWN: [Own; 8] = [
    Own {
        name: "test",
        arguments: "[--offline] [FILTER…]",
        about: "Install what real tests need, run all tests, say what was skipped and why",
        run: test::task,
    },
    Own {
        name: "tidy",
        arguments: "",
        about: "Check the rules of the house that the compiler does not know",
        run: tidy::task,
    },
    Own {
        name: "codegen",
        arguments: "[--check]",
        about: "Write the generated files, or fail if one is stale",
        run: codegen::task,
    },
    Own {
        name: "parts",
        arguments: "[--list] [NAME…]",
        about: "Install the test parts (real servers and tools) into target/parts",
        run: parts::task,
    },
    Own {
        name: "dist",
        arguments: "[TARGET]",
        about: "Build the archive of a release, which runs on glibc 2.28 and newer",
        run: dist::task,
    },
    Own {
        name: "fuzz",
        arguments: "[TARGET…] [--seconds N]",
        about: "Feed the parsers what nobody would write (needs nightly and cargo-fuzz)",
        run: fuzz::task,
    },
    Own {
        name: "peers",
        arguments: "[--vllm-python|--guidellm-python|--aiperf-python PROGRAM]...",
        about: "Compare load clients on one truth server, and write the README's table",
        run: peers::task,
    },
    Own {
        name: "ci",
        arguments: "",
        about: "Run everything that continuous integration runs",
        run: ci::task,
    },
];

/// The product's commands: name, tab, what it says of it itself.
const PRODUCT: &str = include_str!("product.tsv");

/// Product commands that `help` does not show: they serve the repository, not people.
const HIDDEN: [&str; 1] = ["dump"];

/// Where a first argument leads.
pub(crate) enum Door {
    /// The list of tasks.
    Help,
    /// One of ours.
    Chore(Chore),
    /// `servegate` takes over with all arguments.
    Product,
    /// Neither: refused at once, before anything is built.
    Unknown(String),
}

/// Which door the first argument leads to. Flags go to the product (`cargo xtask --version`).
pub(crate) fn door(first: Option<&str>) -> Door {
    let Some(word) = first else { return Door::Help };
    if ["help", "--help", "-h"].contains(&word) {
        return Door::Help;
    }
    if let Some(own) = OWN.iter().find(|own| own.name == word) {
        return Door::Chore(own.run);
    }
    if word.starts_with('-') || HIDDEN.contains(&word) || product().any(|(name, _)| name == word) {
        return Door::Product;
    }
    Door::Unknown(word.to_owned())
}

/// The product's commands with what they do, in the order of its own help.
fn product() -> impl Iterator<Item = (&'static str, &'static str)> {
    PRODUCT.lines().filter_map(|line| line.split_once('\t'))
}

/// Whether `cargo xtask NAME` does something.
pub(crate) fn exists(name: &str) -> bool {
    !matches!(door(Some(name)), Door::Unknown(_))
}

/// What is said of a word that is no task.
pub(crate) fn unknown(word: &str) -> String {
    format!("no task `{word}`; `cargo xtask` lists them")
}

/// The list of tasks.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Usage: cargo xtask <TASK> [ARGUMENTS]\n\nBenchmarking (each has its own --help):\n",
    );
    for (name, about) in product() {
        text += &format!("  {name:<31}{about}\n");
    }
    text += "\nThis repository:\n";
    for Own { name, arguments, about, .. } in &OWN {
        text += &format!("  {:<31}{about}\n", format!("{name} {arguments}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product_names() -> impl Iterator<Item = &'static str> {
        product().map(|(name, _)| name)
    }

    #[test]
    fn every_line_of_the_generated_list_is_a_command() {
        assert_eq!(product().count(), PRODUCT.lines().count());
        assert!(product_names().any(|name| name == "bench"));
    }

    #[test]
    fn every_listed_task_leads_somewhere() {
        assert!(matches!(door(None), Door::Help));
        assert!(matches!(door(Some("-h")), Door::Help));
        for own in &OWN {
            assert!(matches!(door(Some(own.name)), Door::Chore(_)), "{}", own.name);
        }
        for name in product_names().chain(HIDDEN).chain(["--version"]) {
            assert!(matches!(door(Some(name)), Door::Product), "{name}");
        }
    }

    #[test]
    fn a_typing_error_is_refused_before_anything_is_built() {
        assert!(matches!(door(Some("benhc")), Door::Unknown(word) if word == "benhc"));
    }

    #[test]
    fn help_lists_each_task_once() {
        let help = help();
        for name in product_names().chain(OWN.iter().map(|own| own.name)) {
            let lines =
                help.lines().filter(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert_eq!(lines.count(), 1, "{name}");
        }
    }
}
