//! A plan in words: what would run, in which order and why.

use std::fmt;

use domain::event::StepIndex;

use crate::plan::{Phase, Place, Plan, PlannedStep};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(self, f)?;
        let width = self.steps().iter().map(|step| step.name.len()).max().unwrap_or(0);
        let mut last: Option<(Place, Phase)> = None;
        for step in self.steps() {
            if last != Some((step.at, step.phase)) {
                write!(f, "\n{}\n", self.occasion(step))?;
            }
            last = Some((step.at, step.phase));
            if let Some(announce) = &step.announce {
                writeln!(f, "       \"{announce}\"")?;
            }
            writeln!(f, "  {:>3}  {:<width$}  {}", step.index, step.name, self.reason(step))?;
        }
        principles(self, f)
    }
}

fn heading(plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let frameworks: Vec<_> = plan.targets().iter().map(|t| t.framework.as_str()).collect();
    writeln!(
        f,
        "{} of {} ({}), {}, engine {}",
        counted(plan.runs().len(), "run"),
        counted(frameworks.len(), "framework"),
        frameworks.join(", "),
        counted(plan.steps().len(), "step"),
        plan.engine()
    )?;
    let repeats = plan.runs().iter().map(|run| run.repeat).max();
    let measure = plan.steps().iter().find_map(|planned| planned.step.as_measure());
    let wanted = measure.map(|measure| measure.runs_for_consistency);
    match (repeats, wanted) {
        (Some(repeats), Some(wanted)) if repeats < wanted => writeln!(
            f,
            "{} of each profile; it takes {wanted} to see whether results agree (`--runs {wanted}`)",
            counted(usize::try_from(repeats).unwrap_or(usize::MAX), "run")
        ),
        _ => Ok(()),
    }
}

fn principles(plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for skill in plan.skills().iter().filter(|skill| !skill.principles.is_empty()) {
        writeln!(f, "\nPrinciples of {}", skill.id)?;
        for principle in &skill.principles {
            writeln!(f, "  - {principle}")?;
        }
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

impl Plan {
    /// Heading of a group of steps: where and when they are done.
    fn occasion(&self, step: &PlannedStep) -> String {
        let target = self.target(step.at).map_or("", |target| target.framework.title());
        match (step.phase, step.at, self.run(step.at)) {
            (Phase::Conclude, Place::Pair { pair }, _) => format!("After pair {pair}"),
            (Phase::Conclude, _, _) => "At the end of the session".to_owned(),
            (Phase::Main, Place::Session, _) => "First".to_owned(),
            (Phase::Finally, Place::Session, _) => "Whatever happened".to_owned(),
            (Phase::Main, _, None) => target.to_owned(),
            (Phase::Finally, _, None) => format!("{target}, whatever happened"),
            (Phase::Main, _, Some(run)) => {
                format!("{target}, {} run {}", run.profile.name, run.repeat)
            }
            (Phase::Finally, _, Some(run)) => {
                format!("{target}, {} run {}, whatever happened", run.profile.name, run.repeat)
            }
        }
    }

    /// Why a step is done where it is: what it needs, what it proves, what it cleans up after.
    fn reason(&self, step: &PlannedStep) -> String {
        let needs = step
            .needs
            .iter()
            .map(|need| format!("needs {} of {}", need.fact, either(need.proved_by.iter())));
        let proves = step.step.proves().map(|fact| format!("proves {fact}"));
        let covered: Vec<_> = self.cleans_up_after(step).map(|other| &other.index).collect();
        let cleans = (!covered.is_empty())
            .then(|| format!("if {} was started", either(covered.into_iter())));
        let reasons: Vec<_> = needs.chain(proves).chain(cleans).collect();
        if reasons.is_empty() {
            step.skill.to_string()
        } else {
            format!("{}: {}", step.skill, reasons.join(", "))
        }
    }
}

fn either<'a>(steps: impl Iterator<Item = &'a StepIndex>) -> String {
    steps.map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
