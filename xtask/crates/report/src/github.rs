//! The session for GitHub Actions: annotations on the run, and outputs of the step.
//!
//! An annotation is a line on stdout that the runner obeys, so every text of elsewhere is escaped
//! here and nowhere else. GitHub keeps ten annotations of a level from one step and drops the rest
//! without a word: the last that fits says how many there were.

use std::fmt;

use domain::event::Judgement;
use domain::exit::Exit;
use domain::verdict::{Strictness, Verdict};

use crate::judgement::words;
use crate::lines::failure;
use crate::session::{SessionView, StepState};
use crate::text::one_line;

/// Annotations of one level that GitHub keeps from one step.
pub(crate) const MOST_OF_A_LEVEL: usize = 10;

/// Longest title, in characters: GitHub cuts one off at 255.
const LONGEST_TITLE: usize = 200;

/// Longest message, in characters: a few lines in the list of annotations.
const LONGEST_MESSAGE: usize = 600;

/// How loud an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Notice,
    /// Worth a look.
    Warning,
    /// The check fails for it.
    Error,
}

impl Level {
    const fn command(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// How loudly a verdict is said; a pass deserves silence.
    pub(crate) fn of(verdict: Verdict, strictness: Strictness) -> Option<Self> {
        match verdict {
            Verdict::Pass => None,
            Verdict::Improved => Some(Self::Notice),
            verdict if verdict.exit(strictness) != Exit::Done => Some(Self::Error),
            Verdict::MissingBaseline
            | Verdict::Inconclusive
            | Verdict::Regressed
            | Verdict::Incomparable
            | Verdict::Broken => Some(Self::Warning),
        }
    }
}

/// One annotation on the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How loud.
    pub level: Level,
    /// What it is about.
    pub title: String,
    /// What happened.
    pub message: String,
}

/// The line that the runner obeys, without its end; the texts of elsewhere cannot leave it.
impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = one_line(&self.title, LONGEST_TITLE);
        let message = one_line(&self.message, LONGEST_MESSAGE);
        f.write_str(&command(self.level, &title, &message))
    }
}

/// The session's annotations, a line each: failed steps, then judgements, the worst first.
pub fn annotations(session: &SessionView, strictness: Strictness) -> String {
    let failed = session.steps.iter().filter_map(|step| match &step.state {
        StepState::Failed(why) => Some(Annotation {
            level: Level::Error,
            title: format!("servegate: {}", step.name),
            message: failure(why, LONGEST_MESSAGE),
        }),
        StepState::Running | StepState::Succeeded(_) | StepState::Skipped(_) => None,
    });
    let mut judgements: Vec<&Judgement> = session.judgements.iter().collect();
    judgements.sort_by_key(|judgement| std::cmp::Reverse(judgement.verdict));
    let judged = judgements.iter().filter_map(|judgement| of_judgement(judgement, strictness));
    lines(&failed.chain(judged).collect::<Vec<_>>())
}

/// Annotations as lines, within what GitHub keeps of each level; the loudest come first.
pub fn lines(annotations: &[Annotation]) -> String {
    let mut text = String::new();
    for level in [Level::Error, Level::Warning, Level::Notice] {
        let all: Vec<_> = annotations.iter().filter(|one| one.level == level).collect();
        let shown = if all.len() <= MOST_OF_A_LEVEL { all.len() } else { MOST_OF_A_LEVEL - 1 };
        for annotation in &all[..shown] {
            text.push_str(&format!("{annotation}\n"));
        }
        if shown < all.len() {
            let more = all.len() - shown;
            let (title, message) =
                ("servegate".to_owned(), format!("{more} more; the job summary has them all"));
            text.push_str(&format!("{}\n", Annotation { level, title, message }));
        }
    }
    text
}

/// What one verdict deserves.
fn of_judgement(judgement: &Judgement, strictness: Strictness) -> Option<Annotation> {
    let level = Level::of(judgement.verdict, strictness)?;
    let title = format!("servegate: {}: {}", words(judgement.verdict), judgement.key);
    Some(Annotation { level, title, message: judgement.reason.clone() })
}

/// What became of a session, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop before it could say more.
    Cancelled,
    /// It could not measure, or its journal ends in the middle.
    Broken,
    /// The worst of its judgements.
    Judged(Verdict),
    /// It measured, and nothing was to be judged.
    NotJudged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Broken => write!(f, "{}", Verdict::Broken),
            Self::Judged(verdict) => write!(f, "{verdict}"),
            Self::NotJudged => f.write_str("none"),
        }
    }
}

