//! What can be told from the tool's output while it comes.

use std::time::SystemTime;

use domain::timestamp::Timestamp;

use crate::progress::Progress;

/// Something that looks at output as it comes, cut anywhere.
pub(super) trait Look {
    fn look(&mut self, bytes: &[u8]);
}

/// Longest piece that is looked at, in bytes; more of a longer one is passed over.
const PIECE_BYTES: usize = 512;

/// Cuts bytes into lines, where a carriage return ends one too, each shortened to what matters.
#[derive(Debug, Default)]
struct Pieces {
    unfinished: Vec<u8>,
}

impl Pieces {
    fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            let room = PIECE_BYTES.saturating_sub(self.unfinished.len());
            self.unfinished.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\r") || part.ends_with(b"\n") {
                take(String::from_utf8_lossy(&self.unfinished).trim());
                self.unfinished.clear();
            }
        }
    }
}

/// When the measurement began and ended, by what the tool prints around it.
#[derive(Debug, Default)]
pub(super) struct Moments {
    pieces: Pieces,
    pub(super) began: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

impl Look for Moments {
    fn look(&mut self, bytes: &[u8]) {
        let (began, ended) = (&mut self.began, &mut self.ended);
        self.pieces.feed(bytes, |line| {
            if line.contains("Starting main benchmark run") {
                began.get_or_insert_with(|| SystemTime::now().into());
            } else if line.contains(" Serving Benchmark Result ") {
                ended.get_or_insert_with(|| SystemTime::now().into());
            }
        });
    }
}

/// The progress bar: how many answers there are.
#[derive(Debug)]
pub(super) struct Bar {
    pieces: Pieces,
    seen: u32,
    progress: Progress,
}

impl Bar {
    pub(super) fn new(progress: Progress) -> Self {
        Self { pieces: Pieces::default(), seen: 0, progress }
    }
}

impl Look for Bar {
    fn look(&mut self, bytes: &[u8]) {
        let Self { pieces, seen, progress } = self;
        let asked = progress.snapshot().asked;
        pieces.feed(bytes, |piece| {
            let answers = answers(piece, asked).unwrap_or(*seen);
            for _ in *seen..answers {
                // The tool does not tell when it sends; what was answered was sent.
                progress.sent();
                progress.completed();
            }
            *seen = answers.max(*seen);
        });
    }
}

/// The 3 of ` 50%|█████     | 3/6 [00:00<00:00, 9.00it/s]`, if it is about `asked` answers.
fn answers(piece: &str, asked: u32) -> Option<u32> {
    let (_, counter) = piece.rsplit_once("| ")?;
    let (counter, _) = counter.split_once(" [")?;
    let (done, total) = counter.split_once('/')?;
    let done = done.parse().ok().filter(|done| *done <= asked)?;
    (total.parse() == Ok(asked)).then_some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: &str = "warning\n  0%|          | 0/6 [00:00<?, ?it/s]\r\
        33%|███▎      | 2/6 [00:00<00:00, 9.07it/s]\rdata: 50%|█████     | 3/7 [00:00<00:00]\r\
        100%|██████████| 6/6 [00:00<00:00, 20.1it/s]\n";

    #[test]
    fn the_bar_counts_answers_wherever_it_is_cut() {
        for cut in 0..=BAR.len() {
            let progress = Progress::new(6);
            let mut bar = Bar::new(progress.clone());
            bar.look(&BAR.as_bytes()[..cut]);
            bar.look(&BAR.as_bytes()[cut..]);
            let seen = progress.snapshot();
            assert_eq!((seen.sent, seen.completed), (6, 6), "{cut}");
        }
    }

    #[test]
    fn a_bar_about_something_else_counts_nothing() {
        assert_eq!(answers("50%|█████     | 3/6 [00:00<00:00, 9.00it/s]", 6), Some(3));
        assert_eq!(answers("50%|█████     | 3/6 [00:00<00:00, 9.00it/s]", 7), None);
        assert_eq!(answers("99/6", 6), None);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut moments = Moments::default();
        for _ in 0..1000 {
            moments.look(&[b'x'; 1000]);
        }
        assert!(moments.pieces.unfinished.len() <= PIECE_BYTES);
        moments.look(b"\nWarmup completed with 1 sequences. Starting main benchmark run...\n");
        assert!(moments.began.is_some() && moments.ended.is_none());
    }
}
