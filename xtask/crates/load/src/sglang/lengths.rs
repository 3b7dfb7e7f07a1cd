//! How long each prompt and each answer was asked to be, which the tool does not write down.

use domain::profile::Profile;

use super::version::Version;
use crate::rng::Numpy;

/// Lengths of every request in the order of sending, in tokens.
///
/// They depend on the profile and the seed alone, not on the tokenizer: the tool draws them
/// before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Prompts, before the tool takes off the tokenizer's special tokens.
    pub input: Vec<u32>,
    /// Answers.
    pub output: Vec<u32>,
}

impl Lengths {
    /// The lengths that the tool of this version draws for a profile.
    pub fn drawn(profile: &Profile, seed: u32, version: &Version) -> Self {
        let mut rng = Numpy::seeded(seed);
        let ratio = profile.random_range_ratio;
        let input = draw(&mut rng, profile.num_prompts, profile.random_input_len, ratio, 1);
        // Before 0.5.7 an answer could be asked to have no token.
        let shortest = u32::from(version.at_least([0, 5, 7]));
        let output =
            draw(&mut rng, profile.num_prompts, profile.random_output_len, ratio, shortest);
        Self { input, output }
    }
}

/// `numpy.random.randint(max(int(longest * ratio), shortest), longest + 1, n)`.
fn draw(rng: &mut Numpy, n: u32, longest: u32, ratio: f64, shortest: u32) -> Vec<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "Python's `int` cuts too; a ratio of 0 to 1 stays in range"
    )]
    let low = ((f64::from(longest) * ratio) as u32).max(shortest).min(longest);
    (0..n).map(|_| rng.integer(low, longest - low)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sglang::command::tests::profile;

    #[test]
    fn lengths_are_those_of_numpy() {
        let profile = Profile {
            num_prompts: 6,
            random_input_len: 32,
            random_output_len: 16,
            random_range_ratio: 0.5,
            ..profile()
        };
        let lengths = Lengths::drawn(&profile, 42, &"0.5.23".parse().unwrap());
        assert_eq!(lengths.input, [22, 30, 26, 23, 22, 26]);
        assert_eq!(lengths.output, [15, 12, 11, 15, 15, 10]);
    }

    #[test]
    fn old_versions_could_ask_for_nothing() {
        let profile = Profile {
            num_prompts: 200,
            random_input_len: 4,
            random_output_len: 2,
            random_range_ratio: 0.0,
            ..profile()
        };
        let shortest = |version: &str| {
            let lengths = Lengths::drawn(&profile, 1, &version.parse().unwrap());
            (lengths.input.into_iter().min(), lengths.output.into_iter().min())
        };
        assert_eq!(shortest("0.5.6"), (Some(1), Some(0)));
        assert_eq!(shortest("0.5.7"), (Some(1), Some(1)));
    }
}
