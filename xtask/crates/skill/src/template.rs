//! Texts with placeholders: `Running benchmark against {framework}.`

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text to be shown as it is.
    Text(&'a str),
    /// The name of a placeholder, without its braces.
    Field(&'a str),
}

/// A template that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace has no partner.
    #[error("a `{{` or `}}` has no partner in `{0}`")]
    Unbalanced(String),
    /// A placeholder has no value.
    #[error("placeholder `{{{0}}}` is not known here")]
    Unknown(String),
}

/// The pieces of a template, in order.
///
/// # Errors
///
/// A brace without its partner.
pub fn pieces(template: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let unbalanced = || TemplateError::Unbalanced(template.to_owned());
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(opening) = rest.find(['{', '}']) {
        let (text, from_brace) = rest.split_at(opening);
        let field = from_brace.strip_prefix('{').ok_or_else(unbalanced)?;
        let (name, after) = field.split_once('}').ok_or_else(unbalanced)?;
        if name.contains('{') {
            return Err(unbalanced());
        }
        pieces.extend([Piece::Text(text), Piece::Field(name)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

/// A template with its placeholders replaced by what `value` gives for their names.
///
/// # Errors
///
/// A brace without its partner, or a placeholder that `value` does not know.
pub fn fill(
    template: &str,
    value: impl Fn(&str) -> Option<String>,
) -> Result<String, TemplateError> {
    let filled = pieces(template)?.into_iter().map(|piece| match piece {
        Piece::Text(text) => Ok(text.to_owned()),
        Piece::Field(name) => value(name).ok_or_else(|| TemplateError::Unknown(name.to_owned())),
    });
    filled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let value = |name: &str| (name == "a").then(|| "1".to_owned());
        assert_eq!(fill("x {a}{a}.", value).unwrap(), "x 11.");
        assert_eq!(fill("", value).unwrap(), "");
        assert_eq!(fill("{b}", value), Err(TemplateError::Unknown("b".to_owned())));
    }

    #[test]
    fn lonely_braces_are_refused() {
        for wrong in ["{", "}", "a } b", "{a", "{a{b}", "{a}}"] {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
    }
}
