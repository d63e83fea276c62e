//! Cells: text written as JSON of its column's type, without guesses and without changed digits.

use crate::{
    data::{
        dataset::Type,
        time::{self, Date, DateOrder, Timestamp, Unreadable},
    },
    json::{reader::is_plain_number, write_string},
};

/// The text cannot be read as the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// Writes the cell `text` of a column of type `kind` as JSON to `out`.
///
/// Text is written exactly as it is; cells of other types are trimmed first. On error nothing is written.
pub fn write(kind: Type, text: &str, order: DateOrder, out: &mut Vec<u8>) -> Result<(), WrongType> {
    match kind {
        Type::String => write_string(text, out),
        Type::Int => write_integer(trim(text), out)?,
        Type::Double => write_double(trim(text), out)?,
        Type::Boolean => out.extend_from_slice(boolean(trim(text)).ok_or(WrongType)?.as_bytes()),
        Type::Timestamp => {
            let time = Timestamp::parse(trim(text), order).ok_or(WrongType)?;
            out.push(b'"');
            time.write_iso(out);
            out.push(b'"');
        }
        Type::Date => write_date(trim(text), order, out)?,
        Type::TimestampOrDate => {
            // A day stays a day, without an invented midnight.
            if write(Type::Timestamp, text, order, out).is_err() {
                write_date(trim(text), order, out)?;
            }
        }
    }
    Ok(())
}

/// Whether a trimmed cell means the same in both date orders, so that no order need be declared.
#[must_use]
pub fn needs_no_order(kind: Type, text: &str) -> bool {
    match kind {
        Type::String | Type::Int | Type::Double | Type::Boolean => true,
        Type::Timestamp => Timestamp::needs_no_order(text),
        Type::Date => Date::needs_no_order(text),
        Type::TimestampOrDate => Timestamp::needs_no_order(text) || Date::needs_no_order(text),
    }
}

/// Why a trimmed cell of a column of times or days cannot be read. Nothing if it can, or if the column holds neither.
#[must_use]
pub fn explain(kind: Type, text: &str, order: DateOrder) -> Option<Unreadable> {
    match kind {
        Type::String | Type::Int | Type::Double | Type::Boolean => None,
        Type::Timestamp => time::explain(text, order),
        Type::Date => time::explain_date(text, order),
        Type::TimestampOrDate => match time::explain(text, order) {
            Some(Unreadable::DayOnly) => time::explain_date(text, order),
            reason => reason,
        },
    }
}

/// A whole number of 64 bits: digits with an optional sign, and a fraction of zeros only (`3.0` is 3).
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let digits = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    digits.parse().ok()
}

/// The text without blanks around it. Nearly all cells have none, so their first and last bytes are checked first.
#[must_use]
pub fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

fn boolean(text: &str) -> Option<&'static str> {
    match text {
        "True" | "true" | "1" => Some("true"),
        "False" | "false" | "0" => Some("false"),
        _ if text.eq_ignore_ascii_case("true") => Some("true"),
        _ if text.eq_ignore_ascii_case("false") => Some("false"),
        _ => None,
    }
}

fn write_date(text: &str, order: DateOrder, out: &mut Vec<u8>) -> Result<(), WrongType> {
    let date = Date::parse(text, order).ok_or(WrongType)?;
    out.push(b'"');
    date.write_iso(out);
    out.push(b'"');
    Ok(())
}

