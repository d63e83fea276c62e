//! What AWS's chat integration needs to show a message in a channel: the fields of a custom notification.

use serde_json::{Map, Value, json};

/// The most characters of a title, set by Slack's header block.
///
/// Source: Slack developer documentation, "Header block": at most 150 characters.
const TITLE_CHARS: usize = 150;
/// The most characters of a description, set by Slack's section block.
///
/// Source: Slack developer documentation, "Section block": a text of at most 3,000 characters.
const DESCRIPTION_CHARS: usize = 3_000;

/// The fields of a custom notification with this title and this text.
///
/// It has no `metadata`. With a `threadId`, the alert about a raised severity would go into the thread of the first
/// alert, where the channel does not show it.
///
/// Source: Amazon Q Developer in chat applications administrator guide, "Custom notifications": `version` is `1.0`,
/// `source` is `custom`, and `client-markdown` is the only `textType`.
#[must_use]
pub fn notification(title: &str, text: &str) -> Map<String, Value> {
    let content = json!({
        "textType": "client-markdown",
        "title": escape(title, TITLE_CHARS),
        "description": escape(text, DESCRIPTION_CHARS),
    });
    let fields = [("version", json!("1.0")), ("source", json!("custom")), ("content", content)];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Escapes markup that could notify people, such as `<!channel>` and `<at>`, and cuts the result to `chars` characters.
fn escape(text: &str, chars: usize) -> String {
    let size = |c| if matches!(c, '<' | '>') { "&lt;".len() } else { 1 };
    crate::text::cut(text, chars, size).replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notification_has_the_fields_that_chat_requires() {
        let expected = json!({"version": "1.0", "source": "custom", "content": {
            "textType": "client-markdown", "title": "a & b", "description": "c\n&lt;!channel&gt;"}});
        assert_eq!(Value::Object(notification("a & b", "c\n<!channel>")), expected);
    }

    proptest! {
        #[test]
        fn texts_notify_nobody_and_stay_within_the_limits_of_a_channel(text in "[<>&a-z🚒\n]{0,400}|\\PC{0,200}", times in 1_usize..40) {
            let text = text.repeat(times);
            for most in [TITLE_CHARS, DESCRIPTION_CHARS] {
                let escaped = escape(&text, most);
                prop_assert!(escaped.chars().count() <= most && !escaped.contains(['<', '>']));
                let plain = escaped.replace("&lt;", "<").replace("&gt;", ">");
                let given = text.replace("&lt;", "<").replace("&gt;", ">");
                prop_assert!(given.starts_with(plain.strip_suffix('…').unwrap_or(&plain)));
            }
        }
    }
}
