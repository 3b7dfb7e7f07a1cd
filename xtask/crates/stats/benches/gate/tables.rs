//! The tables of the report.

use domain::gate::Rule;
use domain::verdict::Verdict;

use super::contrast::{Contrast, RULES, Sides};
use super::noise::{Effect, Noise, Random};
use super::real::{self, Count};
use super::run::{Known, USUAL, compare};
use super::stored;

/// The whole report, with so many comparisons in each cell.
pub(crate) fn report(comparisons: u32) -> String {
    let rule = Rule::standard();
    let parts = [
        intro(comparisons),
        by_noise(&rule, comparisons),
        robustness(&rule, comparisons),
        contrast(&rule, comparisons),
        screen(&rule, comparisons),
        allowed(&rule, comparisons),
        nights(&rule),
    ];
    parts.join("\n")
}

fn intro(comparisons: u32) -> String {
    format!(
        "# Error rates of the gate\n\n\
         Made by `cargo bench -p stats --bench gate`, with the gate's own code and its standard rule. \
         {comparisons} comparisons in each cell, seeded. Brackets hold the 95 % interval of a rate.\n\n\
         The simulated noise: a run's throughput and mean TPOT vary by the CV, mean TTFT by 1.5, p99 by 4 times as \
         much and with the tails of t at 3 degrees of freedom; metrics hang together (0.25 in common, 0.25 in \
         a family); drift within a session (AR(1) 0.8, half a CV); 3 % of runs spoiled by 3 to 15 %; another session \
         is shifted by a CV, TTFT by two. Runs count both sides and the throw-away run.\n"
    )
}

/// What many comparisons came to.
struct Rates {
    of: u32,
    regressed: u32,
    passed: u32,
    inconclusive: u32,
    runs: u64,
}

fn rates(rule: &Rule, noise: Noise, effect: Effect, known: Known, of: u32) -> Rates {
    let mut rates = Rates { of, regressed: 0, passed: 0, inconclusive: 0, runs: 0 };
    let mut random = Random::new(1);
    for _ in 0..of {
        let ended = compare(rule, noise, effect, known, &mut random);
        match ended.verdict {
            Verdict::Regressed => rates.regressed += 1,
            Verdict::Pass | Verdict::Improved => rates.passed += 1,
            Verdict::Inconclusive => rates.inconclusive += 1,
            Verdict::MissingBaseline | Verdict::Incomparable | Verdict::Broken => {}
        }
        rates.runs += u64::from(ended.runs);
    }
    rates
}

fn percent(count: u32, of: u32) -> String {
    format!("{:.2}", f64::from(count) / f64::from(of) * 100.0)
}

/// With Wilson's interval.
fn with_interval(count: u32, of: u32) -> String {
    let (n, p, z) = (f64::from(of), f64::from(count) / f64::from(of), 1.96);
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let (low, high) = ((centre - reach).max(0.0) * 100.0, (centre + reach) * 100.0);
    format!("{} [{low:.2}, {high:.2}]", percent(count, of))
}

fn by_noise(rule: &Rule, of: u32) -> String {
    let mut text = "## By noise, with ten earlier sessions of five pairs of the key\n\n\
         | CV | A/A called regressed, % | 3 % slower decode found, % | 5 % found, % | 5 % slower prefill found, % | \
         mean runs on A/A | A/A passed / inconclusive, % | 3 % / 5 % wrongly passed, % |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for cv in [0.005, 0.01, 0.02, 0.03] {
        let cell = |effect| rates(rule, Noise::of(cv), effect, USUAL, of);
        let same = cell(Effect::None);
        let (three, five) = (cell(Effect::Decode(0.03)), cell(Effect::Decode(0.05)));
        let prefill = cell(Effect::Prefill(0.05));
        text.push_str(&format!(
            "| {} % | {} | {} | {} | {} | {:.1} | {} / {} | {} / {} |\n",
            cv * 100.0,
            with_interval(same.regressed, of),
            with_interval(three.regressed, of),
            with_interval(five.regressed, of),
            percent(prefill.regressed, of),
            same.runs as f64 / f64::from(same.of),
            percent(same.passed, of),
            percent(same.inconclusive, of),
            percent(three.passed, of),
            percent(five.passed, of),
        ));
    }
    text
}

fn robustness(rule: &Rule, of: u32) -> String {
    let usual = Noise::of(0.01);
    let of_pairs = |sessions, pairs| Known::Sessions { sessions, pairs };
    let cases: [(&str, Noise, Known); 9] = [
        ("100 earlier pairs, 10 a session", usual, of_pairs(10, 10)),
        ("50 earlier pairs, 5 a session", usual, USUAL),
        ("20 earlier pairs", usual, of_pairs(4, 5)),
        ("12 earlier pairs", usual, of_pairs(3, 4)),
        ("**cold start**: no history", usual, Known::Nothing),
        ("history 30 % too low", usual, Known::Wrong { factor: 0.7 }),
        ("history twice too high", usual, Known::Wrong { factor: 2.0 }),
        ("runs 1.5 times as noisy as the history", Noise { scale: 1.5, ..usual }, USUAL),
        ("10 % of runs spoiled", Noise { spoiled: 0.1, ..usual }, USUAL),
    ];
    let mut text = "## At a CV of 1 %, by what is known of the noise\n\n\
         | case | A/A called regressed, % | 3 % slower decode found, % | 5 % found, % | mean runs on A/A |\n\
         | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (title, noise, known) in cases {
        let cell = |effect| rates(rule, noise, effect, known, of);
        let same = cell(Effect::None);
        text.push_str(&format!(
            "| {title} | {} | {} | {} | {:.1} |\n",
            with_interval(same.regressed, of),
            percent(cell(Effect::Decode(0.03)).regressed, of),
            percent(cell(Effect::Decode(0.05)).regressed, of),
            same.runs as f64 / f64::from(same.of),
        ));
    }
    text
}

