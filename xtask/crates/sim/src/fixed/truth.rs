//! What a truth server really did, in columns: small enough for 50,000 events a second.
//!
//! `GET /sim/truth.bin` gives all answers that have ended since the last `DELETE` of it, as
//! little-endian columns. All times are in ns of the server's clock and were taken right beside
//! the system calls, but for arrivals, which are the kernel's.

use serde::Serialize;

/// Most writes that are kept: 128 MB, or more than two minutes at 50,000 events a second.
pub const MOST_WRITES: usize = 8_000_000;
/// Most requests that are kept.
pub const MOST_REQUESTS: usize = 1_000_000;

/// First bytes of the format; the last one is its version.
const MAGIC: &[u8; 8] = b"SGTRUTH1";
/// Stands for a number that there is not.
const NONE: u64 = u64::MAX;

/// One write that carried events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// Just before it, in ns.
    pub began_ns: u64,
    /// How long it took until the kernel had the last byte, in ns; 4 s at most. On the same machine
    /// a receiver's kernel may have stamped the bytes anywhere in that time.
    pub took_ns: u32,
    /// Events in it, each of one token.
    pub events: u32,
}

impl Write {
    /// Just after it, in ns.
    pub fn ended_ns(&self) -> u64 {
        self.began_ns + u64::from(self.took_ns)
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The client's own number, from its header `x-request-index`.
    pub index: Option<u64>,
    /// When the kernel had the last byte of the request, in ns. The kernel begins to tell a moment
    /// after it was asked to: the first request to a fresh server may have none.
    pub arrived_ns: Option<u64>,
    /// When that byte had been read and the request was understood, in ns.
    pub received_ns: u64,
    /// When the whole answer had been written, in ns; absent if the client left before.
    pub done_ns: Option<u64>,
    /// Prompt length, in tokens.
    pub prompt_tokens: u32,
    /// Tokens that were asked for.
    pub output_tokens: u32,
    /// The writes that carried it.
    pub writes: Vec<Write>,
}

/// Everything that a truth server remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// `CLOCK_REALTIME` at zero of the server's clock, in ns since 1970.
    pub realtime_offset_ns: u64,
    /// The server's clock at the time of the report, in ns.
    pub now_ns: u64,
    /// CPU time of the serving thread since it started, in ns.
    pub cpu_ns: u64,
    /// Answers that found no room.
    pub unrecorded: u64,
    /// The answers, in the order in which they ended.
    pub answers: Vec<Answered>,
}

/// What is wrong with bytes that should be a [`Truth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTruth {
    /// The first bytes are others.
    #[error("this is not a truth log of this version")]
    Magic,
    /// Its length is not the one that its header promises.
    #[error("the truth log is cut off")]
    Cut,
}

impl Truth {
    /// The answers in columns.
    pub fn encode(&self) -> Vec<u8> {
        let writes: usize = self.answers.iter().map(|answer| answer.writes.len()).sum();
        let mut bytes = Vec::with_capacity(64 + 44 * self.answers.len() + 16 * writes);
        bytes.extend_from_slice(MAGIC);
        let counts = [self.answers.len() as u64, writes as u64];
        for number in [self.realtime_offset_ns, self.now_ns, self.cpu_ns, self.unrecorded] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        let answers = || self.answers.iter();
        put_wide(&mut bytes, answers().map(|answer| answer.index.unwrap_or(NONE)));
        put_wide(&mut bytes, answers().map(|answer| answer.arrived_ns.unwrap_or(NONE)));
        put_wide(&mut bytes, answers().map(|answer| answer.received_ns));
        put_wide(&mut bytes, answers().map(|answer| answer.done_ns.unwrap_or(NONE)));
        put(&mut bytes, answers().map(|answer| answer.prompt_tokens));
        put(&mut bytes, answers().map(|answer| answer.output_tokens));
        // One answer has at most MOST_WRITES of them.
        put(&mut bytes, answers().map(|answer| u32::try_from(answer.writes.len()).unwrap_or(0)));
        let all = || self.answers.iter().flat_map(|answer| &answer.writes);
        put_wide(&mut bytes, all().map(|write| write.began_ns));
        put(&mut bytes, all().map(|write| write.took_ns));
        put(&mut bytes, all().map(|write| write.events));
        bytes
    }

