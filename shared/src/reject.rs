//! Rejects: what could not be placed, kept with the reason and with all that is needed to send it again.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    delivery::{self, Order, Outcome, Service, Terms},
    time::{DateOrder, stamp},
};

/// Bytes of a payload in one reject record. JSON escapes make a byte six at worst, so that the record stays
/// below the 1,000 KiB that Firehose takes; longer payloads come in parts.
const PART_BYTES: usize = 160 * 1024;

/// A row or record that is refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The function that refused it.
    pub function: &'static str,
    /// A short stable code.
    pub reason: &'static str,
    /// A sentence that says what is wrong and what would be right.
    pub detail: String,
    /// Object key and line, or stream, shard and sequence number.
    pub source: String,
    /// The row or record as it came.
    pub payload: Bytes,
    /// What else is needed to read a row of a file again.
    pub file: Option<FileContext>,
}

/// How the file was read that a row came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileContext {
    /// `csv`, `ndjson` or `json`.
    pub format: &'static str,
    /// The header line of a CSV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The date order that was declared.
    pub date_order: DateOrder,
}

/// The columns of the rejects table: name, type in Glue, and what it holds.
pub const COLUMNS: [(&str, &str, &str); 12] = [
    ("rejected_at", "string", "When it was rejected, UTC, microseconds."),
    ("function", "string", "Function that rejected it: ingest, transform, metrics or notify."),
    ("reason", "string", "Short stable code of what is wrong."),
    ("detail", "string", "A sentence that says what is wrong, where, and what would be right."),
    ("source", "string", "Object key and line, or stream, shard and sequence number."),
    ("payload", "string", "The payload as it came."),
    ("payload_base64", "string", "The payload in base64 where it is not UTF-8."),
    ("format", "string", "Format of the file that the row stood in."),
    ("header", "string", "Header line of the CSV file that the row stood in."),
    ("date_order", "string", "Date order that the file was declared with."),
    ("part", "int", "Number of this part, from 1, of a payload too large for one record."),
    ("parts", "int", "Parts that the payload was cut into."),
];

/// A reject as it stands in the rejects table.
#[derive(Serialize)]
struct Line<'a> {
    rejected_at: &'a str,
    function: &'a str,
    reason: &'a str,
    detail: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(flatten)]
    file: &'a Option<FileContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
}

impl Reject {
    /// The JSON lines of the reject: one, or as many as its payload needs.
    #[must_use]
    pub fn encode(&self, rejected_at: DateTime<Utc>) -> Vec<Bytes> {
        let text = std::str::from_utf8(&self.payload).ok();
        let pieces = pieces(&self.payload, text);
        let rejected_at = stamp(rejected_at);
        let parts = (pieces.len() > 1).then_some(pieces.len());
        let encode = |(part, piece): (usize, &[u8])| {
            let line = Line {
                rejected_at: &rejected_at,
                function: self.function,
                reason: self.reason,
                detail: &self.detail,
                source: &self.source,
                // A piece of text is cut at a character, so that it is text itself.
                payload: text.and(std::str::from_utf8(piece).ok()),
                payload_base64: text.is_none().then(|| base64_simd::STANDARD.encode_to_string(piece)),
                file: &self.file,
                part: parts.map(|_| part + 1),
                parts,
            };
            let mut json = serde_json::to_vec(&line).unwrap_or_else(|error| unreachable!("{error}"));
            json.push(b'\n');
            Bytes::from(json)
        };
        pieces.into_iter().enumerate().map(encode).collect()
    }
}

/// The payload in pieces of at most `PART_BYTES`; those of a text end at a character.
fn pieces<'a>(payload: &'a [u8], text: Option<&str>) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while payload.len() - start > PART_BYTES {
        let end = text.map_or(start + PART_BYTES, |text| text.floor_char_boundary(start + PART_BYTES));
        pieces.push(&payload[start..end]);
        start = end;
    }
    pieces.push(&payload[start..]);
    pieces
}

