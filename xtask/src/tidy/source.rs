//! Rust source with everything blanked that is no code, so that a search finds code only.

/// `text` with comments, strings and characters replaced by spaces. Line breaks stay, so every
/// line keeps its number, and every byte its position.
///
/// It knows as much of the language as that takes: nested comments, raw and byte strings, and
/// that `'a` is a lifetime while `'a'` is a character.
pub(super) fn blanked(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let length = skip(rest, out.chars().next_back());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(length);
            out.extend(gone.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    out
}

/// The bytes of the comment or literal that `rest` begins with; 0 if it begins with code.
fn skip(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix);
        !in_a_word && after.is_some_and(|after| after.starts_with(['"', '\'', '#']))
    });
    let prefix = prefix.unwrap_or("");
    let literal = &rest[prefix.len()..];
    let length = if prefix.ends_with('r') {
        raw_string(literal)
    } else if literal.starts_with('"') {
        quoted(literal, '"')
    } else if literal.starts_with('\'') {
        character(literal)
    } else {
        0
    };
    if length == 0 { 0 } else { prefix.len() + length }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `"…"`, `#"…"#` and so on; `#name` is a raw identifier, not a string.
fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    if !text[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 1;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

/// A literal from quote to quote, with escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let out = blanked(text);
        assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{text}");
        assert_eq!(out.len(), text.len(), "{text}");
        assert_eq!(out.lines().count(), text.lines().count(), "{text}");
    }

    #[test]
    fn comments_go_and_code_stays() {
        check("a // {\nb", "a b");
        check("a /* { /* } */ { */ b", "a b");
    }

    #[test]
    fn strings_of_every_kind_go() {
        check(r#"a("{", "\"{", b"{", c"{")"#, "a( , , , )");
        check("a(r\"{\\\", r#\"{\"}\"#, br##\"\"#{\"##)", "a( , , )");
        check("\"two\nlines {\" b", "b");
        check("\"ä{\" b", "b");
    }

    #[test]
    fn a_lifetime_is_no_character() {
        check("fn a<'b>(c: &'b str) { '{'; '\\''; b'}' }", "fn a<'b>(c: &'b str) { ; ; }");
    }

    #[test]
    fn a_raw_identifier_is_no_string_and_a_name_may_end_like_a_prefix() {
        check("r#fn bar", "r#fn bar");
        check("for x in var\"{\" b", "for x in var b");
    }
}
