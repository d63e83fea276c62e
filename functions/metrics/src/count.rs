//! Extracts what to count from an event: its second and the values of its dimensions, as CloudWatch accepts them.

use chrono::{DateTime, TimeDelta, Utc};
use shared::data::{
    dataset::Dataset,
    decision::{self, Decision},
    dimension::dimension,
    event,
};

/// How far back and ahead CloudWatch accepts a datum.
///
/// Source: CloudWatch API reference, `MetricDatum`.
const TIMES: (TimeDelta, TimeDelta) = (TimeDelta::weeks(2), TimeDelta::hours(2));
/// The distance that an event keeps from either end. Its datum is in the full second before it, and may be sent at the
/// end of the longest invocation. CloudWatch's clock differs, and it refuses a whole request for one datum that is too
/// old.
///
/// Source: Lambda developer guide, "Lambda quotas": a function runs for at most 900 seconds.
const MARGIN: TimeDelta = TimeDelta::minutes(16);

/// One count: the time of receipt, and the values of the data set's dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct One {
    /// When it was received.
    pub at: DateTime<Utc>,
    /// The values.
    pub values: Vec<String>,
}

/// What to count for the event in `data` at `now`, if the stream received the event at `arrived`.
#[must_use]
pub fn count(
    dataset: &Dataset,
    above: i64,
    data: &[u8],
    arrived: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Decision<One> {
    let reject = |reason, detail| Decision::Reject { reason, detail };
    let text = event::text(data);
    decision::severe(dataset, above, &text).and_then(|(event, severity)| {
        let at = event.instant(dataset.received_at).unwrap_or(arrived);
        if at < now - TIMES.0 + MARGIN || at > now + TIMES.1 - MARGIN {
            let detail = format!(
                "the event's time, {at}, is not within the two weeks back and two hours ahead that CloudWatch takes, \
                 less {} minutes at either end",
                MARGIN.num_minutes()
            );
            return reject("outside_metric_times", detail);
        }
        let value = |(_, column): &(String, usize)| match *column {
            column if column == dataset.severity => dimension(&dataset.severities.text(severity)),
            column => dimension(&event.cell(column).into_text()),
        };
        Decision::Output(One { at, values: dataset.metric.dimensions.iter().map(value).collect() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_671_857_637 + seconds, 0).unwrap()
    }

    fn counted(json: &str) -> Decision<One> {
        let dataset = Dataset::named("us_accidents").unwrap();
        count(&dataset, 2, json.as_bytes(), at(60), at(61))
    }

    fn one(seconds: i64, values: [&str; 3]) -> Decision<One> {
        Decision::Output(One { at: at(seconds), values: values.map(str::to_owned).to_vec() })
    }

    #[test]
    fn event_counts_in_its_second_under_its_dimensions() {
        let json = r#"{"ID":"A-1","Severity":3,"City":"Dublin","County":"Franklin","Txn_Timestamp":"2022-12-24T04:53:57.450051Z"}"#;
        let stamped = |values: [&str; 3]| {
            Decision::Output(One {
                at: at(0) + TimeDelta::microseconds(450_051),
                values: values.map(str::to_owned).to_vec(),
            })
        };
        assert_eq!(counted(json), stamped(["3", "Dublin", "Franklin"]));
        assert_eq!(counted(&json.replace(":3", ":\"4.0\"")), stamped(["4", "Dublin", "Franklin"]));
        assert_eq!(counted(&json.replace(":3", ":2")), Decision::Nothing);
    }

    #[test]
    fn event_without_a_time_counts_when_the_stream_received_it() {
        assert_eq!(counted(r#"{"ID":"A-1","Severity":3,"City":null}"#), one(60, ["3", "unknown", "unknown"]));
        assert_eq!(
            counted(r#"{"ID":"A-1","Severity":3,"Txn_Timestamp":"45:00.0"}"#),
            one(60, ["3", "unknown", "unknown"])
        );
    }

    #[test]
    fn event_keeps_a_distance_from_the_limits_of_cloudwatch() {
        let now = at(61);
        let times = [
            (now - TimeDelta::weeks(2) + MARGIN, true),
            (now - TimeDelta::weeks(2) + MARGIN - TimeDelta::milliseconds(1), false),
            (now + TimeDelta::hours(2) - MARGIN, true),
            (now + TimeDelta::hours(2) - MARGIN + TimeDelta::milliseconds(1), false),
        ];
        for (time, expected) in times {
            let json = format!(
                r#"{{"ID":"A-1","Severity":3,"Txn_Timestamp":"{}"}}"#,
                shared::data::time::stamp(time)
            );
            let is_counted = matches!(counted(&json), Decision::Output(_));
            assert_eq!(is_counted, expected, "{time}");
        }
        // The longest invocation sends the datum at its end, in the second before.
        let longest = TimeDelta::seconds(900);
        assert!(MARGIN >= longest + TimeDelta::seconds(1));
    }

    #[test]
    fn event_that_cloudwatch_would_refuse_is_a_reject() {
        for (json, expected) in [
            ("nope", "not_json"),
            (r#"{"Severity":"high"}"#, "bad_severity"),
            (r#"{"Severity":3,"Txn_Timestamp":"2022-12-01T00:00:00Z"}"#, "outside_metric_times"),
            (r#"{"Severity":3,"Txn_Timestamp":"2022-12-24T08:00:00Z"}"#, "outside_metric_times"),
        ] {
            match counted(json) {
                Decision::Reject { reason, .. } => assert_eq!(reason, expected),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
