//! All alarms: when they are raised, what they mean, and what to do.

use super::{
    Alarm,
    Threshold::{Above, AtLeast, Below},
};
use crate::metrics::{
    ASYNC_DROPPED, CONSUMERS, DELIVERED, DELIVERIES, DELIVERY_LAG, DELIVERY_RECORDS, DESTINATION_FAILURES,
    DROPPED, ERRORS, EVENT_TO_ALERT, EVENTS_BY_SEVERITY, FAILED, FAILED_CONVERSION, FAILURES_BUCKET,
    FRESHNESS, FUNCTIONS, IN, ITERATOR_AGE, KEY_DENIED, KEY_DISABLED, KEY_INVALID, KEY_NOT_FOUND, MESSAGES,
    MetricLine, NOTIFICATIONS_FAILED, OLDEST_MESSAGE, OTHER, PARTITIONS_EXCEEDED, PUT_REQUESTS,
    READS_REFUSED, SENT_TO_FAILURES, SUCCESS, THROTTLED_RECORDS, THROTTLES, TOPIC_SUFFIX, UNACCOUNTED,
    UNREADABLE_ROWS, WRITES_REFUSED, WatchedMetric,
};

/// Deliveries that encrypt, enough to notice a key that cannot be used: an alarm has at most ten metrics, and the alerts
/// delivery uses the same key. The records of the raw delivery are encrypted by its stream.
const ENCRYPTED_DELIVERIES: [&str; 2] = ["analytical", "rejects"];
/// The event source mappings of every stack.
pub(super) const MAPPINGS: [&str; 3] =
    ["${TransformFunctionRawStream}", "${MetricsFunctionSevereStream}", "${NotifyFunctionSevereStream}"];
/// The mapping of a replay.
pub(super) const REPLAY_MAPPING: &str = "${ReplayMapping}";
/// Lambda's own counts of discarded records, by mapping. They are emitted only after the first discarded record of a
/// mapping.
const GIVEN_UP: [WatchedMetric; 2] = [SENT_TO_FAILURES, DROPPED];
/// The latency from event to alert that 99 of a hundred events should not exceed.
const EVENT_TO_ALERT_MS: &str = "10000";
/// How far a consumer may lag behind its stream.
const LAG_MS: &str = "60000";
/// Percent of the rows with an unreadable cell. Fewer than ten such rows do not indicate a change.
const UNREADABLE_PERCENT: &str = "IF(FILL(m0, 0) < 10, 0, 100 * m0 / m1)";
/// Seconds that a message may wait in ingest's queue. A message that failed once waits for the visibility timeout of 30
/// minutes.
const QUEUE_AGE_SECONDS: &str = "3600";

pub(crate) fn all() -> Vec<Alarm> {
    [events(), lags(), functions(), intake(), data(), deliveries(), error_prefix(), streams()]
        .into_iter()
        .flatten()
        .collect()
}

fn events() -> Vec<Alarm> {
    vec![
        Alarm::new(
            "severe-event",
            "${SevereAlarmThreshold} or more events of severity ${TopSeverity} arrived within a minute.",
            "Their alerts name place and id; act on those first. The alarm ends five periods after the last event.",
            [EVENTS_BY_SEVERITY.line(["${TopSeverity}"])],
            AtLeast("!Ref SevereAlarmThreshold"),
        )
        .raised_by(1, 5)
        .noted("One period of five: a count that arrives late, for an earlier period, raises it, too.")
        .notifying(),
        // metrics does not count an unlisted severity under a listed one, even if it is above the highest.
        Alarm::new(
            "unlisted-severity",
            "${SevereAlarmThreshold} or more severe events within a minute had a severity that the data set does not list.",
            "Each may be worse than ${TopSeverity}: its alert names place and id; act on that first. Then ask the sender about \
             the severity, or add it to the data set.",
            [EVENTS_BY_SEVERITY.line([OTHER])],
            AtLeast("!Ref SevereAlarmThreshold"),
        )
        .raised_by(1, 5)
        .notifying(),
        Alarm::new(
            "severe-event-rate",
            "More than ${SevereEventsPerMinute} severe events, of all counted severities, arrived within a minute.",
            "Look at the dashboard: one ${AreaName} is a local event, many are a wide one such as a storm, or a sender that \
             repeats a file.",
            [DELIVERED.counted_by("metrics")],
            Above("!Ref SevereEventsPerMinute"),
        )
        .notifying(),
        Alarm::new(
            "event-to-alert",
            "One alert in a hundred is published more than ten seconds after its event.",
            "See on the dashboard whether transform or notify lags behind its stream, and which of them is throttled or fails.",
            [EVENT_TO_ALERT.of_events("p99")],
            Above(EVENT_TO_ALERT_MS),
        )
        .raised_by(2, 3),
    ]
}

