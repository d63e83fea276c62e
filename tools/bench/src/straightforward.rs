//! The same work as a first version would do it: with the crate's event types, `serde_json::Value`, a CSV reader and
//! `chrono`.

use std::{collections::HashMap, hint::black_box};

use aws_lambda_events::event::kinesis::KinesisEvent;
use chrono::NaiveDateTime;
use serde_json::{Map, Value, json};
use shared::data::dataset::{Dataset, Type};

use crate::floor::csv_rows;

type Outcome = Result<u64, Box<dyn std::error::Error>>;

/// Entries in one request to Kinesis and Firehose.
const REQUEST: usize = 500;

/// Divides the entries into requests.
fn send<T>(entries: &[T], most: usize) {
    entries.chunks(most).for_each(|request| {
        black_box(request);
    });
}

fn severity(event: &Value) -> i64 {
    match &event["Severity"] {
        Value::String(text) => text.parse().unwrap_or_default(),
        value => value.as_i64().unwrap_or_default(),
    }
}

/// Writes severe events and analytical records of a batch; returns how many were severe.
pub(crate) fn transform(dataset: &Dataset, event: &[u8]) -> Outcome {
    let event: KinesisEvent = serde_json::from_slice(event)?;
    let (mut severe, mut analytical) = (Vec::new(), Vec::new());
    for record in event.records {
        let event: Value = serde_json::from_slice(&record.kinesis.data.0)?;
        if severity(&event) <= 2 {
            continue;
        }
        let projection = json!({
            "ID": event["ID"], "Severity": event["Severity"], "City": event["City"], "County": event["County"],
            "Txn_Timestamp": event["Txn_Timestamp"],
        });
        let county = event["County"].as_str().unwrap_or_default().to_owned();
        severe.push((county, line(&projection)?));
        let mut row = Map::new();
        for column in &dataset.columns {
            let Some(value) = event.get(&column.name) else { continue };
            let value = match (column.kind, value) {
                (Type::Timestamp, Value::String(text)) => {
                    Value::from(text.replace('T', " ").trim_end_matches('Z'))
                }
                (_, value) => value.clone(),
            };
            row.insert(column.column.clone(), value);
        }
        analytical.push(line(&Value::from(row))?);
    }
    send(&severe, REQUEST);
    send(&analytical, REQUEST);
    Ok(severe.len() as u64)
}

fn line(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Counts by second, severity, city and county; returns how many events were counted.
pub(crate) fn metrics(event: &[u8]) -> Outcome {
    let event: KinesisEvent = serde_json::from_slice(event)?;
    let mut counts: HashMap<(i64, String, String, String), u64> = HashMap::new();
    for record in event.records {
        let event: Value = serde_json::from_slice(&record.kinesis.data.0)?;
        let severity = severity(&event);
        if severity <= 2 {
            continue;
        }
        let second = chrono::DateTime::parse_from_rfc3339(text(&event, "Txn_Timestamp"))?.timestamp();
        let key = (
            second,
            severity.to_string(),
            text(&event, "City").to_owned(),
            text(&event, "County").to_owned(),
        );
        *counts.entry(key).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().collect();
    send(&counts, 1_000);
    Ok(counts.iter().map(|(_, count)| count).sum())
}

fn text<'v>(event: &'v Value, name: &str) -> &'v str {
    event[name].as_str().unwrap_or_default()
}

/// Writes one message for each event of severity 4; returns their number.
pub(crate) fn notify(event: &[u8]) -> Outcome {
    let event: KinesisEvent = serde_json::from_slice(event)?;
    let mut messages = Vec::new();
    for record in event.records {
        let event: Value = serde_json::from_slice(&record.kinesis.data.0)?;
        let severity = severity(&event);
        if severity <= 3 {
            continue;
        }
        let (city, county) = (text(&event, "City"), text(&event, "County"));
        let subject = format!("Severity {severity} accident in {city}, {county}");
        let words = format!("A severity {severity} accident was reported in {city}, {county}.");
        let machine = json!({
            "dataset": "us_accidents", "count": 1, "ids": [event["ID"]], "severity": severity, "city": city,
            "county": county, "at": event["Txn_Timestamp"], "text": words,
        })
        .to_string();
        let message = json!({
            "default": words, "email": words, "sms": words, "sqs": machine, "lambda": machine, "http": machine,
            "https": machine, "firehose": machine,
        })
        .to_string();
        let attributes: Vec<(&str, String)> = vec![
            ("severity", severity.to_string()),
            ("city", city.to_owned()),
            ("county", county.to_owned()),
            ("id", text(&event, "ID").to_owned()),
        ];
        messages.push((subject, message, attributes));
    }
    send(&messages, 10);
    Ok(messages.len() as u64)
}

/// Types the events of a CSV; returns their number.
pub(crate) fn csv(dataset: &Dataset, text: &[u8], received: &str) -> Outcome {
    let mut headers: Vec<String> = Vec::new();
    let mut events = Vec::new();
    csv_rows(text, |cells, ends| {
        let cells = String::from_utf8(cells.to_vec())?;
        let begins = std::iter::once(&0).chain(ends);
        let cells = begins.zip(ends).map(|(begin, end)| &cells[*begin..*end]);
        if headers.is_empty() {
            headers = cells.map(str::to_owned).collect();
            return Ok(());
        }
        let mut event = Map::new();
        for (name, cell) in headers.iter().zip(cells) {
            if cell.is_empty() {
                continue;
            }
            let kind = dataset.column(name).map_or(Type::String, |column| dataset.columns[column].kind);
            let value = match kind {
                // The measured rows have no columns of days.
                Type::String | Type::Date | Type::TimestampOrDate => Value::from(cell),
                Type::Int => Value::from(cell.parse::<i64>()?),
                Type::Double => Value::from(cell.parse::<f64>()?),
                Type::Boolean => Value::from(cell.eq_ignore_ascii_case("true")),
                Type::Timestamp => {
                    let time = NaiveDateTime::parse_from_str(cell, "%Y-%m-%d %H:%M:%S%.f")?;
                    Value::from(time.format("%Y-%m-%dT%H:%M:%S").to_string())
                }
            };
            event.insert(name.clone(), value);
        }
        event.insert("Txn_Timestamp".to_owned(), received.into());
        let id = event["ID"].as_str().unwrap_or_default().to_owned();
        events.push((id, line(&Value::from(event))?));
        Ok(())
    })?;
    send(&events, REQUEST);
    Ok(events.len() as u64)
}

/// Stamps the events of JSON rows; returns their number.
pub(crate) fn json(
    rows: impl Iterator<Item = Result<Map<String, Value>, serde_json::Error>>,
    received: &str,
) -> Outcome {
    let mut events = Vec::new();
    for row in rows {
        let mut event = row?;
        event.insert("Txn_Timestamp".to_owned(), received.into());
        let id = event["ID"].as_str().unwrap_or_default().to_owned();
        events.push((id, line(&Value::from(event))?));
    }
    send(&events, REQUEST);
    Ok(events.len() as u64)
}
