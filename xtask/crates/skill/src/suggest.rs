//! "Did you mean …": the known word nearest to one that is not known.

/// The known word that was most likely meant, if one is near enough to be sure.
///
/// Near means at most one slip in three letters; `-` and `_` are the same letter here, because
/// both spellings are in use around us.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let word = letters(word);
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .map(|candidate| (slips(&word, &letters(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Most known words in a hint; a longer list hides the one that is looked for.
const MAX_LISTED: usize = 16;

/// The hint for an unknown word: what was meant, if that is sure, and what is known.
pub(crate) fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let shown: Vec<_> = known.clone().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = known.clone().skip(MAX_LISTED).count();
    let list = shown.join(", ");
    match (nearest(word, known), shown.len(), more) {
        (Some(meant), 2.., 0) => Some(format!("did you mean `{meant}`? Known are {list}")),
        (Some(meant), _, _) => Some(format!("did you mean `{meant}`?")),
        (None, 0, _) => None,
        (None, _, 0) => Some(format!("known are {list}")),
        (None, _, more) => Some(format!("known are {list} and {more} more")),
    }
}

/// Letters to add, drop, change or swap with their neighbour to make one word the other.
fn slips(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut fewest = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                0 < row && 0 < column && *letter == to[column - 1] && from[row - 1] == *other;
            if swapped {
                fewest = fewest.min(before_last[column - 1] + 1);
            }
            current.push(fewest);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["num_prompts", "seed", "launch", "random"];
        let meant = |word| nearest(word, known.into_iter());
        assert_eq!(meant("num-promts"), Some("num_prompts"));
        assert_eq!(meant("sede"), Some("seed"));
        assert_eq!(meant("Launch"), Some("launch"));
        assert_eq!(meant("deadline"), None);
        assert_eq!(meant(""), None);
    }

    #[test]
    fn the_distance_counts_slips() {
        let count = |a: &str, b: &str| {
            slips(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!(count("abc", "abc"), 0);
        assert_eq!(count("abc", "acb"), 1);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("kitten", "sitting"), 3);
    }
}
