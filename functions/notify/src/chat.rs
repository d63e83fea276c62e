//! What AWS's chat integration needs to show a message in a channel: the fields of a custom notification.

use serde_json::{Map, Value, json};

/// Characters of a title: those that a header of Slack takes.
///
/// Source: Slack developer documentation, "Header block": at most 150 characters.
const TITLE_CHARS: usize = 150;
/// Characters of a description: those that a section of Slack takes.
///
/// Source: Slack developer documentation, "Section block": a text of at most 3,000 characters.
const DESCRIPTION_CHARS: usize = 3_000;

/// The fields of a custom notification with this title and this text.
///
/// It has no `metadata`. With a `threadId` an event that is raised would be in the thread of its first alert, where the
/// channel does not show it.
///
/// Source: Amazon Q Developer in chat applications administrator guide, "Custom notifications": `version` is `1.0`,
/// `source` is `custom`, and `client-markdown` is the only `textType`.
#[must_use]
pub fn notification(title: &str, text: &str) -> Map<String, Value> {
    let content = json!({
        "textType": "client-markdown",
        "title": escaped(title, TITLE_CHARS),
        "description": escaped(text, DESCRIPTION_CHARS),
    });
    let fields = [("version", json!("1.0")), ("source", json!("custom")), ("content", content)];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A text without markup that could notify people, such as `<!channel>` or `<at>`, of at most so many characters.
fn escaped(text: &str, chars: usize) -> String {
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
        fn texts_notify_nobody_and_are_as_short_as_a_channel_takes(text in "[<>&a-z🚒\n]{0,400}|\\PC{0,200}", times in 1_usize..40) {
            let text = text.repeat(times);
            for most in [TITLE_CHARS, DESCRIPTION_CHARS] {
                let escaped = escaped(&text, most);
                prop_assert!(escaped.chars().count() <= most && !escaped.contains(['<', '>']));
                let plain = escaped.replace("&lt;", "<").replace("&gt;", ">");
                let given = text.replace("&lt;", "<").replace("&gt;", ">");
                prop_assert!(given.starts_with(plain.strip_suffix('…').unwrap_or(&plain)));
            }
        }
    }
}
