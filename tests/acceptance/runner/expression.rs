//! Expressions of an action, as far as this repository's action uses them: names, texts, `==`,
//! `!=`, `!`, `&&`, `||`, parentheses and the four status functions.

use std::collections::BTreeMap;

/// How a step or a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    Cancelled,
    Skipped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// What expressions can name.
pub struct Scope {
    /// How the job stands so far.
    pub job: Outcome,
    inputs: BTreeMap<String, String>,
    /// Outcome and outputs by step.
    steps: BTreeMap<String, (Option<Outcome>, BTreeMap<String, String>)>,
}

const STATUS: [&str; 4] = ["always()", "success()", "failure()", "cancelled()"];

impl Scope {
    pub fn new(inputs: BTreeMap<String, String>) -> Self {
        Self { job: Outcome::Success, inputs, steps: BTreeMap::new() }
    }

    pub fn set_output(&mut self, step: &str, name: &str, value: &str) {
        let step = self.steps.entry(step.to_owned()).or_default();
        step.1.insert(name.to_owned(), value.to_owned());
    }

    /// Notes how a step ended; a failure or a cancellation stays the job's.
    pub fn end_step(&mut self, id: &str, outcome: Outcome) {
        self.steps.entry(id.to_owned()).or_default().0 = Some(outcome);
        if self.job == Outcome::Success && outcome != Outcome::Skipped {
            self.job = outcome;
        }
    }

    /// Whether a step's condition holds; without a status function it wants success.
    pub fn holds(&self, condition: Option<&str>) -> bool {
        let text = condition.unwrap_or("success()").trim();
        let text =
            text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(text);
        let fine =
            STATUS.iter().any(|status| text.contains(status)) || self.job == Outcome::Success;
        fine && is_true(&self.value(text))
    }

    /// A text with its expressions filled in.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").expect("a closed expression");
            filled += before;
            filled += &self.value(expression);
            rest = after;
        }
        filled + rest
    }

    fn value(&self, expression: &str) -> String {
        let mut tokens = Tokens { rest: expression };
        let value = self.any(&mut tokens);
        assert_eq!(tokens.peek(), "", "the stand-in does not understand `{expression}`");
        value
    }

    fn any(&self, tokens: &mut Tokens<'_>) -> String {
        let mut left = self.all(tokens);
        while tokens.take("||") {
            let right = self.all(tokens);
            left = if is_true(&left) { left } else { right };
        }
        left
    }

    fn all(&self, tokens: &mut Tokens<'_>) -> String {
        let mut left = self.equal(tokens);
        while tokens.take("&&") {
            let right = self.equal(tokens);
            left = if is_true(&left) { right } else { left };
        }
        left
    }

    fn equal(&self, tokens: &mut Tokens<'_>) -> String {
        let left = self.one(tokens);
        for (sign, wanted) in [("==", true), ("!=", false)] {
            if tokens.take(sign) {
                let right = self.one(tokens);
                return (left.eq_ignore_ascii_case(&right) == wanted).to_string();
            }
        }
        left
    }

    fn one(&self, tokens: &mut Tokens<'_>) -> String {
        if tokens.take("!") {
            return (!is_true(&self.one(tokens))).to_string();
        }
        if tokens.take("(") {
            let value = self.any(tokens);
            assert!(tokens.take(")"), "a closing parenthesis");
            return value;
        }
        for status in STATUS {
            if tokens.take(status) {
                let holds = match status {
                    "always()" => true,
                    "success()" => self.job == Outcome::Success,
                    "failure()" => self.job == Outcome::Failure,
                    _ => self.job == Outcome::Cancelled,
                };
                return holds.to_string();
            }
        }
        match tokens.literal() {
            Some(text) => text,
            None => self.named(tokens.name()),
        }
    }

    fn named(&self, name: &str) -> String {
        match name.split('.').collect::<Vec<_>>()[..] {
            ["inputs", input] => {
                self.inputs.get(input).unwrap_or_else(|| panic!("no input `{input}`")).clone()
            }
            // A step that did not run has no outputs, and one that is not there is empty.
            ["steps", step, "outputs", output] => {
                let step = self.steps.get(step).map(|(_, outputs)| outputs);
                step.and_then(|outputs| outputs.get(output)).cloned().unwrap_or_default()
            }
            ["steps", step, "outcome"] => {
                let outcome = self.steps.get(step).and_then(|(outcome, _)| *outcome);
                outcome.map_or_else(String::new, |outcome| outcome.as_str().to_owned())
            }
            _ => panic!("the stand-in does not know `{name}`"),
        }
    }
}

/// What GitHub calls true of what expressions here can be.
fn is_true(value: &str) -> bool {
    !["", "false", "0"].contains(&value)
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.peek().strip_prefix(token);
        // `!` is not the first half of `!=`.
        let rest = rest.filter(|rest| !(token == "!" && rest.starts_with('=')));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&mut self) -> Option<String> {
        let (text, rest) = self.peek().strip_prefix('\'')?.split_once('\'')?;
        self.rest = rest;
        Some(text.to_owned())
    }

    fn name(&mut self) -> &'a str {
        let text = self.peek();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest;
        name
    }
}

#[test]
fn expressions_are_read_as_github_reads_them() {
    let mut scope = Scope::new([("mode".to_owned(), "ab".to_owned())].into());
    scope.set_output("a", "file", "x y");
    assert_eq!(scope.fill("<${{ steps.a.outputs.file }}> ${{ inputs.mode }}"), "<x y> ab");
    assert!(scope.holds(Some("${{ inputs.mode == 'AB' || inputs.mode == 'bench' }}")));
    assert!(!scope.holds(Some("${{ inputs.mode != 'ab' }}")));
    assert!(scope.holds(None));
    scope.end_step("a", Outcome::Failure);
    assert!(!scope.holds(None), "without a status function a step wants success");
    assert!(!scope.holds(Some("inputs.mode == 'ab'")));
    assert!(scope.holds(Some("always() && steps.a.outcome == 'failure' && !(inputs.mode == 'x')")));
}