fn contrast(rule: &Rule, of: u32) -> String {
    let mut text = "## Beside other rules, at a CV of 1 %\n\n\
         The others look at twelve metrics and flag any that is worse.\n\n\
         | rule | runs a side | baseline | A/A called regressed, % | 3 % slower decode found, % | 5 % found, % |\n\
         | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let noise = Noise::of(0.01);
    let flagged = |contrast: &Contrast, effect| {
        let mut random = Random::new(2);
        let flagged = (0..of).filter(|_| contrast.flags(noise, effect, &mut random)).count();
        u32::try_from(flagged).unwrap_or(of)
    };
    for contrast in &RULES {
        let sides = match contrast.sides {
            Sides::Stored => "stored, another session",
            Sides::Interleaved => "interleaved",
        };
        text.push_str(&format!(
            "| {} | {} | {sides} | {} | {} | {} |\n",
            contrast.title,
            contrast.runs,
            percent(flagged(contrast, Effect::None), of),
            percent(flagged(contrast, Effect::Decode(0.03)), of),
            percent(flagged(contrast, Effect::Decode(0.05)), of),
        ));
    }
    let cell = |effect| rates(rule, noise, effect, USUAL, of);
    let same = cell(Effect::None);
    text + &format!(
        "| **this gate** | {:.1} | interleaved | {} | {} | {} |\n",
        (same.runs as f64 / f64::from(of) - 1.0) / 2.0,
        percent(same.regressed, of),
        percent(cell(Effect::Decode(0.03)).regressed, of),
        percent(cell(Effect::Decode(0.05)).regressed, of),
    )
}

fn screen(rule: &Rule, of: u32) -> String {
    let mut text = format!(
        "## A stored baseline that may clear and never fails\n\n\
         {} runs in each session, the new one among them. What it does not clear is inconclusive, and `ab` \
         measures the baseline again: not clearing costs time and no error. Clearing a slower candidate is \
         the error.\n\n\
         | CV | stored sessions | unchanged cleared, % | 3 % slower decode cleared, % | 5 % cleared, % |\n\
         | --- | --- | --- | --- | --- |\n",
        stored::RUNS
    );
    for cv in [0.0025, 0.005, 0.01, 0.02] {
        for sessions in [3, 5, 10] {
            let cleared = |effect| {
                let mut random = Random::new(6);
                let clears =
                    |_: &u32| stored::clears(rule, Noise::of(cv), effect, sessions, &mut random);
                u32::try_from((0..of).filter(clears).count()).unwrap_or(of)
            };
            text.push_str(&format!(
                "| {} % | {sessions} | {} | {} | {} |\n",
                cv * 100.0,
                percent(cleared(Effect::None), of),
                with_interval(cleared(Effect::Decode(0.03)), of),
                with_interval(cleared(Effect::Decode(0.05)), of),
            ));
        }
    }
    text
}

fn allowed(rule: &Rule, of: u32) -> String {
    let mut text = "## A stored baseline that is allowed to fail (`--allow-stored`)\n\n\
         The rule of pairs, on the newest of ten stored sessions and a session of another time. Its error rate \
         is no longer 1 %: what differs between two sessions is taken for a change, and more runs make it \
         surer of that.\n\n\
         | CV | runs a side | A/A called regressed, % | 3 % slower decode found, % | 5 % found, % |\n\
         | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for cv in [0.005, 0.01, 0.02] {
        for runs in [3, 5, 10] {
            let regressed = |effect| {
                let mut random = Random::new(7);
                let fails = |_: &u32| {
                    let verdict = stored::allowed(rule, Noise::of(cv), effect, runs, &mut random);
                    verdict == Verdict::Regressed
                };
                u32::try_from((0..of).filter(fails).count()).unwrap_or(of)
            };
            text.push_str(&format!(
                "| {} % | {runs} | {} | {} | {} |\n",
                cv * 100.0,
                with_interval(regressed(Effect::None), of),
                percent(regressed(Effect::Decode(0.03)), of),
                percent(regressed(Effect::Decode(0.05)), of),
            ));
        }
    }
    text
}

fn nights(rule: &Rule) -> String {
    let found = real::evaluate(rule);
    let line = |title: &str, count: Count| {
        let rate = percent(count.flagged, count.of);
        format!("| {title} | {} | {} | {rate} |\n", count.of, count.flagged)
    };
    format!(
        "## On real nights of unchanged code\n\n\
         Nightly serving benchmarks of one framework on A10G and L4 (tests/fixtures/gating), the same commit \
         measured again: {} groups, {} nights. Of the four deciding metrics those that every night of a group \
         recorded: mean TTFT and mean TPOT, p99 TTFT and throughput in few groups.\n\n\
         Interleaved: neighbouring nights are a pair, each assigned to a side by chance, from every start that \
         leaves three pairs, 500 assignments each. {} groups are long enough; comparisons share their nights, \
         so that they are not independent. Neighbouring nights are further apart than neighbouring runs, so \
         that this is harder than an experiment in one session. Stored: each night of every group by the mean \
         of up to seven nights before it.\n\n\
         | rule | comparisons | called regressed | % |\n| --- | --- | --- | --- |\n{}{}{}{}\n\
         The interleaved rule passes {} % of the unchanged and leaves the rest open.\n",
        found.groups,
        found.nights,
        found.judged,
        line("this gate, interleaved, without a history", found.unchanged),
        line("the same with every candidate made 5 % worse", found.found),
        line("stored mean, fixed 5 %", found.fixed),
        line("stored mean, 2 sigma of 7 nights and 1 %", found.two_sigma),
        percent(found.passed, found.unchanged.of),
    )
}
