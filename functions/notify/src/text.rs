//! Shortens texts to the limits of their readers: lines without control characters, subjects, and text messages.

/// Characters of a value in an alert; a longer one cannot be read at a glance.
pub const VALUE_CHARS: usize = 300;

/// UTF-16 units of a subject. The page says characters; in Java, which AWS uses, these are UTF-16 units.
///
/// Source: SNS API reference, `Publish`: less than 100 characters, without line breaks or control characters.
const SUBJECT_UNITS: usize = 99;

/// Septets of a text message of one part, if the GSM alphabet has all of its characters.
///
/// Source: AWS End User Messaging user guide, "SMS character limits".
const SMS_SEPTETS: usize = 160;

/// UTF-16 units of a text message of one part, if the GSM alphabet does not have one of its characters.
const SMS_UNITS: usize = 70;

/// The end of a shortened text message: the GSM alphabet has no `…`.
const SMS_CUT: &str = "...";

/// The characters of the GSM alphabet that count once, other than ASCII letters and digits.
///
/// Source: 3GPP TS 23.038, "GSM 7 bit Default Alphabet".
const GSM_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";

/// The characters of the GSM alphabet that count twice.
const GSM_EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// A value on one line, short enough to be read; `None` if it is blank.
#[must_use]
pub fn legible(text: &str) -> Option<String> {
    let line = text.replace(breaks_a_line, " ");
    let line = line.trim();
    (!line.is_empty()).then(|| cut(line, VALUE_CHARS, |_| 1))
}

/// Whether a character ends a line, or is refused by SNS and SQS because XML does not allow it.
///
/// Source: SQS API reference, `SendMessage`: `#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF`.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}')
}

/// A subject: one line of at most 99 UTF-16 units.
#[must_use]
pub fn subject(text: &str) -> String {
    cut(&text.replace(breaks_a_line, " "), SUBJECT_UNITS, char::len_utf16)
}

/// A text that fits into one SMS. Each part of a longer one is charged, and the parts can arrive out of order.
#[must_use]
pub fn sms(text: &str) -> String {
    let all_gsm: Option<usize> = text.chars().map(septets).sum();
    if all_gsm.is_some_and(|septets| septets <= SMS_SEPTETS) || text.encode_utf16().count() <= SMS_UNITS {
        return text.to_owned();
    }
    // The characters before the cut decide in which alphabet the text is sent.
    let in_gsm = prefix(text, SMS_SEPTETS - SMS_CUT.len(), septets);
    let in_utf16 = prefix(text, SMS_UNITS - SMS_CUT.len(), |c| Some(c.len_utf16()));
    let longest = if in_gsm.len() >= in_utf16.len() { in_gsm } else { in_utf16 };
    format!("{longest}{SMS_CUT}")
}

/// How much a character counts in the GSM alphabet; `None` if the alphabet does not have it.
fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || GSM_BASIC.contains(c) {
        return Some(1);
    }
    GSM_EXTENSION.contains(c).then_some(2)
}

/// The longest beginning of a text whose characters have a size, and at most `most` in total.
fn prefix(text: &str, most: usize, size: impl Fn(char) -> Option<usize>) -> &str {
    let mut left = most;
    for (at, c) in text.char_indices() {
        match size(c).and_then(|size| left.checked_sub(size)) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

/// A text that is shortened to end with `…`, which counts once, if it is longer than `most`.
pub(crate) fn cut(text: &str, most: usize, size: impl Fn(char) -> usize) -> String {
    if text.chars().map(&size).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut cut = prefix(text, most - 1, |c| Some(size(c))).to_owned();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of parts of a text message, counted as the sources define.
    fn parts(text: &str) -> usize {
        let gsm = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
                   ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
        let extension = "\u{c}^{}\\[~]|€";
        if text.chars().all(|c| gsm.contains(c) || extension.contains(c)) {
            let septets: usize = text.chars().map(|c| if gsm.contains(c) { 1 } else { 2 }).sum();
            return if septets <= 160 { 1 } else { septets.div_ceil(153) };
        }
        let units = text.encode_utf16().count();
        if units <= 70 { 1 } else { units.div_ceil(67) }
    }

    #[test]
    fn text_for_phones_counts_in_its_alphabet() {
        let n = |text: &str, n: usize| text.repeat(n);
        let cases = [
            (n("x", 160), n("x", 160)),
            (n("x", 161), n("x", 157) + "..."),
            (n("ñ", 160), n("ñ", 160)),
            (n("€", 80), n("€", 80)),
            (n("€", 81), n("€", 78) + "..."),
            (n("č", 70), n("č", 70)),
            (n("č", 71), n("č", 67) + "..."),
            (n("🚒", 35), n("🚒", 35)),
            (n("🚒", 36), n("🚒", 33) + "..."),
            // A character outside the GSM alphabet is after the cut.
            (n("x", 170) + "č", n("x", 157) + "..."),
            (n("x", 69) + "č", n("x", 69) + "č"),
            (n("x", 10) + "č" + &n("x", 100), n("x", 10) + "č" + &n("x", 56) + "..."),
        ];
        for (text, expected) in cases {
            assert_eq!(sms(&text), expected, "{text}");
        }
    }

    #[test]
    fn subject_is_one_line_of_99_utf16_units() {
        assert_eq!(subject(&"x".repeat(99)), "x".repeat(99));
        assert_eq!(subject(&"x".repeat(100)), "x".repeat(98) + "…");
        assert_eq!(subject(&"🚒".repeat(50)), "🚒".repeat(49) + "…");
        assert_eq!(subject("a\nb\u{2028}c\u{FFFE}d"), "a b c d");
    }

    #[test]
    fn value_has_no_character_that_sns_refuses() {
        assert_eq!(legible("a\u{FFFE}b\u{FFFF}c\td\r\ne\u{2029}f"), Some("a b c d  e f".to_owned()));
        assert_eq!(legible("\u{FFFF}\u{0}"), None);
        assert_eq!(legible(&"é".repeat(301)), Some("é".repeat(299) + "…"));
        assert_eq!(legible(&"é".repeat(300)), Some("é".repeat(300)));
    }

    proptest! {
        #[test]
        fn text_for_phones_is_one_part_and_as_long_as_can_be(
            text in "([ -~\n€^čñ🚒…]{0,60}|[a-z{}]{0,200}|\\PC{0,120})"
        ) {
            let sent = sms(&text);
            prop_assert_eq!(parts(&sent), 1, "{}", sent);
            if sent != text {
                let kept = sent.strip_suffix("...").unwrap();
                prop_assert!(text.starts_with(kept));
                prop_assert!(parts(&text) > 1);
                let next = text[kept.len()..].chars().next().unwrap();
                let longer = format!("{kept}{next}...");
                prop_assert!(parts(&longer) > 1);
            }
        }

        #[test]
        fn subjects_and_values_are_lines_that_sns_takes(text in "\\PC{0,400}|[\\x00-\\x20\u{FFFD}\u{FFFE}\u{FFFF}🚒]{0,200}") {
            let is_taken = |line: &str| !line.chars().any(breaks_a_line);
            let subject = subject(&text);
            prop_assert!(is_taken(&subject) && subject.encode_utf16().count() < 100);
            if let Some(value) = legible(&text) {
                prop_assert!(is_taken(&value) && !value.trim().is_empty() && value.chars().count() <= VALUE_CHARS);
            }
        }
    }
}
