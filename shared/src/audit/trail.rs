//! The trail: log lines with the status of each event, by which an event can be followed through the functions.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{audit::counts::Status, json, lambda::invocation::Invocation};

/// Bytes of ids in a line at most. Lambda logs up to 256 KiB of a line, and ids may need escapes.
///
/// Source: Lambda developer guide, "Sending Lambda function logs to CloudWatch Logs".
const LINE_BYTES: usize = 64 * 1024;
/// Characters of an id that are kept. An id is a name; anything longer may be a payload.
const ID_CHARS: usize = 128;

/// The ids of an invocation's events, by status.
#[derive(Debug, Default)]
pub struct Trail(BTreeMap<&'static str, Ids>);

/// Ids as JSON strings, separated by commas.
#[derive(Debug, Default)]
struct Ids {
    /// Ids of full lines.
    full: Vec<Vec<u8>>,
    /// Ids of the line that is being filled.
    open: Vec<u8>,
}

impl Trail {
    /// Records the status of the event with that id.
    pub fn record(&mut self, id: &str, status: &Status) {
        self.0.entry(status.name()).or_default().push(id);
    }

    /// Writes the lines to the log.
    pub fn log(&self, function: &str, invocation: &Invocation) {
        for line in self.lines(function, &invocation.request_id) {
            (invocation.log)(&line);
        }
    }

    /// The lines for the log, as JSON: one for each status, or more if there are too many ids.
    #[must_use]
    pub fn lines(&self, function: &str, request_id: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (status, Ids { full, open }) in &self.0 {
            for ids in full.iter().chain([open]) {
                let ids = String::from_utf8_lossy(ids);
                let (function, request_id) = (json!(function), json!(request_id));
                lines.push(format!(
                    r#"{{"level":"INFO","message":"events","function":{function},"request_id":{request_id},"status":"{status}","ids":[{ids}]}}"#
                ));
            }
        }
        lines
    }
}

impl Ids {
    fn push(&mut self, id: &str) {
        let end = match id.len() {
            // A text has at most as many characters as bytes.
            len @ ..=ID_CHARS => len,
            len => id.char_indices().nth(ID_CHARS).map_or(len, |(end, _)| end),
        };
        if self.open.len() + end > LINE_BYTES {
            self.full.push(std::mem::take(&mut self.open));
        }
        if !self.open.is_empty() {
            self.open.push(b',');
        }
        json::write_string(&id[..end], &mut self.open);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::data::{dataset::Dataset, event};

    fn trail(events: &[(&str, Status)]) -> Vec<Value> {
        let dataset = Dataset::named("us_accidents").unwrap();
        let mut trail = Trail::default();
        for (data, status) in events {
            if let Some(id) = event::id(&dataset, data.as_bytes()) {
                trail.record(&id, status);
            }
        }
        trail.lines("transform", "r-1").iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn ids_are_listed_under_their_status() {
        let lines = trail(&[
            (r#"{"ID":"A-1","Severity":2}"#, Status::Filtered),
            (r#"{"Severity":3,"ID":"A-2"}"#, Status::Delivered),
            (r#"{"ID":"A-3"}"#, Status::Failed("the stream is full".to_owned())),
            (r#"{"ID":"A-4"}"#, Status::Delivered),
        ]);
        let found: Vec<_> = lines.iter().map(|line| (&line["status"], &line["ids"])).collect();
        assert_eq!(
            found,
            [
                (&json!("delivered"), &json!(["A-2", "A-4"])),
                (&json!("failed"), &json!(["A-3"])),
                (&json!("filtered"), &json!(["A-1"])),
            ]
        );
        assert!(lines.iter().all(|line| line["request_id"] == "r-1" && line["function"] == "transform"));
    }

    #[test]
    fn nothing_but_the_id_is_written() {
        let lines = trail(&[(r#"{"ID":"A-1","Description":"secret"}"#, Status::Delivered)]);
        assert!(!lines[0].to_string().contains("secret"));
    }

    #[test]
    fn events_without_an_id_are_left_out() {
        assert_eq!(
            trail(&[("A-1", Status::Rejected), ("{}", Status::Rejected), (r#"{"ID":{}}"#, Status::Rejected)]),
            [] as [Value; 0]
        );
    }

    #[test]
    fn many_ids_take_several_lines_and_a_long_one_is_cut() {
        // An id with its quotes and comma takes 259 bytes, or 4.
        for (id, times, expected) in [
            ("ä".repeat(100_000), 1_000, vec![253, 253, 253, 241]),
            ("A".to_owned(), 16_386, vec![16_385, 1]),
        ] {
            let event = format!(r#"{{"ID":"{id}"}}"#);
            let lines = trail(&vec![(event.as_str(), Status::Delivered); times]);
            let counts: Vec<_> = lines.iter().map(|line| line["ids"].as_array().unwrap().len()).collect();
            assert_eq!(counts, expected);
            assert!(lines.iter().all(|line| line.to_string().len() < LINE_BYTES + 1_024));
            assert_eq!(lines[0]["ids"][0], id.chars().take(ID_CHARS).collect::<String>());
        }
    }
}
