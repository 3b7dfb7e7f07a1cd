//! Streams an answer: every token is written as soon as the engine has made it, unless a fault
//! says otherwise.

use std::io;
use std::time::Duration;

use crate::app::App;
use crate::control;
use crate::driver::Ticket;
use crate::engine::{Finish, Made};
use crate::fault::{Fault, Middle, Strike};
use crate::generation::{Generation, Stall, stall};
use crate::http::{After, Connection, LAST_CHUNK, chunk, stream_head};
use crate::tokens;
use crate::wire::Progress;

/// Tokens in an event under `merged-tokens`.
const MERGED: u32 = 4;
/// Pause between the pieces of an event under `slow-drip`: long enough to be read one by one.
const DRIP_PAUSE: Duration = Duration::from_millis(1);
/// Size that `truncated-chunk` announces, and more than it sends.
const TRUNCATED: &[u8] = b"100\r\ndata: {\"id\":\"trunc";

/// Why a stream did not come to its end.
#[derive(Debug)]
enum Cut {
    /// The client is gone, or cannot be reached.
    Gone,
    /// A fault ends it like this.
    Fault(After),
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Streams the whole answer.
pub(crate) async fn run(
    app: &App,
    connection: &mut Connection,
    generation: &Generation,
    ticket: &mut Ticket,
) -> After {
    let mut stream = Stream::new(app, connection, generation);
    match stream.answer(ticket).await {
        Ok(()) => {
            generation.recorder.done();
            After::KeepOpen
        }
        Err(Cut::Gone) => After::Close,
        Err(Cut::Fault(after)) => after,
    }
}

/// Writes bytes in a few small pieces.
pub(crate) async fn drip(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    for (start, end) in drip_cuts(bytes.len()) {
        connection.write(&bytes[start..end]).await?;
        tokio::time::sleep(DRIP_PAUSE).await;
    }
    Ok(())
}

/// Where an event is cut: within its size line, within its first word, and in the middle.
fn drip_cuts(length: usize) -> Vec<(usize, usize)> {
    let mut ends = vec![1, 3, 7, length / 2, length];
    ends.retain(|end| *end <= length && 0 < *end);
    ends.sort_unstable();
    ends.dedup();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends.iter().copied()).collect()
}

fn delay_from_start(strike: Option<Strike>) -> Duration {
    let stalls = |strike: &Strike| {
        strike.fault == Fault::Hang || strike.fault == Fault::StallBeforeFirstToken
    };
    strike.filter(stalls).and_then(|strike| strike.lasts).unwrap_or(Duration::ZERO)
}

/// The next token, once it is due. After a stall everything comes later by its length: a burst
/// of what has piled up would look like a fast server.
async fn due(ticket: &mut Ticket, delay: Duration) -> Option<Made> {
    let token = ticket.next().await?;
    if !delay.is_zero() {
        tokio::time::sleep_until(token.at + delay).await;
    }
    Some(token.made)
}

/// An answer on its way.
struct Stream<'a> {
    app: &'a App,
    connection: &'a mut Connection,
    generation: &'a Generation,
    /// All text that was made.
    text: String,
    /// The part of it that was sent.
    sent_bytes: usize,
    /// Tokens made and tokens sent.
    tokens: u32,
    sent_tokens: u32,
    cached_tokens: u32,
    first_token_ns: Option<u64>,
    /// How much later than made tokens are sent.
    delay: Duration,
    /// The fault that comes in the middle, until it has come.
    middle: Option<(Strike, Middle)>,
}

impl<'a> Stream<'a> {
    fn new(app: &'a App, connection: &'a mut Connection, generation: &'a Generation) -> Self {
        Self {
            app,
            connection,
            generation,
            text: String::new(),
            sent_bytes: 0,
            tokens: 0,
            sent_tokens: 0,
            cached_tokens: 0,
            first_token_ns: None,
            delay: delay_from_start(generation.strike),
            middle: generation.strike.and_then(|strike| Some((strike, strike.middle()?))),
        }
    }

    async fn answer(&mut self, ticket: &mut Ticket) -> Result<(), Cut> {
        let dialect = self.generation.reply.dialect;
        let head = stream_head(dialect.stream_type(), self.generation.close);
        self.connection.write(&head).await?;
        if let Some(strike) = self.generation.strike
            && strike.fault == Fault::StallBeforeFirstToken
            && stall(self.connection, strike).await == Stall::Final
        {
            return Err(Cut::Gone);
        }
        let finish = self.all_tokens(ticket).await?;
        if self.generation.is_struck_by(Fault::DoneOnly) {
            self.send(dialect.bare_end(), 0).await?;
        } else if !self.generation.is_struck_by(Fault::MissingDone) {
            for event in self.generation.reply.closing(&self.progress("", Some(finish))) {
                self.send(&event, 0).await?;
            }
        }
        Ok(self.connection.write(LAST_CHUNK).await?)
    }

    /// Sends tokens as they come, to the last.
    async fn all_tokens(&mut self, ticket: &mut Ticket) -> Result<Finish, Cut> {
        loop {
            let made = tokio::select! {
                made = due(ticket, self.delay) => made.ok_or(Cut::Gone)?,
                () = self.connection.gone() => return Err(Cut::Gone),
            };
            self.take(made);
            if !self.generation.is_struck_by(Fault::DoneOnly) {
                self.send_tokens(made.finish).await?;
                self.strike_in_the_middle().await?;
            }
            if let Some(finish) = made.finish {
                return Ok(finish);
            }
        }
    }

