//! Text from elsewhere, made fit to print: servers and kernels write what they like into their
//! messages.

mod marked;

pub(crate) use marked::{in_tag, markdown};

/// Stands where text was cut off.
const CUT: char = '…';

/// What XML 1.0 can hold, without terminal escapes: line breaks and tabs stay.
pub fn printable(text: &str) -> String {
    without_escapes(text).chars().filter(|c| is_xml_char(*c)).collect()
}

/// On one line of at most `longest` characters.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let printable = printable(text);
    let words: Vec<&str> = printable.split_whitespace().collect();
    shortened(&words.join(" "), longest)
}

/// At most `longest` characters, the last of which says that there was more.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain([CUT]).collect()
}

/// HTML that shows the text as it is, in an element or a quoted attribute.
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Whether XML 1.0 allows the character. DEL and the C1 controls are allowed there, but terminals
/// obey them, so they go too.
pub(crate) fn is_xml_char(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        _ => !c.is_control(),
    }
}

/// The text without the sequences that colour a terminal, move its cursor or set its title.
fn without_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1B}' {
            skip_escape(&mut rest);
        } else {
            kept.push(c);
        }
    }
    kept
}

/// Skips what follows an escape character. An unfinished sequence of a control string loses the
/// rest of the text, as it would on a terminal.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        // `ESC [ … final byte`: a control sequence.
        Some('[') => {
            rest.find(|c| ('@'..='~').contains(c));
        }
        // `ESC ] … BEL` or `ESC ] … ESC \`: a control string.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            if rest.find(|c| matches!(c, '\u{7}' | '\u{1B}')) == Some('\u{1B}') {
                rest.next();
            }
        }
        // Two characters.
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_sequences_and_control_characters_go() {
        assert_eq!(printable("\u{1B}[1;31mred\u{1B}[0m\u{0}\u{8}\u{FFFF}!"), "red!");
        assert_eq!(printable("\u{1B}]0;title\u{7}a\u{1B}]8;;x\u{1B}\\b\u{1B}(c"), "abc");
        assert_eq!(printable("line\n\tnext\r\n"), "line\n\tnext\r\n");
    }

    #[test]
    fn one_line_is_one_line_of_bounded_length() {
        assert_eq!(one_line(" a\n  b\tc ", 10), "a b c");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("äöüß", 4), "äöüß");
    }

    #[test]
    fn html_is_shown_and_not_obeyed() {
        insta::assert_snapshot!(html("<a href=\"x\">'&'</a>"), @"&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_printable_and_bounded(text in any::<String>(), longest in 1..50_usize) {
            let line = one_line(&text, longest);
            prop_assert!(line.chars().count() <= longest);
            let breaking = ['\n', '\r', '\u{1B}'];
            prop_assert!(!line.contains(breaking));
            prop_assert!(printable(&text).chars().all(is_xml_char));
            let escaped = html(&text);
            let unsafe_characters = ['<', '>', '"', '\''];
            prop_assert!(!escaped.contains(unsafe_characters));
        }
    }
}
