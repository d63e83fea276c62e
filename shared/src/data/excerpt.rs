//! Excerpts of a sender's text for errors: a few characters on one line, whatever was sent.

use std::borrow::Cow;

/// Characters of an excerpt at most.
const CHARS: usize = 40;

/// The beginning of a text, for an error that must name it.
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    let end = text.char_indices().nth(CHARS).map(|(at, _)| at);
    let begin = &text[..end.unwrap_or(text.len())];
    if end.is_none() && !begin.contains(char::is_control) {
        return Cow::Borrowed(begin);
    }
    let mut shown = begin.replace(char::is_control, "\u{fffd}");
    if end.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_on_one_line_and_cut() {
        assert_eq!(excerpt("dateOrder"), "dateOrder");
        assert_eq!(excerpt("a\nb\u{0}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(excerpt(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
        assert_eq!(excerpt(&"é".repeat(40)), "é".repeat(40));
    }
}