    fn take(&mut self, made: Made) {
        if self.first_token_ns.is_none() {
            self.first_token_ns = Some(self.app.clock.now_ns());
            self.generation.recorder.cached(made.cached_tokens);
            self.cached_tokens = made.cached_tokens;
        }
        self.tokens += 1;
        self.text.push_str(&tokens::word(made.position));
    }

    /// Sends what has been made and not yet sent, in the grain that the fault wants.
    async fn send_tokens(&mut self, finish: Option<Finish>) -> Result<(), Cut> {
        let waiting = self.tokens - self.sent_tokens;
        let merged = self.generation.is_struck_by(Fault::MergedTokens);
        // The first token goes alone: held back, it would take its wait from the time per token.
        if merged && self.sent_tokens != 0 && waiting < MERGED && finish.is_none() {
            return Ok(());
        }
        if self.sent_tokens == 0
            && let Some(opening) = self.generation.reply.opening()
        {
            self.send(&opening, 0).await?;
        }
        let finish = finish.filter(|_| !self.generation.is_struck_by(Fault::MissingDone));
        let whole = self.text.len();
        if self.generation.is_struck_by(Fault::SplitTokens) {
            // All words are ASCII, and at least three bytes long.
            self.send_text(self.sent_bytes + 2, waiting, None).await?;
            self.send_text(whole, 0, finish).await
        } else {
            self.send_text(whole, waiting, finish).await
        }
    }

    /// Sends the text up to `end`, which completes so many tokens.
    async fn send_text(
        &mut self,
        end: usize,
        tokens: u32,
        finish: Option<Finish>,
    ) -> Result<(), Cut> {
        let progress = self.progress(&self.text[self.sent_bytes..end], finish);
        let progress = Progress { text: &self.text[..end], ..progress };
        let event = self.generation.reply.piece(&progress);
        if self.generation.is_struck_by(Fault::CommentPings) {
            self.connection.write(&chunk(self.generation.reply.dialect.ping().as_bytes())).await?;
        }
        self.send(&event, tokens).await?;
        self.sent_tokens += tokens;
        self.sent_bytes = end;
        Ok(())
    }

    fn progress<'b>(&'b self, piece: &'b str, finish: Option<Finish>) -> Progress<'b> {
        Progress {
            piece,
            text: &self.text,
            tokens: self.tokens,
            cached_tokens: self.cached_tokens,
            finish,
            spent: self.generation.spent(self.app.clock.now_ns(), self.first_token_ns),
        }
    }

    /// Writes one event and records when.
    async fn send(&mut self, event: &str, tokens: u32) -> Result<(), Cut> {
        let bytes = chunk(event.as_bytes());
        let began_ns = self.app.clock.now_ns();
        if self.generation.is_struck_by(Fault::SlowDrip) {
            drip(self.connection, &bytes).await?;
        } else {
            self.connection.write(&bytes).await?;
        }
        self.generation.recorder.sent(began_ns, tokens);
        Ok(())
    }

    /// Once half of the tokens have been sent, and at least one, the fault comes.
    async fn strike_in_the_middle(&mut self) -> Result<(), Cut> {
        let half = (self.generation.output_tokens / 2).max(1);
        if self.sent_tokens < half {
            return Ok(());
        }
        let Some((strike, middle)) = self.middle.take() else { return Ok(()) };
        match middle {
            Middle::Stall => match stall(self.connection, strike).await {
                Stall::Over => {
                    self.delay = strike.lasts.unwrap_or(Duration::ZERO);
                    Ok(())
                }
                Stall::Final => Err(Cut::Gone),
            },
            Middle::Reset => Err(Cut::Fault(After::Reset)),
            Middle::Truncate => {
                self.connection.write(TRUNCATED).await?;
                Err(Cut::Fault(After::Close))
            }
            Middle::Error => self.end_with_error().await,
            Middle::Malformed => self.send(&self.generation.reply.dialect.broken_event(), 0).await,
            Middle::Crash => {
                self.app.crash.notify_one();
                Err(Cut::Fault(After::Reset))
            }
        }
    }

    async fn end_with_error(&mut self) -> Result<(), Cut> {
        let dialect = self.generation.reply.dialect;
        self.send(&dialect.error_event(control::reason(500)), 0).await?;
        if let Some(end) = dialect.end_mark() {
            self.send(end, 0).await?;
        }
        self.connection.write(LAST_CHUNK).await?;
        Err(Cut::Fault(After::KeepOpen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drip_pieces_cover_an_event_without_gaps() {
        for length in 1..300 {
            let cuts = drip_cuts(length);
            assert_eq!(cuts.first().map(|cut| cut.0), Some(0));
            assert_eq!(cuts.last().map(|cut| cut.1), Some(length));
            assert!(cuts.windows(2).all(|pair| pair[0].1 == pair[1].0));
            assert!(cuts.iter().all(|(start, end)| start < end));
        }
    }
}
