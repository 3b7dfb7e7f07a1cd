//! Numbers as people read them. A number that is not known reads [`UNKNOWN`], never zero.

/// What stands where a number is not known.
pub(crate) const UNKNOWN: &str = "n/a";

/// With two decimals, as the Python tool prints.
pub(crate) fn two_decimals(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.2}"))
}

/// With three to four digits that mean something: `0.123`, `12.35`, `123.5`, `1235`.
pub(crate) fn readable(value: f64) -> String {
    format!("{value:.*}", decimals(value))
}

/// A mean and its spread, both with the decimals that suit the mean: `12.35 ± 0.04`.
pub(crate) fn with_spread(mean: f64, spread: f64) -> String {
    let decimals = decimals(mean);
    format!("{mean:.decimals$} ± {spread:.decimals$}")
}

/// As [`readable`], where it may be unknown.
pub(crate) fn readable_or_unknown(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), readable)
}

/// A change, given as a fraction, in percent with its sign: `+4.2 %`.
pub(crate) fn change(fraction: Option<f64>) -> String {
    let percent = |fraction| format!("{:+.1} %", fraction * 100.0);
    fraction.map_or_else(|| UNKNOWN.to_owned(), percent)
}

/// The mean of values; of none there is no mean.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    stats::samples::Samples::new(values.to_vec()).mean()
}

fn decimals(value: f64) -> usize {
    match value.abs() {
        size if size < 1.0 => 3,
        size if size < 100.0 => 2,
        size if size < 1000.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_size() {
        let shown: Vec<_> = [0.1234, 12.345, 123.45, 1234.5, -0.5].map(readable).into();
        assert_eq!(shown, ["0.123", "12.35", "123.5", "1234", "-0.500"]);
        assert_eq!(with_spread(123.45, 0.56), "123.5 ± 0.6");
    }

    #[test]
    fn the_unknown_is_no_zero() {
        assert_eq!((two_decimals(None), two_decimals(Some(0.0))), ("n/a".into(), "0.00".into()));
        assert_eq!((change(None), change(Some(0.042))), ("n/a".into(), "+4.2 %".into()));
        assert_eq!(readable_or_unknown(None), "n/a");
    }
}
