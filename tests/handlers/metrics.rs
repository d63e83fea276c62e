//! The handler of metrics.

use bytes::Bytes;
use fakes::{ONE, Reply, Scripted, fixture, variable};
use metrics::{
    aggregate::DataRequest,
    handler::{Config, Handler},
    series::Series,
};
use shared::{
    data::{dataset::Dataset, time::stamp},
    delivery::Fault,
    stream::kpl,
};

use super::{
    assert_all_done, firehose, invocation, kinesis, kinesis_event, lines, logged, logged_counts, now,
    reasons, support_tickets, to_retry,
};

pub(super) type Metrics = Handler<Scripted<DataRequest>, Scripted<Bytes>>;

pub(super) fn metrics() -> Metrics {
    Handler {
        config: Config::read(&variable).unwrap(),
        metric: Scripted::new(ONE, |request| request.data.len()),
        rejects: firehose(),
    }
}

/// All series, without a bound.
pub(super) fn series(dataset: &Dataset) -> Series {
    Series::all(dataset, &dataset.metric.sets)
}

pub(super) async fn handle(metrics: &Metrics, event: &str) -> Vec<String> {
    to_retry(metrics.handle(event, &invocation()).await.unwrap())
}

/// The counts, by the values of the dimensions.
pub(super) fn counts(metrics: &Metrics) -> Vec<(String, u64)> {
    let taken = metrics.metric.taken.borrow();
    let mut counts: Vec<_> = taken
        .iter()
        .flat_map(|request| &request.data)
        .map(|datum| {
            let values: Vec<_> = datum.dimensions.iter().map(|(_, value)| value.as_str()).collect();
            (values.join("/"), datum.count)
        })
        .collect();
    counts.sort();
    counts
}