fn write_integer(text: &str, out: &mut Vec<u8>) -> Result<(), WrongType> {
    let number = integer(text).ok_or(WrongType)?;
    out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

/// Writes a finite number with the digits that it has. Only forms that JSON does not allow are corrected (`+5`, `.5`,
/// `5.`, `007`).
fn write_double(text: &str, out: &mut Vec<u8>) -> Result<(), WrongType> {
    // A number of up to 308 digits is finite.
    if text.len() <= 308 && is_plain_number(text) {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(WrongType);
    }
    if let Some(exponent) = exponent {
        let exponent = exponent[1..].strip_prefix(['+', '-']).unwrap_or(&exponent[1..]);
        if exponent.is_empty() || !digits(exponent) {
            return Err(WrongType);
        }
    }
    // A number of up to 308 digits without an exponent is finite; the parser decides about others.
    if exponent.is_some() || whole.len() > 308 {
        text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or(WrongType)?;
    }
    if negative {
        out.push(b'-');
    }
    match whole.trim_start_matches('0') {
        "" => out.push(b'0'),
        whole => out.extend_from_slice(whole.as_bytes()),
    }
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(exponent.unwrap_or_default().as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(kind: Type, text: &str) -> Option<String> {
        let mut out = Vec::new();
        let result = write(kind, text, DateOrder::Mdy, &mut out);
        assert_eq!(result.is_err(), out.is_empty(), "an error writes nothing");
        result.ok().map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in ["39.928059000000005", "45", "58.0", "-83.09286", "0.0", "-0.0", "1e5", "2.50E-7", "0"] {
            assert_eq!(typed(Type::Double, text).as_deref(), Some(text));
        }
    }

    #[test]
    fn numbers_in_other_forms_become_json_of_the_same_value() {
        let cases =
            [("+5", "5"), (".5", "0.5"), ("5.", "5"), ("007", "7"), ("-00.10", "-0.10"), (" 58.0 ", "58.0")];
        for (text, expected) in cases {
            assert_eq!(typed(Type::Double, text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_number_is_not_typed() {
        for text in [
            "", ".", "-", "abc", "NaN", "inf", "1e999", "1e", "1,000", "0x10", "1 2", "1_000", "٣", "--1",
            "+-1",
        ] {
            assert_eq!(typed(Type::Double, text), None, "{text}");
        }
        assert_eq!(typed(Type::Double, &"9".repeat(400)), None);
    }

    #[test]
    fn integers_may_have_a_fraction_of_zeros() {
        for (text, expected) in
            [("3", "3"), ("3.0", "3"), (" 4 ", "4"), ("-2.000", "-2"), ("+1", "1"), ("007", "7")]
        {
            assert_eq!(typed(Type::Int, text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "3.5", "high", "3.", ".0", "3e0", "9223372036854775808", "3,0"] {
            assert_eq!(typed(Type::Int, text), None, "{text}");
        }
    }

    #[test]
    fn booleans_are_read_in_any_case() {
        for (text, expected) in
            [("True", "true"), ("FALSE", "false"), ("1", "true"), ("0", "false"), (" true ", "true")]
        {
            assert_eq!(typed(Type::Boolean, text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yes", "2", "t", "0.0"] {
            assert_eq!(typed(Type::Boolean, text), None, "{text}");
        }
    }

    #[test]
    fn text_is_not_changed() {
        let text = " Forest \"Ridge\" \\t Dr\t\r\n\u{0}\u{1f}\u{a0}Doña Ana \u{2028}";
        let written = typed(Type::String, text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        assert_eq!(written, serde_json::to_string(text).unwrap());
    }

    #[test]
    fn times_are_written_as_iso_8601() {
        assert_eq!(typed(Type::Timestamp, " 2/8/2016 0:37 ").as_deref(), Some("\"2016-02-08T00:37:00\""));
        assert_eq!(typed(Type::Timestamp, "45:00.0"), None);
        assert_eq!(typed(Type::Timestamp, "2/8/2016"), None, "no midnight is invented");
    }

    #[test]
    fn days_are_written_without_a_time() {
        for kind in [Type::Date, Type::TimestampOrDate] {
            assert_eq!(typed(kind, " 2/8/2016 ").as_deref(), Some("\"2016-02-08\""));
            assert_eq!(typed(kind, "2016-02-08").as_deref(), Some("\"2016-02-08\""));
            assert_eq!(typed(kind, "42408.0257"), None);
        }
        let noon = "2/8/2016 12:00";
        assert_eq!(typed(Type::Date, noon), None, "the time would be lost");
        assert_eq!(typed(Type::TimestampOrDate, noon).as_deref(), Some("\"2016-02-08T12:00:00\""));
        let midnight = "2016-02-08 00:00:00";
        assert_eq!(typed(Type::Date, midnight).as_deref(), Some("\"2016-02-08\""));
        assert_eq!(typed(Type::TimestampOrDate, midnight).as_deref(), Some("\"2016-02-08T00:00:00\""));
    }

    #[test]
    fn a_cell_is_explained_as_its_column_needs() {
        let explained = |kind, text| explain(kind, text, DateOrder::Mdy);
        for (text, timestamp, date, either) in [
            ("2/8/2016", Some(Unreadable::DayOnly), None, None),
            (
                "13/8/2016",
                Some(Unreadable::DayOnly),
                Some(Unreadable::OtherOrder),
                Some(Unreadable::OtherOrder),
            ),
            ("2/8/2016 0:37", None, Some(Unreadable::DayAndTime), None),
            (
                "13/8/2016 0:37",
                Some(Unreadable::OtherOrder),
                Some(Unreadable::DayAndTime),
                Some(Unreadable::OtherOrder),
            ),
            (
                "42408",
                Some(Unreadable::SerialNumber),
                Some(Unreadable::SerialNumber),
                Some(Unreadable::SerialNumber),
            ),
        ] {
            assert_eq!(explained(Type::Timestamp, text), timestamp, "{text}");
            assert_eq!(explained(Type::Date, text), date, "{text}");
            assert_eq!(explained(Type::TimestampOrDate, text), either, "{text}");
        }
        assert_eq!(explained(Type::Int, "x"), None);
    }
}