fn lags() -> Vec<Alarm> {
    let consumers = CONSUMERS.map(|name| {
        Alarm::new(
            format!("{name}-iterator-age"),
            format!("{name} lags more than a minute behind its stream, and its outputs are as late."),
            "See whether it fails, is throttled, or has too few shards for the load, and raise ShardCount or \
             ParallelizationFactor.",
            [ITERATOR_AGE.of_resource(name).with("Maximum")],
            Above(LAG_MS),
        )
    });
    let raw = Alarm::new(
        "raw-delivery-lag",
        "The raw delivery stream lags more than a minute behind stream 1, and the raw table is as late.",
        "Nothing is lost while the stream keeps its records. The delivery stream's log says what it cannot write.",
        [DELIVERY_LAG.of_resource("raw").with("Maximum")],
        Above(LAG_MS),
    );
    consumers.into_iter().chain([raw]).map(|alarm| alarm.section("iterator-age").raised_by(2, 3)).collect()
}

fn functions() -> Vec<Alarm> {
    let of_each = |metric: WatchedMetric| FUNCTIONS.map(|name| metric.of_resource(name));
    let mut not_written = Vec::from(of_each(DESTINATION_FAILURES));
    not_written.push(ASYNC_DROPPED.of_resource("ingest"));
    vec![
        Alarm::new(
            "function-errors",
            "More than one invocation of a function ended in an error.",
            "Find the function by the runbook's first command, and read its log from the first error on; it says in a sentence \
             what is wrong and what is expected. The failed batches are retried.",
            of_each(ERRORS),
            Above("0"),
        )
        .raised_by(2, 5),
        Alarm::new(
            "function-throttles",
            "Lambda throttles invocations of a function, because the account's or the function's concurrency is used up.",
            "Find the function by the runbook's first command, see which function uses up the concurrency, and raise the quota or reserve some.",
            of_each(THROTTLES),
            Above("0"),
        )
        .raised_by(2, 5),
        Alarm::new(
            "unaccounted",
            "The counts of a function do not balance: some records were not delivered, filtered, rejected or failed. This is a bug \
             of the function.",
            "Find the invocation by its line with Unaccounted in the functions' logs, compare with the raw table, and send missing \
             records again.",
            FUNCTIONS.map(|name| UNACCOUNTED.counted_by(name).with("Maximum")),
            Above("0"),
        ),
        Alarm::new(
            "failure-destination",
            "Lambda discarded a batch or an invocation and could not write it to the failures bucket. Its events may be lost.",
            "Check that the bucket exists and its key can be used. The events of the batch are in the raw table; replay that hour.",
            not_written,
            Above("0"),
        ),
    ]
}

/// What ingest could not ingest. Lambda does not count a 503 response or a partial batch failure as an error.
fn intake() -> Vec<Alarm> {
    vec![
        Alarm::new(
            "ingest-refusals",
            "ingest could not deliver rows to stream 1 or the rejects; its senders got a 503 or keep their messages.",
            "Read the log of ingest: its sentence names the service, the action and the reason. Senders that retry lose nothing.",
            [FAILED.counted_by("ingest")],
            Above("0"),
        )
        .raised_by(2, 5),
        Alarm::new(
            "dead-letters",
            "Messages of ingest's queue failed five times and are in its dead-letter queue, which keeps them for 14 days.",
            "Read the log of ingest, correct the cause, and move the messages back as the runbook says.",
            [MESSAGES.of_resource("ingest-dead-letters").with("Maximum")],
            Above("0"),
        ),
        Alarm::new(
            "queue-age",
            "A message has waited in ingest's queue for more than an hour: ingest is too slow, throttled, or fails on it.",
            "See whether ingest fails or is throttled, and raise its concurrency if it is neither.",
            [OLDEST_MESSAGE.of_resource("ingest").with("Maximum")],
            Above(QUEUE_AGE_SECONDS),
        )
        .raised_by(2, 3),
    ]
}

fn data() -> Vec<Alarm> {
    vec![
        Alarm::new(
            "rejects",
            "More than ${RejectsPerFiveMinutes} records went to rejects within five minutes.",
            "Ask the saved query rejects_by_reason which function rejected them and why; correct the sender, and send them again.",
            [DELIVERY_RECORDS.of_resource("rejects")],
            Above("!Ref RejectsPerFiveMinutes"),
        )
        .every(300),
        Alarm::new(
            "unreadable-cells",
            "In more than a tenth of the rows of five minutes ingest could not read a cell as the type of its column. Such cells \
             are null in the tables.",
            "Find the column and the likeliest remedy in the log of ingest, as the runbook says; declare the date order or \
             correct the data set's file, and send the file again.",
            [UNREADABLE_ROWS.counted_by("ingest"), IN.counted_by("ingest")],
            Above("10"),
        )
        .comparing(UNREADABLE_PERCENT)
        .every(300),
        Alarm::new(
            "failures",
            "Lambda discarded a batch or an invocation; it is in the failures bucket, including its payload. Its events are missing \
             downstream.",
            "Correct what the object and the function's log say, and send its records again.",
            given_up(),
            Above("0"),
        )
        .raised_by(1, 5),
        Alarm::new(
            "undelivered-alerts",
            "SNS could not deliver an alert or an alarm to a subscriber.",
            "Find the subscription by the runbook's commands: an address that no longer exists, a queue or function without permission, \
             or a mail subscription that waits for its confirmation. The messages are in the queue of undelivered alerts for 14 \
             days.",
            [
                NOTIFICATIONS_FAILED.of_suffixed_resource("alerts", TOPIC_SUFFIX),
                NOTIFICATIONS_FAILED.of_resource("alarms"),
                MESSAGES.of_resource("undelivered-alerts").with("Maximum"),
                MESSAGES.of_suffixed_resource("undelivered-alerts", ".fifo").with("Maximum").only_if("IsFifo"),
            ],
            Above("0"),
        ),
    ]
}

