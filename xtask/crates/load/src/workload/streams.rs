//! The random numbers of a set: one stream for the work, one for its texts.

use crate::rng::{Numpy, Python};

/// numpy's stream and CPython's, each twice.
///
/// Every draw is made from both of a kind, and the one that is meant is kept. With equal seeds the
/// two are equal, and every number is the one that the Python tool draws.
pub(super) struct Streams {
    work: Numpy,
    text: Numpy,
    /// `random`, for texts and for which of them are taken.
    pub(super) python: Python,
    /// `random`, for the order of work whose lengths are drawn.
    order: Python,
    /// The seed of the work.
    pub(super) seed: u32,
}

impl Streams {
    /// Work drawn with one seed, texts with another.
    pub(super) fn new(work: u32, text: u32) -> Self {
        Self {
            work: Numpy::seeded(work),
            text: Numpy::seeded(text),
            python: Python::seeded(text),
            order: Python::seeded(work),
            seed: work,
        }
    }

    /// `numpy.random.randint(low, longest + 1, n)`, for lengths.
    pub(super) fn lengths(&mut self, low: u32, longest: u32, n: usize) -> Vec<u32> {
        let span = longest.saturating_sub(low);
        let draw = |_| {
            self.text.integer(low, span);
            self.work.integer(low, span)
        };
        (0..n).map(draw).collect()
    }

    /// `numpy.random.randint(0, last + 1, n)`, for what makes texts.
    pub(super) fn texts(&mut self, last: u32, n: usize) -> Vec<u32> {
        let draw = |_| {
            self.work.integer(0, last);
            self.text.integer(0, last)
        };
        (0..n).map(draw).collect()
    }

    /// `random.choice` of so many, for what makes texts.
    pub(super) fn choice(&mut self, count: usize) -> usize {
        self.order.choice(count);
        self.python.choice(count)
    }

    /// `random.shuffle` of what has lengths that were drawn: the same order for every text.
    pub(super) fn shuffle_work<T>(&mut self, work: &mut [T]) {
        self.order.shuffle(work);
    }

    /// What arrival gaps are drawn from, after everything else.
    pub(super) fn into_arrivals(self) -> Numpy {
        self.work
    }
}

/// The shortest length: a share of the longest, rounded down, and at least `least`.
pub(super) fn shortest(longest: u32, ratio: f64, least: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is 0 to 1, so that the product lies between 0 and a u32"
    )]
    let share = (f64::from(longest) * ratio) as u32;
    share.max(least)
}