/// What became of a session.
pub fn outcome(session: &SessionView) -> Outcome {
    let worst = session.judgements.iter().map(|judgement| judgement.verdict).max();
    match (session.stop, session.exit, worst) {
        (Some(_), _, _) => Outcome::Cancelled,
        (None, None, _) => Outcome::Broken,
        (None, Some(Exit::NotMeasured | Exit::Bug | Exit::LeftBehind | Exit::Usage), _) => {
            Outcome::Broken
        }
        (None, Some(_), Some(worst)) => Outcome::Judged(worst),
        (None, Some(_), None) => Outcome::NotJudged,
    }
}

/// `verdict=…`, `session=…` and `exit-code=…`, a line each, as `$GITHUB_OUTPUT` takes them. A code
/// that is not known is empty.
pub fn outputs(session: &SessionView) -> String {
    let id = one_line(session.session.as_deref().unwrap_or_default(), LONGEST_TITLE);
    let code = session.exit.map_or_else(String::new, |exit| exit.code().to_string());
    format!("verdict={}\nsession={id}\nexit-code={code}\n", outcome(session))
}

/// A workflow command, without its end. The runner ends a command at the line's end and a property
/// at a comma or colon, and knows `%` escapes for them.
pub(crate) fn command(level: Level, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{} title={title}::{}", level.command(), data(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bad_session, good_session, journal, opened};

    const LENIENT: Strictness = Strictness { inconclusive_fails: false, baseline_required: false };
    const STRICT: Strictness = Strictness { inconclusive_fails: true, baseline_required: true };

    #[test]
    fn each_verdict_has_its_level_and_a_pass_is_silent() {
        let view = SessionView::fold(&good_session(Verdict::ALL));
        let levels = |strictness| -> Vec<String> {
            let text = annotations(&view, strictness);
            text.lines().map(|line| line.split("%3A sim").next().unwrap().to_owned()).collect()
        };
        assert_eq!(
            levels(LENIENT),
            [
                "::error title=servegate%3A broken",
                "::error title=servegate%3A incomparable",
                "::error title=servegate%3A regressed",
                "::warning title=servegate%3A inconclusive",
                "::warning title=servegate%3A missing baseline",
                "::notice title=servegate%3A improved",
            ]
        );
        let loud = levels(STRICT).iter().filter(|line| line.starts_with("::error")).count();
        assert_eq!(loud, 5);
    }

    #[test]
    fn a_failed_step_is_an_error_that_stands_alone() {
        insta::assert_snapshot!(annotations(&SessionView::fold(&bad_session()), LENIENT), @"::error title=servegate%3A vllm/launch::the server failed: `vllm` ended with exit code 1 CUDA | <oom> (hint: look at its log)");
    }

    #[test]
    fn no_text_can_leave_its_line_or_its_property() {
        let annotation = Annotation {
            level: Level::Error,
            title: "a,b::c\n::add-mask::x".to_owned(),
            message: "100%\r\n::stop-commands::x".to_owned(),
        };
        assert_eq!(
            annotation.to_string(),
            "::error title=a%2Cb%3A%3Ac %3A%3Aadd-mask%3A%3Ax::100%25 ::stop-commands::x"
        );
    }

    #[test]
    fn what_github_would_drop_is_counted() {
        let view = SessionView::fold(&good_session(&[Verdict::Regressed; 23]));
        let text = annotations(&view, LENIENT);
        assert_eq!(text.lines().count(), MOST_OF_A_LEVEL);
        assert!(text.ends_with("::14 more; the job summary has them all\n"), "{text}");
    }

    #[test]
    fn outputs_say_what_became_of_the_session() {
        let of = |entries: &[domain::event::Entry]| outputs(&SessionView::fold(entries));
        let judged = of(&good_session(&[Verdict::Pass, Verdict::Regressed]));
        assert_eq!(judged, "verdict=regressed\nsession=20261124T031500Z-1\nexit-code=0\n");
        assert!(of(&good_session(&[])).starts_with("verdict=none\n"));
        assert!(of(&bad_session()).starts_with("verdict=cancelled\n"), "it was told to stop");
        let torn = of(&journal(vec![opened()]));
        assert_eq!(torn, "verdict=broken\nsession=20261124T031500Z-1\nexit-code=\n");
    }
}