/// Objects in the failures bucket, and Lambda's counts of discarded records. S3 may report its requests late and
/// incompletely.
fn given_up() -> Vec<MetricLine> {
    let of_stack = GIVEN_UP.iter().flat_map(|metric| MAPPINGS.map(|mapping| metric.line([mapping])));
    let of_replay = GIVEN_UP.map(|metric| metric.line([REPLAY_MAPPING]).only_if("Replays"));
    [PUT_REQUESTS.line([FAILURES_BUCKET, "Failures"])].into_iter().chain(of_stack).chain(of_replay).collect()
}

fn deliveries() -> Vec<Alarm> {
    let freshness = DELIVERIES.map(|name| {
        Alarm::new(
            format!("{name}-delivery-freshness"),
            format!(
                "The {name} delivery stream has held a record for more than ${{DeliveryFreshnessSeconds}} seconds without \
                 writing it to its bucket."
            ),
            "Read its log group; the cause is a permission, a mismatching table, or a missing bucket. Firehose retries for 24 \
             hours.",
            [FRESHNESS.of_resource(name).with("Maximum")],
            Above("!Ref DeliveryFreshnessSeconds"),
        )
        .section("delivery-freshness")
        .raised_by(2, 3)
    });
    let success = Alarm::new(
        "delivery-success",
        "Writes of a delivery stream to its bucket fail.",
        "Find the delivery stream by the runbook's first command, and read its log group for the error. Firehose retries \
         for 24 hours.",
        DELIVERIES.map(|name| SUCCESS.of_resource(name).with("Average")),
        Below("1"),
    )
    .raised_by(2, 3);
    freshness.into_iter().chain([success]).collect()
}

/// Records that Firehose accepted and did not write to their table. A write to the error prefix counts as a successful
/// write.
fn error_prefix() -> Vec<Alarm> {
    let key = [KEY_DENIED, KEY_DISABLED, KEY_INVALID, KEY_NOT_FOUND];
    let of_encrypted = |metric: WatchedMetric| ENCRYPTED_DELIVERIES.map(|name| metric.of_resource(name));
    vec![
        Alarm::new(
            "delivery-errors",
            "Firehose wrote severe events to the error prefix, because it could not convert them to Parquet or had no partition \
             left. Athena does not show them.",
            "Read the error objects as the runbook says; make render and a deployment correct a mismatching schema.",
            [
                FAILED_CONVERSION.of_resource("analytical"),
                PARTITIONS_EXCEEDED.of_resource("analytical").with("Maximum"),
            ],
            Above("0"),
        ),
        Alarm::new(
            "delivery-throttles",
            "A delivery stream refuses records, because its quota of records or bytes a second is used up. Refused records are \
             retried later.",
            "Ask for more in Service Quotas, for Firehose's direct puts and for the raw delivery stream's throughput.",
            DELIVERIES.map(|name| THROTTLED_RECORDS.of_resource(name)),
            Above("0"),
        )
        .section("delivery-errors")
        .raised_by(3, 5),
        Alarm::new(
            "delivery-key",
            "Firehose cannot use the key of EncryptionKeyArn. It keeps the records for 24 hours and then discards them.",
            "Enable the key or restore its policy from key.yaml at once.",
            key.map(of_encrypted).concat(),
            Above("0"),
        )
        .section("delivery-errors")
        .only_if("HasKey"),
    ]
}

fn streams() -> Vec<Alarm> {
    let refused =
        [WRITES_REFUSED, READS_REFUSED].map(|metric| [1, 2].map(|stream| metric.of_stream(stream, "")));
    vec![
        Alarm::new(
            "stream-throughput",
            "A stream refuses writes or reads: a shard is at its limit. Refused requests are retried, so that everything \
             arrives later.",
            "Find the stream by the runbook's first command. Raise ShardCount, or let the streams be ON_DEMAND; when only one \
             shard is hot, look at the partition key.",
            refused.concat(),
            Above("0"),
        )
        .raised_by(3, 5),
    ]
}
