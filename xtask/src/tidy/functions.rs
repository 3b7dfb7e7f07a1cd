//! How long functions are.
//!
//! A function has at most 60 lines, from the line with `fn` to the line of its last brace; the text
//! of a string over several lines (what a snapshot expects) is data and not counted. A function
//! that *is* one table may be longer: one `match` or one array whose entries have at most
//! 15 lines each, with at most 10 lines around it. A procedure cannot hide in such a table, and a
//! list need not be cut at an arbitrary place.

use anyhow::Result;

use super::{Fault, rust_files, source::blanked};
use crate::repo::Repo;

/// What a reader can hold, and what fits on a screen.
const LINES_PER_FUNCTION: usize = 60;
/// A match arm or an element that is longer is a procedure of its own.
const LINES_PER_ENTRY: usize = 15;
/// A `use`, a binding and what is made of it; more than that is a procedure with a table in it.
const LINES_AROUND_A_TABLE: usize = 10;

/// Functions that are longer by permission: file, name, lines. The list may only shrink: an entry
/// that is larger than its function is a fault, too.
const LONGER: [(&str, &str, usize); 0] = [];

/// Functions that are too long.
pub(super) fn rule(repo: &Repo) -> Result<Vec<Fault>> {
    let files = rust_files(repo)?;
    let mut faults: Vec<Fault> =
        files.iter().flat_map(|(path, text)| judge(path, text, &LONGER)).collect();
    for (path, name, _) in LONGER {
        let is_there = files.iter().any(|(file, text)| {
            file == path
                && functions(text, &blanked(text)).iter().any(|function| function.name == name)
        });
        if !is_there {
            let what = format!("there is no `{name}`: remove it from the list of long functions");
            faults.push(Fault { path: path.to_owned(), line: None, what });
        }
    }
    Ok(faults)
}

fn judge(path: &str, text: &str, longer: &[(&str, &str, usize)]) -> Vec<Fault> {
    let code = blanked(text);
    let mut faults = Vec::new();
    for function in functions(text, &code) {
        let Function { name, line, lines, body } = function;
        let permitted = longer.iter().find(|(file, of, _)| *file == path && *of == name);
        let what = match permitted {
            Some((_, _, most)) if lines < *most => {
                format!(
                    "`{name}` has shrunk to {lines} lines: say so in the list of long functions"
                )
            }
            Some((_, _, most)) if lines <= *most => continue,
            _ if lines <= LINES_PER_FUNCTION || is_table(body) => continue,
            _ => format!("`{name}` has {lines} lines, more than {LINES_PER_FUNCTION}"),
        };
        faults.push(Fault { path: path.to_owned(), line: Some(line), what });
    }
    faults
}

struct Function<'a> {
    name: &'a str,
    /// Of the word `fn`, from 1.
    line: usize,
    /// From there to the closing brace, without the text of strings.
    lines: usize,
    /// Between the braces.
    body: &'a str,
}

/// The functions with a body, nested ones too. `code` is the text, blanked.
fn functions<'a>(text: &str, code: &'a str) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_a_word =
            !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '#');
        let after = code[at + 3..].trim_start();
        let name_end =
            after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
        if !starts_a_word || name_end == 0 {
            continue;
        }
        if let Some((open, close)) = body_of(code, at) {
            found.push(Function {
                name: &after[..name_end],
                line: lines_in(&code[..at]),
                lines: lines_in(&code[at..close]) - data_lines(&text[at..close], &code[at..close]),
                body: &code[open + 1..close],
            });
        }
    }
    found
}

/// How many lines are nothing but the text of a string: not empty, no comment, and blanked.
fn data_lines(text: &str, code: &str) -> usize {
    let is_data = |text: &str, code: &str| {
        let text = text.trim();
        code.trim().is_empty() && !text.is_empty() && !text.starts_with("//")
    };
    text.lines().zip(code.lines()).filter(|(text, code)| is_data(text, code)).count()
}

/// How many lines a text touches.
fn lines_in(text: &str) -> usize {
    text.matches('\n').count() + 1
}

/// Where the body of the function at `at` opens and closes; `None` for a declaration without one.
fn body_of(code: &str, at: usize) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return None,
            '{' if depth == 0 => {
                let open = at + offset;
                return closing(code, open).map(|close| (open, close));
            }
            _ => {}
        }
    }
    None
}

/// Where the bracket that opens at `open` closes.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(open + offset);
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether a body is one match or one array with little around it.
fn is_table(body: &str) -> bool {
    let whole = lines_in(body);
    body.char_indices().filter(|(at, c)| opens_a_table(body, *at, *c)).any(|(open, _)| {
        closing(body, open).is_some_and(|close| {
            let table = &body[open + 1..close];
            whole <= lines_in(table) + LINES_AROUND_A_TABLE && has_short_entries(table)
        })
    })
}

