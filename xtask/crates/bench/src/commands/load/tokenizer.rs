//! Which tokenizer: the one that was named, or the one that the server's model has on this disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use load::Tokenizer;
use serve::Endpoint;

use crate::cli::LoadArgs;
use crate::failure::Failure;

/// The file that makes a folder a tokenizer's.
const FILE: &str = "tokenizer.json";

/// How long the server may take to say where its model is, as in the tool.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The tokenizer that the flags name, or the model's if that is a folder here; none if the server
/// has to be asked.
pub(super) fn local(args: &LoadArgs) -> Result<Option<Tokenizer>, Failure> {
    match (&args.server.tokenizer, &args.server.model) {
        (Some(name), _) if name == "embedded" => Ok(Some(Tokenizer::embedded())),
        (Some(name), _) => {
            let folder = folder(name).ok_or_else(|| missing(name))?;
            open(&folder).map(Some)
        }
        (None, Some(model)) => folder(model).map(|folder| open(&folder)).transpose(),
        (None, None) => Ok(None),
    }
}

/// The tokenizer of the model that the server serves.
pub(super) async fn named_by(endpoint: &Endpoint, model: &str) -> Result<Tokenizer, Failure> {
    let told = serve::told(endpoint, "/model_info", TOLD_WITHIN).await;
    let told = told.as_ref();
    let named = ["tokenizer_path", "model_path"]
        .into_iter()
        .find_map(|key| told?.get(key)?.as_str())
        .unwrap_or(model);
    let folder = folder(named).or_else(|| folder(model)).ok_or_else(|| missing(named))?;
    open(&folder)
}

fn open(folder: &Path) -> Result<Tokenizer, Failure> {
    Tokenizer::from_folder(folder).map_err(Failure::usage_hinted)
}

fn missing(name: &str) -> Failure {
    let error = anyhow!("no tokenizer `{name}` on this machine");
    let hint =
        "give the folder that holds the model's `tokenizer.json` with `--tokenizer`, or `embedded`";
    Failure::usage(error).with_hint(hint.to_owned())
}

/// The folder of a tokenizer: a path, or a hub id in the local cache.
fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let path = if path.file_name().is_some_and(|file| file == FILE) {
        path.parent().unwrap_or(path)
    } else {
        path
    };
    if path.join(FILE).is_file() {
        return Some(path.to_owned());
    }
    cached(&hub_cache()?, name)
}

/// Where the hub's Python library keeps what it has downloaded.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || Some(variable("HOME")?.join(".cache/huggingface"));
    variable("HF_HUB_CACHE").or_else(|| Some(variable("HF_HOME").or_else(home)?.join("hub")))
}

/// The snapshot that branch `main` of a model stands at.
fn cached(cache: &Path, id: &str) -> Option<PathBuf> {
    let model = cache.join(format!("models--{}", id.replace('/', "--")));
    let commit = std::fs::read_to_string(model.join("refs/main")).ok()?;
    let snapshot = model.join("snapshots").join(commit.trim());
    snapshot.join(FILE).is_file().then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_hub_id_is_found_in_the_cache_and_nowhere_else() {
        let cache = tempfile::tempdir().unwrap();
        let model = cache.path().join("models--org--name");
        let snapshot = model.join("snapshots/abc");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), "abc\n").unwrap();
        assert_eq!(cached(cache.path(), "org/name"), None);
        fs::write(snapshot.join(FILE), "{}").unwrap();
        assert_eq!(cached(cache.path(), "org/name"), Some(snapshot));
        assert_eq!(cached(cache.path(), "org/other"), None);
    }

    #[test]
    fn a_folder_may_be_named_by_its_file() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join(FILE);
        fs::write(&file, "{}").unwrap();
        assert_eq!(folder(file.to_str().unwrap()).as_deref(), Some(parent.path()));
        assert_eq!(folder(parent.path().to_str().unwrap()).as_deref(), Some(parent.path()));
    }
}
