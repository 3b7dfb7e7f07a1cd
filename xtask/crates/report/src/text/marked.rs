//! Text from elsewhere within GitHub's Markdown: it shows as it is, and nothing of it is obeyed.
//!
//! Nothing becomes a tag, a table's border, a link, a mention or a reference to an issue. A
//! server's message may well name addresses, and a comment that calls people is not posted.

use super::one_line;

/// Longest word that a table's column is as wide as, in characters; longer ones may break.
const LONGEST_WORD: usize = 30;

/// Longest text that is shown as code, in characters: code does not break.
const LONGEST_CODE: usize = 40;

/// Where a long word may break, and where GitHub would find a link. Whoever copies the text does
/// not copy it.
const MAY_BREAK: &str = "<wbr>";

/// One line of Markdown, also within a table. What stands between backticks is shown as code, as
/// far as it is plain.
pub(crate) fn markdown(text: &str, longest: usize) -> String {
    let line = one_line(text, longest);
    let (mut shown, mut rest) = (String::new(), line.as_str());
    while let Some((before, after)) = rest.split_once('`') {
        push_words(&mut shown, before, in_markdown);
        let code = after.split_once('`');
        // Two backticks in a row would be one of another kind.
        match code.filter(|(code, next)| is_plain(code) && !next.starts_with('`')) {
            Some((code, next)) => {
                shown.extend(["`", code, "`"]);
                rest = next;
            }
            None => {
                shown.push_str("\\`");
                rest = after;
            }
        }
    }
    push_words(&mut shown, rest, in_markdown);
    shown
}

/// One line for the inside of a tag that begins its line, like `<summary>`: Markdown is not read
/// there.
pub(crate) fn in_tag(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    push_words(&mut shown, &one_line(text, longest), |word| entity(word.c));
    shown
}

fn is_plain(code: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:=,+%()".contains(c);
    !code.is_empty()
        && code.trim() == code
        && code.chars().count() <= LONGEST_CODE
        && code.chars().all(plain)
        && !code.contains("://")
}

/// A character and what stands beside it in its word.
#[derive(Clone, Copy)]
struct Letter<'a> {
    word: &'a str,
    before: Option<char>,
    c: char,
    after: Option<char>,
}

fn push_words(shown: &mut String, text: &str, escape: fn(Letter<'_>) -> Option<&'static str>) {
    for word in text.split_inclusive(' ') {
        let is_long = LONGEST_WORD < word.chars().count();
        let mut before = None;
        let mut rest = word.chars().peekable();
        while let Some(c) = rest.next() {
            let letter = Letter { word, before, c, after: rest.peek().copied() };
            match escape(letter) {
                Some(escaped) => shown.push_str(escaped),
                None => shown.push(c),
            }
            if letter.would_link() || is_long && letter.parts_a_word() {
                shown.push_str(MAY_BREAK);
            }
            before = Some(c);
        }
    }
}

/// What stands for a character that Markdown obeys.
fn in_markdown(letter: Letter<'_>) -> Option<&'static str> {
    let within_a_word = is_alphanumeric(letter.before) && is_alphanumeric(letter.after);
    match letter.c {
        '\\' => Some("\\\\"),
        '*' => Some("\\*"),
        '|' => Some("\\|"),
        '[' => Some("\\["),
        ']' => Some("\\]"),
        '~' => Some("\\~"),
        '$' => Some("\\$"),
        // Whoever looks for links need not know what is escaped.
        '(' if letter.before == Some(']') => Some("\\("),
        '_' if !within_a_word => Some("\\_"),
        c => entity(c),
    }
}

fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

impl Letter<'_> {
    /// Whether GitHub would take what ends here for the beginning of a link: an address, somebody's
    /// name or the number of an issue.
    fn would_link(self) -> bool {
        match self.c {
            ':' => self.after == Some('/'),
            'w' => self.after == Some('.') && self.word.contains("www."),
            '@' => {
                let (_, host) = self.word.rsplit_once('@').unwrap_or_default();
                let is_address = host.contains('.');
                is_alphanumeric(self.after) && (!is_alphanumeric(self.before) || is_address)
            }
            '#' => self.after.is_some_and(|after| after.is_ascii_digit()),
            _ => false,
        }
    }

    /// Whether a long word may break behind it. Browsers break behind a hyphen by themselves.
    fn parts_a_word(self) -> bool {
        matches!(self.c, '/' | '=' | ',') && is_alphanumeric(self.after)
    }
}

fn is_alphanumeric(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_shown_and_not_obeyed() {
        insta::assert_snapshot!(markdown("a|b <img> ![x](y) \\* __init__ a_b ~~c~~ $d$", 99), @r"a\|b &lt;img&gt; !\[x\]\(y) \\\* \_\_init\_\_ a_b \~\~c\~\~ \$d\$");
        insta::assert_snapshot!(in_tag("a|b <img> \\* `c`", 99), @r"a|b &lt;img&gt; \* `c`");
    }

    #[test]
    fn plain_text_between_backticks_is_code() {
        insta::assert_snapshot!(markdown("`ab --runs=3` or `a|b`, `<c>` and ` d `", 99), @r"`ab --runs=3` or \`a\|b\`, \`&lt;c&gt;\` and \` d \`");
        insta::assert_snapshot!(markdown("```e``f` `g", 99), @r"\`\`\`e\``f` \`g");
    }

    #[test]
    fn nothing_becomes_a_link_a_mention_or_a_reference() {
        insta::assert_snapshot!(markdown("see http://127.0.0.1:80 or www.example.org", 99), @"see http:<wbr>//127.0.0.1:80 or www<wbr>.example.org");
        insta::assert_snapshot!(markdown("@team a@b.org sim/smoke#1 native@0a1b", 99), @"@<wbr>team a@<wbr>b.org sim/smoke#<wbr>1 native@0a1b");
    }

    #[test]
    fn a_long_word_may_break() {
        insta::assert_snapshot!(markdown("vllm/Qwen/Qwen2.5-7B-Instruct/smoke on h100/a", 99), @"vllm/<wbr>Qwen/<wbr>Qwen2.5-7B-Instruct/<wbr>smoke on h100/a");
    }

    proptest! {
        #[test]
        fn whatever_comes_ends_no_cell_and_opens_no_tag(text in any::<String>()) {
            for shown in [markdown(&text, 200), in_tag(&text, 200)] {
                let tags = shown.replace(MAY_BREAK, "");
                prop_assert!(!tags.contains(['<', '\n']), "{shown}");
            }
            let shown = markdown(&text, 200);
            for (at, _) in shown.match_indices('|') {
                prop_assert!(shown[..at].ends_with('\\'), "{shown}");
            }
        }
    }
}