/// Whether the character at `at` is the bracket of an array or the brace of a match.
fn opens_a_table(body: &str, at: usize, c: char) -> bool {
    match c {
        '[' => true,
        '{' => {
            let statement = body[..at].rsplit([';', '{', '}']).next().unwrap_or(body);
            statement.split_whitespace().any(|word| word == "match" || word.ends_with("(match"))
        }
        _ => false,
    }
}

/// Whether no bracket in a table spans more lines than an entry may have.
fn has_short_entries(table: &str) -> bool {
    table.char_indices().filter(|(_, c)| matches!(c, '{' | '[' | '(')).all(|(open, _)| {
        closing(table, open).is_some_and(|close| lines_in(&table[open..close]) <= LINES_PER_ENTRY)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        judge("a.rs", text, &[]).into_iter().map(|fault| fault.to_string()).collect()
    }

    fn function(lines: usize) -> String {
        format!(
            "/// Doc {{.\nfn long<'a>(x: [u8; 3]) -> &'a str {{\n{}}}\n",
            "    x();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn sixty_lines_are_the_most() {
        assert_eq!(faults(&function(60)), [""; 0]);
        assert_eq!(faults(&function(61)), ["a.rs:2: `long` has 61 lines, more than 60"]);
    }

    #[test]
    fn what_a_snapshot_expects_is_not_counted_and_a_comment_is() {
        let text = "    a\n".repeat(80);
        assert_eq!(faults(&format!("fn a() {{\n    b(r#\"\n{text}\"#);\n}}\n")), [""; 0]);
        let comments = "    // Words.\n".repeat(80);
        let faults = faults(&format!("fn a() {{\n{comments}}}\n"));
        assert_eq!(faults, ["a.rs:1: `a` has 82 lines, more than 60"]);
    }

    #[test]
    fn a_nested_function_and_a_method_are_counted_on_their_own() {
        let method = format!("impl A {{\n{}}}\n", function(61));
        assert_eq!(faults(&method), ["a.rs:3: `long` has 61 lines, more than 60"]);
    }

    #[test]
    fn declarations_and_function_types_are_no_functions() {
        let text = format!("trait A {{ fn a(&self); }}\ntype B = fn (u8);\n{}", "\n".repeat(100));
        assert_eq!(faults(&text), [""; 0]);
    }

    #[test]
    fn one_match_or_one_array_may_be_longer() {
        let arms = "        1 => 2,\n".repeat(80);
        let alone =
            format!("fn a(x: u8) -> u8 {{\n    use B::*;\n    match x {{\n{arms}    }}\n}}\n");
        assert_eq!(faults(&alone), [""; 0]);
        let bound =
            format!("fn a(x: u8) -> C {{\n    let b = match x {{\n{arms}    }};\n    C(b)\n}}\n");
        assert_eq!(faults(&bound), [""; 0]);
        let array =
            format!("fn a() -> D {{\n    D::from([\n{}    ])\n}}\n", "        1,\n".repeat(80));
        assert_eq!(faults(&array), [""; 0]);
    }

    #[test]
    fn a_procedure_cannot_hide_in_a_table_or_around_one() {
        let arm = format!("        1 => {{\n{}        }}\n", "            b();\n".repeat(15));
        let inside = format!("fn a(x: u8) {{\n    match x {{\n{}    }}\n}}\n", arm.repeat(5));
        assert_eq!(faults(&inside), ["a.rs:1: `a` has 89 lines, more than 60"]);
        let arms = "        1 => 2,\n".repeat(50);
        let calls = "    b();\n".repeat(10);
        let around = format!("fn a(x: u8) {{\n{calls}    match x {{\n{arms}    }}\n}}\n");
        assert_eq!(faults(&around), ["a.rs:1: `a` has 64 lines, more than 60"]);
        let no_table =
            format!("fn a() {{\n    loop {{\n{}    }}\n}}\n", "        b();\n".repeat(80));
        assert_eq!(faults(&no_table), ["a.rs:1: `a` has 84 lines, more than 60"]);
    }

    #[test]
    fn the_list_of_long_functions_may_only_shrink() {
        let of = |most| judge("a.rs", &function(70), &[("a.rs", "long", most)]);
        assert_eq!(of(70), []);
        assert!(of(71)[0].what.contains("has shrunk to 70 lines"));
        assert!(of(69)[0].what.contains("has 70 lines"));
    }
}