/// A severe event in a city of its own.
fn event(n: usize) -> String {
    let at = stamp(now());
    format!(r#"{{"ID":"{n}","Severity":3,"City":"city {n}","County":"c","Txn_Timestamp":"{at}"}}"#)
}

#[tokio::test(start_paused = true)]
async fn severe_events_are_counted_in_one_request_with_the_rollups() {
    let metrics = metrics();
    assert_all_done(&handle(&metrics, &fixture("metrics-kinesis")).await);
    let expected = [
        ("3", 2),
        ("3/Dayton/Montgomery", 2),
        ("3/Montgomery", 2),
        ("4", 2),
        ("4/Dona Ana", 1),
        ("4/Las Cruces/Dona Ana", 1),
        ("4/Lucas", 1),
        ("4/unknown/Lucas", 1),
    ];
    assert_eq!(counts(&metrics), expected.map(|(values, count)| (values.to_owned(), count)));
    assert_eq!(metrics.metric.requests.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_batch_is_retried_from_the_first_uncounted_event() {
    let metrics = metrics();
    let events: Vec<_> = (0..1_500).map(event).collect();
    metrics.metric.reply([Reply::Taken, Reply::Failed(Fault::Permanent)]);
    let again = handle(&metrics, &kinesis_event(&events)).await;
    let first: usize = again[0].parse().unwrap();
    assert!(first > 1);
    let rest = kinesis_event(&events[first - 1..]);
    assert_all_done(&handle(&metrics, &rest).await);
    let counted: u64 =
        counts(&metrics).iter().filter(|(values, _)| values == "3").map(|(_, count)| count).sum();
    assert_eq!(counted, 1_500, "every event is counted once");
    let latencies: usize = metrics.metric.taken.borrow().iter().map(|request| request.received.len()).sum();
    assert_eq!(latencies, 1_500, "each latency is reported once");
}

#[tokio::test(start_paused = true)]
async fn every_event_of_a_failed_request_is_retried() {
    // CloudWatch refuses requests as a whole, so that a refused entry is a failed request, too.
    for reply in [Reply::Failed(Fault::Permanent), Reply::Refused(vec![0], Fault::Permanent)] {
        let metrics = metrics();
        metrics.metric.reply([reply]);
        let response = metrics.handle(&kinesis(&[&event(1), &event(2)]), &logged()).await.unwrap();
        assert_eq!(to_retry(response), ["1"]);
        assert_eq!(logged_counts(["In", "Delivered", "Failed", "Unaccounted"]), [2, 0, 2, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_event_after_a_failed_request_is_counted() {
    let metrics = metrics();
    let events: Vec<_> = (0..1_500).map(event).collect();
    metrics.metric.reply([Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&metrics, &kinesis_event(&events)).await, ["1"]);
    assert_eq!((metrics.metric.requests.get(), counts(&metrics).len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_event_after_a_failed_reject_is_counted() {
    let metrics = metrics();
    // Rejects are retried until the deadline. Earlier events do not wait for them.
    metrics.rejects.always.set(Some(Fault::Throttled));
    let batch = kinesis(&[&event(1), "poison", &event(2)]);
    assert_eq!(handle(&metrics, &batch).await, ["2"]);
    assert_eq!(counts(&metrics).len(), 3, "the first event and its rollups");
    metrics.rejects.always.set(None);
    assert_all_done(&handle(&metrics, &kinesis(&["poison", &event(2)])).await);
    assert_eq!(reasons(&metrics.rejects), ["not_json"]);
}

#[tokio::test(start_paused = true)]
async fn no_event_between_two_failed_rejects_is_counted() {
    let metrics = metrics();
    metrics.rejects.always.set(Some(Fault::Throttled));
    let batch = kinesis(&[&event(1), "poison", &event(2), "poison", &event(3)]);
    assert_eq!(handle(&metrics, &batch).await, ["2"]);
    let cities: Vec<_> = counts(&metrics).into_iter().filter(|(values, _)| values.contains("city")).collect();
    assert_eq!(cities, [("3/city 1/c".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn each_of_very_many_rejects_of_a_record_is_written() {
    let metrics = metrics();
    let nothing = Bytes::new();
    let pack = kpl::aggregate("0", std::iter::repeat_n(("k", &nothing), 20_000));
    let response = metrics.handle(&kinesis_event(&[pack]), &logged()).await.unwrap();
    assert_all_done(&to_retry(response));
    assert_eq!(logged_counts(["In", "Rejected", "Unaccounted"]), [20_000, 20_000, 0]);
    let rejects = lines(&metrics.rejects.take());
    assert!((1..20_000).contains(&rejects.len()), "{}: some are written together", rejects.len());
    let rows = rejects.iter().map(|line| line.get("row_count").map_or(1, |count| count.as_u64().unwrap()));
    assert_eq!(rows.sum::<u64>(), 20_000);
}

#[tokio::test(start_paused = true)]
async fn event_without_a_time_counts_when_the_stream_received_it() {
    let metrics = metrics();
    let mut batch: serde_json::Value =
        serde_json::from_str(&kinesis(&[r#"{"ID":"1","Severity":3}"#])).unwrap();
    let at = now().timestamp() - 100;
    batch["Records"][0]["kinesis"]["approximateArrivalTimestamp"] = at.into();
    assert_all_done(&handle(&metrics, &batch.to_string()).await);
    let taken = metrics.metric.take();
    assert!(taken[0].data.iter().all(|datum| datum.second == at), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn no_event_after_a_failed_reject_in_its_pack_is_counted() {
    let metrics = metrics();
    metrics.rejects.always.set(Some(Fault::Throttled));
    // The second record is a pack whose first event is a reject that cannot be written.
    let packed = |events: &[&str]| {
        let events: Vec<Bytes> = events.iter().map(|event| Bytes::from((*event).to_owned())).collect();
        kpl::aggregate("0", events.iter().map(|event| ("k", event)))
    };
    let (first, second, third) = (event(1), event(2), event(3));
    let pack = packed(&["poison", &second]);
    let batch = kinesis_event(&[first.as_bytes(), &pack, third.as_bytes()]);
    assert_eq!(handle(&metrics, &batch).await, ["2"]);
    let counted: Vec<_> =
        counts(&metrics).into_iter().filter(|(values, _)| values.contains("city")).collect();
    assert_eq!(counted, [("3/city 1/c".to_owned(), 1)]);

    metrics.rejects.always.set(None);
    assert_all_done(&handle(&metrics, &kinesis_event(&[&pack, third.as_bytes()])).await);
    let counted = counts(&metrics).into_iter().filter(|(values, _)| values.contains("city"));
    assert_eq!(counted.map(|(_, count)| count).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn log_counts_retries() {
    let metrics = metrics();
    metrics.metric.reply([Reply::Failed(Fault::Transient), Reply::Failed(Fault::Throttled)]);
    metrics.rejects.reply([Reply::Failed(Fault::Transient)]);
    let response = metrics.handle(&kinesis(&[&event(1), "poison", &event(2)]), &logged()).await.unwrap();
    assert_eq!(response.batch_item_failures, []);
    assert_eq!(logged_counts(["In", "Delivered", "Rejected", "Retried"]), [3, 2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn packs_of_many_equal_events_are_counted_in_one_request() {
    let metrics = metrics();
    let event = Bytes::from(event(1));
    let pack = kpl::aggregate("0", std::iter::repeat_n(("k", &event), 400));
    let packs: Vec<&[u8]> = vec![&pack; 50];
    assert_all_done(&handle(&metrics, &kinesis_event(&packs)).await);
    assert_eq!(metrics.metric.requests.get(), 1);
    assert_eq!(counts(&metrics)[0], ("3".to_owned(), 20_000));
}

#[tokio::test(start_paused = true)]
async fn bounded_series_keep_exact_totals_for_any_number_of_cities() {
    let mut metrics = metrics();
    let dataset = &metrics.config.common.dataset;
    metrics.config.series = Series::bounded(dataset, &dataset.metric.sets, 2, 500).unwrap();
    let events: Vec<_> = (0..50_000).map(event).collect();
    for batch in events.chunks(10_000) {
        assert_all_done(&handle(&metrics, &kinesis_event(batch)).await);
    }
    let mut sums = std::collections::BTreeMap::new();
    for (values, count) in counts(&metrics) {
        *sums.entry(values).or_insert(0) += count;
    }
    assert!(sums.len() <= 500, "{}", sums.len());
    assert_eq!((sums["3"], sums["3/other/other"]), (50_000, 50_000));
}

#[tokio::test(start_paused = true)]
async fn tickets_are_counted_by_their_own_dimensions() {
    let mut metrics = metrics();
    let dataset = support_tickets();
    metrics.config.series = series(&dataset);
    metrics.config.common.dataset = dataset;
    let _response = metrics.handle(&fixture("support_tickets/metrics-kinesis"), &invocation()).await.unwrap();
    let counts = counts(&metrics);
    for expected in ["4/phone/Network", "3/mail/Claims"] {
        assert!(counts.contains(&(expected.to_owned(), 1)), "{counts:?}");
    }
    let names: Vec<_> =
        metrics.config.common.dataset.metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["priority_ticket", "channel_ticket", "department_ticket"]);
}
