//! Which GPUs a target may use.

/// Which GPUs a target may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that the driver shows.
    All,
    /// These: each an index in PCI order, a UUID, or the beginning of one.
    Only(Vec<String>),
}

/// A selected GPU is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no GPU `{wanted}`; the driver shows {}", shown(.known))]
pub struct NoSuchGpu {
    wanted: String,
    known: Vec<String>,
}

fn shown(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

impl From<&str> for Selection {
    /// Reads the form of `CUDA_VISIBLE_DEVICES`: names with commas between them, of which those
    /// after a `-1` do not count.
    fn from(text: &str) -> Self {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self::Only(names.take_while(|name| *name != "-1").map(str::to_owned).collect())
    }
}

impl Selection {
    /// What `CUDA_VISIBLE_DEVICES` says, given its value if it is set.
    pub fn of_cuda_visible_devices(value: Option<&str>) -> Self {
        value.map_or(Self::All, Self::from)
    }

    /// The positions in `uuids`, which are in PCI order, that are selected: ascending, each once.
    pub(crate) fn positions(&self, uuids: &[&str]) -> Result<Vec<usize>, NoSuchGpu> {
        let Self::Only(names) = self else { return Ok((0..uuids.len()).collect()) };
        let mut positions = Vec::new();
        for name in names {
            let found = match name.parse::<usize>() {
                Ok(index) => Some(index).filter(|index| *index < uuids.len()),
                Err(_) => the_only_one(uuids, name),
            };
            positions.push(found.ok_or_else(|| NoSuchGpu {
                wanted: name.clone(),
                known: uuids.iter().map(|uuid| (*uuid).to_owned()).collect(),
            })?);
        }
        positions.sort_unstable();
        positions.dedup();
        Ok(positions)
    }
}

fn the_only_one(uuids: &[&str], beginning: &str) -> Option<usize> {
    let mut matching = uuids.iter().enumerate().filter(|(_, uuid)| uuid.starts_with(beginning));
    match (matching.next(), matching.next()) {
        (Some((position, _)), None) => Some(position),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUIDS: [&str; 3] = ["GPU-aa1", "GPU-aa2", "GPU-b"];

    fn positions(text: &str) -> Result<Vec<usize>, String> {
        Selection::of_cuda_visible_devices(Some(text))
            .positions(&UUIDS)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn indices_uuids_and_their_beginnings_select_in_pci_order() {
        assert_eq!(positions("2, GPU-aa1"), Ok(vec![0, 2]));
        assert_eq!(positions("GPU-b,2"), Ok(vec![2]));
        assert_eq!(positions("1,-1,0"), Ok(vec![1]));
        assert_eq!(positions(""), Ok(vec![]));
        assert_eq!(Selection::of_cuda_visible_devices(None).positions(&UUIDS).unwrap(), [0, 1, 2],);
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_refused_with_what_there_is() {
        insta::assert_snapshot!(
            positions("3").unwrap_err(),
            @"there is no GPU `3`; the driver shows GPU-aa1, GPU-aa2, GPU-b"
        );
        assert!(positions("GPU-aa").is_err());
        assert!(positions("GPU-c").is_err());
        let none = Selection::Only(vec!["0".to_owned()]).positions(&[]).unwrap_err();
        assert_eq!(none.to_string(), "there is no GPU `0`; the driver shows none");
    }
}
