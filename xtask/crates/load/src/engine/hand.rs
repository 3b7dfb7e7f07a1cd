//! Which request a thread does next. Pure but for the counter that threads share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Job;

/// The requests that are still to be begun, as one thread sees them.
#[derive(Debug)]
pub(super) struct Hand<'a> {
    jobs: &'a [Job],
    next: Next<'a>,
}

/// How threads share the requests.
#[derive(Debug)]
enum Next<'a> {
    /// Every `step`th from `at` is this thread's.
    Own { at: usize, step: usize },
    /// Whoever has a place takes the next, so that requests keep their order.
    Shared(&'a AtomicUsize),
}

impl<'a> Hand<'a> {
    /// Every `step`th of the jobs, from the one at `at`.
    pub(super) const fn own(jobs: &'a [Job], at: usize, step: usize) -> Self {
        Self { jobs, next: Next::Own { at, step } }
    }

    /// Whichever of the jobs is next, by a counter that all threads share.
    pub(super) const fn shared(jobs: &'a [Job], next: &'a AtomicUsize) -> Self {
        Self { jobs, next: Next::Shared(next) }
    }

    /// When the next is due; `None` if there is none.
    pub(super) fn due(&self) -> Option<Duration> {
        let at = match &self.next {
            Next::Own { at, .. } => *at,
            Next::Shared(next) => next.load(Ordering::Relaxed),
        };
        self.jobs.get(at).map(|job| job.due)
    }

    /// Takes the next if it is due at `by`.
    pub(super) fn take(&mut self, by: Duration) -> Option<&'a Job> {
        let jobs = self.jobs;
        let due = |at: usize| jobs.get(at).filter(|job| job.due <= by);
        match &mut self.next {
            Next::Own { at, step } => {
                let job = due(*at)?;
                *at += *step;
                Some(job)
            }
            Next::Shared(next) => {
                let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    due(at).map(|_| at + 1)
                });
                taken.ok().and_then(|at| jobs.get(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(due_ms: &[u64]) -> Vec<Job> {
        let job = |(index, due): (u32, &u64)| Job {
            index,
            due: Duration::from_millis(*due),
            bytes: Vec::new(),
            prompt_tokens: 1,
            asked_tokens: 1,
            delivery: crate::answer::Delivery::Streamed,
        };
        (0..).zip(due_ms).map(job).collect()
    }

    fn taken(hand: &mut Hand<'_>, by_ms: u64) -> Option<u32> {
        hand.take(Duration::from_millis(by_ms)).map(|job| job.index)
    }

    #[test]
    fn threads_with_requests_of_their_own_take_turns() {
        let jobs = jobs(&[0, 0, 5, 5, 9]);
        let (mut even, mut odd) = (Hand::own(&jobs, 0, 2), Hand::own(&jobs, 1, 2));
        assert_eq!((taken(&mut even, 4), taken(&mut even, 4)), (Some(0), None));
        assert_eq!(
            (taken(&mut odd, 9), taken(&mut odd, 9), taken(&mut odd, 9)),
            (Some(1), Some(3), None)
        );
        assert_eq!((taken(&mut even, 9), taken(&mut even, 9)), (Some(2), Some(4)));
        assert_eq!((even.due(), odd.due()), (None, None));
    }

    #[test]
    fn a_shared_hand_keeps_the_order() {
        let (jobs, next) = (jobs(&[0, 0, 5]), AtomicUsize::new(0));
        let (mut one, mut other) = (Hand::shared(&jobs, &next), Hand::shared(&jobs, &next));
        assert_eq!(
            (taken(&mut one, 0), taken(&mut other, 0), taken(&mut one, 0)),
            (Some(0), Some(1), None)
        );
        assert_eq!(other.due(), Some(Duration::from_millis(5)));
        assert_eq!((taken(&mut other, 5), taken(&mut one, 5)), (Some(2), None));
    }
}