/// What became of the rejects.
#[must_use]
#[derive(Debug, Default)]
pub struct Written {
    /// For each reject, the sentence that says why it could not be written, if so.
    pub failures: Vec<Option<String>>,
    /// How many times an entry was sent again.
    pub resent: u64,
}

/// Writes rejects to the rejects delivery stream.
pub async fn write<S: Service<Entry = Bytes>>(
    service: &S,
    rejects: &[Reject],
    rejected_at: DateTime<Utc>,
    terms: Terms,
) -> Written {
    let lines: Vec<Vec<Bytes>> = rejects.iter().map(|reject| reject.encode(rejected_at)).collect();
    let entries: Vec<Bytes> = lines.iter().flatten().cloned().collect();
    let report = delivery::deliver(service, &entries, Order::Free, terms).await;
    let mut outcomes = report.outcomes.into_iter();
    let failures = lines
        .iter()
        .map(|parts| {
            let failures = outcomes.by_ref().take(parts.len()).filter_map(|outcome| match outcome {
                Outcome::Delivered => None,
                Outcome::Failed(why) | Outcome::Unacceptable(why) => Some(why),
            });
            failures.last()
        })
        .collect();
    Written { failures, resent: report.resent }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reject(payload: impl Into<Bytes>) -> Reject {
        Reject {
            function: "ingest",
            reason: "cell_count",
            detail: "the row has 3 cells where the header has 4".to_owned(),
            source: "inbox/a.csv:7".to_owned(),
            payload: payload.into(),
            file: None,
        }
    }

    fn lines(reject: &Reject) -> Vec<Value> {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        reject.encode(at).iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn a_reject_holds_all_that_is_needed_to_send_the_row_again() {
        let file =
            FileContext { format: "csv", header: Some("ID,Severity".into()), date_order: DateOrder::Mdy };
        let reject = Reject { file: Some(file), ..reject("A-1,\"x\"") };
        assert_eq!(
            lines(&reject),
            [
                json!({"rejected_at": "2023-11-14T22:13:20.000000Z", "function": "ingest", "reason": "cell_count",
                "detail": "the row has 3 cells where the header has 4", "source": "inbox/a.csv:7",
                "payload": "A-1,\"x\"", "format": "csv", "header": "ID,Severity", "date_order": "mdy"})
            ]
        );
    }

    #[test]
    fn the_table_has_a_column_for_everything_that_a_reject_may_hold() {
        let file = FileContext { format: "csv", header: Some("ID".into()), date_order: DateOrder::Mdy };
        let text = Reject { file: Some(file), ..reject("x".repeat(PART_BYTES + 1)) };
        let bytes = reject(&b"\xff"[..]);
        let mut keys: Vec<_> = [lines(&text), lines(&bytes)]
            .concat()
            .iter()
            .flat_map(|line| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
            .collect();
        keys.sort();
        keys.dedup();
        let mut columns = COLUMNS.map(|(name, _, _)| name);
        columns.sort_unstable();
        assert_eq!(keys, columns);
    }

    #[test]
    fn a_payload_that_is_not_utf_8_is_kept_as_base64() {
        let line = &lines(&reject(&b"\xff\x00"[..]))[0];
        assert_eq!(line["payload_base64"], "/wA=");
        assert_eq!(line.get("payload"), None);
    }

    #[test]
    fn a_payload_above_the_limit_comes_in_parts_that_each_fit() {
        let text = "\u{1}ñ".repeat(PART_BYTES);
        let reject = reject(text.clone());
        assert!(reject.encode(DateTime::default()).iter().all(|line| line.len() <= 1_000 * 1024));
        let lines = lines(&reject);
        let whole: String = lines.iter().map(|line| line["payload"].as_str().unwrap()).collect();
        assert_eq!(whole, text);
        let parts: Vec<_> = lines
            .iter()
            .map(|line| (line["part"].as_u64().unwrap(), line["parts"].as_u64().unwrap()))
            .collect();
        assert_eq!(parts, [(1, 4), (2, 4), (3, 4), (4, 4)]);
    }
}