    /// Reads what [`Truth::encode`] wrote.
    ///
    /// # Errors
    ///
    /// The bytes are something else, or not all there.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotTruth> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NotTruth::Magic)?;
        let mut reader = Reader(rest);
        let header = reader.wide(6)?;
        let (answers, writes) = (size(header[4])?, size(header[5])?);
        let (index, arrived) = (reader.wide(answers)?, reader.wide(answers)?);
        let (received, done) = (reader.wide(answers)?, reader.wide(answers)?);
        let (prompt, output) = (reader.narrow(answers)?, reader.narrow(answers)?);
        let counts = reader.narrow(answers)?;
        let (began, took) = (reader.wide(writes)?, reader.narrow(writes)?);
        let events = reader.narrow(writes)?;
        let mut write =
            (0..writes).map(|i| Write { began_ns: began[i], took_ns: took[i], events: events[i] });
        let known = |number: u64| (number != NONE).then_some(number);
        let answers: Vec<Answered> = (0..answers)
            .map(|i| Answered {
                index: known(index[i]),
                arrived_ns: known(arrived[i]),
                received_ns: received[i],
                done_ns: known(done[i]),
                prompt_tokens: prompt[i],
                output_tokens: output[i],
                writes: write.by_ref().take(counts[i] as usize).collect(),
            })
            .collect();
        let told: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        if !reader.0.is_empty() || told != writes as u64 {
            return Err(NotTruth::Cut);
        }
        let [realtime_offset_ns, now_ns, cpu_ns, unrecorded] =
            [header[0], header[1], header[2], header[3]];
        Ok(Self { realtime_offset_ns, now_ns, cpu_ns, unrecorded, answers })
    }
}

fn put_wide(bytes: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    bytes.extend(numbers.flat_map(u64::to_le_bytes));
}

fn put(bytes: &mut Vec<u8>, numbers: impl Iterator<Item = u32>) {
    bytes.extend(numbers.flat_map(u32::to_le_bytes));
}

fn size(number: u64) -> Result<usize, NotTruth> {
    usize::try_from(number).map_err(|_| NotTruth::Cut)
}

/// Takes columns from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn wide(&mut self, count: usize) -> Result<Vec<u64>, NotTruth> {
        let column = self.take(count.checked_mul(8).ok_or(NotTruth::Cut)?)?;
        Ok(column.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number)).collect())
    }

    fn narrow(&mut self, count: usize) -> Result<Vec<u32>, NotTruth> {
        let column = self.take(count.checked_mul(4).ok_or(NotTruth::Cut)?)?;
        Ok(column.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }

    fn take(&mut self, bytes: usize) -> Result<&[u8], NotTruth> {
        let (column, rest) = self.0.split_at_checked(bytes).ok_or(NotTruth::Cut)?;
        self.0 = rest;
        Ok(column)
    }
}

/// The log of a running server.
#[derive(Debug, Default)]
pub(super) struct Log {
    answers: Vec<Answered>,
    writes: usize,
    unrecorded: u64,
}

impl Log {
    /// Keeps an answer that has ended, if there is room.
    pub(super) fn keep(&mut self, answer: Answered) {
        let writes = self.writes + answer.writes.len();
        if MOST_REQUESTS <= self.answers.len() || MOST_WRITES < writes {
            self.unrecorded += 1;
            return;
        }
        self.writes = writes;
        self.answers.push(answer);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything in columns, with this header.
    pub(super) fn encode(&mut self, realtime_offset_ns: u64, now_ns: u64, cpu_ns: u64) -> Vec<u8> {
        let answers = std::mem::take(&mut self.answers);
        let unrecorded = self.unrecorded;
        let truth = Truth { realtime_offset_ns, now_ns, cpu_ns, unrecorded, answers };
        let bytes = truth.encode();
        self.answers = truth.answers;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(writes: Vec<Write>) -> Answered {
        Answered {
            index: Some(7),
            arrived_ns: None,
            received_ns: 5,
            done_ns: Some(9),
            prompt_tokens: 3,
            output_tokens: 2,
            writes,
        }
    }

    fn write() -> impl Strategy<Value = Write> {
        (0..u64::MAX, any::<u32>(), any::<u32>()).prop_map(|(began_ns, took_ns, events)| Write {
            began_ns,
            took_ns,
            events,
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            answers in prop::collection::vec(prop::collection::vec(write(), 0..4), 0..5),
        ) {
            let answers = answers.into_iter().map(answer).collect();
            let truth = Truth { answers, now_ns: 4, ..Truth::default() };
            prop_assert_eq!(Truth::decode(&truth.encode()), Ok(truth));
        }
    }

    #[test]
    fn a_log_that_is_cut_anywhere_is_refused() {
        let write = Write { began_ns: 1, took_ns: 2, events: 3 };
        let bytes = Truth { answers: vec![answer(vec![write])], ..Truth::default() }.encode();
        assert_eq!(Truth::decode(&bytes[..4]), Err(NotTruth::Magic));
        for end in MAGIC.len()..bytes.len() {
            assert_eq!(Truth::decode(&bytes[..end]), Err(NotTruth::Cut), "{end}");
        }
    }

    #[test]
    fn a_full_log_counts_what_it_leaves_out() {
        let mut log = Log { writes: MOST_WRITES, ..Log::default() };
        log.keep(answer(vec![Write { began_ns: 1, took_ns: 2, events: 3 }]));
        assert_eq!((log.answers.len(), log.unrecorded), (0, 1));
        log.clear();
        assert_eq!((log.writes, log.unrecorded), (0, 0));
    }
}
