//! Adds up counts: one datum for each second and combination of dimensions, in requests that follow the order of the
//! records.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use chrono::{DateTime, Utc};

use crate::series::Series;

/// Data in one request: the counts, and one datum with the latencies of the events.
///
/// Source: CloudWatch API reference, `PutMetricData`.
const REQUEST_DATA: usize = 1_000 - 1;
/// Bytes of a request: a twentieth less than the 1 MB that the service accepts. The reserve covers the error of the
/// estimate [`size`], and the latencies, which take a hundredth.
///
/// Source: CloudWatch API reference, `PutMetricData`.
const REQUEST_BYTES: usize = 950_000;
/// Bytes of a datum without its dimensions, and of a dimension without its name and value; both are upper estimates.
const DATUM_BYTES: usize = 300;
const DIMENSION_BYTES: usize = 120;

/// How often something was counted in one second under one combination of dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datum {
    /// Unix time.
    pub second: i64,
    /// Positions among the data set's dimensions, with their values.
    pub dimensions: Vec<(usize, String)>,
    /// The count.
    pub count: u64,
}

/// The data of one request: those of consecutive events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DataRequest {
    /// At most as many as a request may have.
    pub data: Vec<Datum>,
    /// The counted events, by position.
    pub events: Range<usize>,
    /// When each of the events was received. Its latency is computed when the request is sent.
    pub received: Vec<DateTime<Utc>>,
}

/// An event to be counted.
#[derive(Debug, Clone)]
pub struct CountedEvent {
    /// The stream record that contains it. Events of one record are retried together, so they are counted together.
    pub record: usize,
    /// When it was received; it counts in that second.
    pub at: DateTime<Utc>,
    /// The values of the data set's dimensions, in their order.
    pub values: Vec<String>,
}

/// A second and a combination of dimensions: the key of one datum.
type Key = (i64, Vec<(usize, String)>);

/// Adds up the events, each under every series in which it counts.
///
/// Requests follow the order of the events. They end between records wherever the events of a record fit, so that
/// events that are retried after a failure were not counted before.
#[must_use]
pub fn aggregate(events: &[CountedEvent], series: &Series) -> Vec<DataRequest> {
    let mut requests = Vec::new();
    let mut open = OpenRequest::default();
    let mut start = 0;
    for run in events.chunk_by(|one, next| one.record == next.record) {
        let keys: Vec<Vec<Key>> = run.iter().map(|event| keys(event, series).collect()).collect();
        let mut fits_whole = open.fits(keys.iter().flatten());
        if !fits_whole {
            open.close(&mut requests, start);
            fits_whole = open.fits(keys.iter().flatten());
        }
        for (index, (event, keys)) in (start..).zip(run.iter().zip(keys)) {
            if !fits_whole && !open.fits(&keys) {
                open.close(&mut requests, index);
            }
            open.add(event, keys);
        }
        start += run.len();
    }
    open.close(&mut requests, events.len());
    requests
}

/// The keys under which the event counts: one for each set of dimensions.
fn keys<'e>(event: &'e CountedEvent, series: &'e Series) -> impl Iterator<Item = Key> + 'e {
    series.of(&event.values).map(|dimensions| (event.at.timestamp(), dimensions))
}

/// The request that is being filled.
#[derive(Debug, Default)]
struct OpenRequest {
    begin: usize,
    data: Vec<Datum>,
    received: Vec<DateTime<Utc>>,
    places: HashMap<Key, usize>,
    bytes: usize,
}

impl OpenRequest {
    /// Whether the data fit into the request. A key that is in it already takes no room, and neither does a repeated
    /// key.
    fn fits<'k>(&self, keys: impl IntoIterator<Item = &'k Key> + Clone) -> bool {
        let room = |data: usize, bytes: usize| {
            self.data.len() + data <= REQUEST_DATA && self.bytes + bytes <= REQUEST_BYTES
        };
        // The request is rarely nearly full; otherwise no look-up is needed.
        let all =
            keys.clone().into_iter().fold((0, 0), |(data, bytes), key| (data + 1, bytes + size(&key.1)));
        if room(all.0, all.1) {
            return true;
        }
        let new: HashSet<&Key> = keys.into_iter().filter(|key| !self.places.contains_key(*key)).collect();
        room(new.len(), new.iter().map(|key| size(&key.1)).sum())
    }

    fn add(&mut self, event: &CountedEvent, keys: Vec<Key>) {
        for key in keys {
            let place = *self.places.entry(key).or_insert_with_key(|(second, dimensions)| {
                self.bytes += size(dimensions);
                self.data.push(Datum { second: *second, dimensions: dimensions.clone(), count: 0 });
                self.data.len() - 1
            });
            self.data[place].count += 1;
        }
        self.received.push(event.at);
    }

    /// Ends the request before the event at `end`.
    fn close(&mut self, requests: &mut Vec<DataRequest>, end: usize) {
        let open = std::mem::take(self);
        if !open.data.is_empty() {
            requests.push(DataRequest { data: open.data, events: open.begin..end, received: open.received });
        }
        self.begin = end;
    }
}

fn size(dimensions: &[(usize, String)]) -> usize {
    DATUM_BYTES + dimensions.iter().map(|(_, value)| DIMENSION_BYTES + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::data::dataset::Dataset;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 999_450_000).unwrap()
    }

    fn event(record: usize, second: i64, values: [&str; 3]) -> CountedEvent {
        CountedEvent { record, at: at(second), values: values.map(str::to_owned).to_vec() }
    }

    /// Counts under all dimensions and, in addition, under those of each rollup.
    fn series(rollups: &[&[usize]]) -> Series {
        let dataset = Dataset::named("us_accidents").unwrap();
        let sets: Vec<_> = [&[0, 1, 2]]
            .into_iter()
            .map(|set| set.to_vec())
            .chain(rollups.iter().map(|set| set.to_vec()))
            .collect();
        Series::all(&dataset, &sets)
    }

    fn total(requests: &[DataRequest], dimensions: usize) -> u64 {
        let data = requests.iter().flat_map(|request| &request.data);
        data.filter(|datum| datum.dimensions.len() == dimensions).map(|datum| datum.count).sum()
    }

    #[test]
    fn each_second_and_combination_has_one_datum() {
        let events = [
            event(0, 7, ["3", "Dublin", "Franklin"]),
            event(1, 7, ["3", "Dublin", "Franklin"]),
            event(2, 8, ["3", "Dublin", "Franklin"]),
            event(3, 7, ["3", "Dayton", "Montgomery"]),
        ];
        let requests = aggregate(&events, &series(&[&[0]]));
        assert_eq!(requests.len(), 1);
        let data: Vec<_> = requests[0]
            .data
            .iter()
            .map(|datum| {
                let values: Vec<_> = datum.dimensions.iter().map(|(_, value)| value.as_str()).collect();
                (datum.second, values.join("/"), datum.count)
            })
            .collect();
        let expected = [
            (7, "3/Dublin/Franklin", 2),
            (7, "3", 3),
            (8, "3/Dublin/Franklin", 1),
            (8, "3", 1),
            (7, "3/Dayton/Montgomery", 1),
        ];
        assert_eq!(data, expected.map(|(second, values, count)| (second, values.to_owned(), count)));
        assert_eq!(requests[0].events, 0..4);
        assert_eq!(
            requests[0].received,
            [7, 7, 8, 7].map(at),
            "each latency is recorded once, whatever the sets"
        );
    }

    #[test]
    fn requests_respect_the_limits_and_the_record_order() {
        let city = |n: usize| format!("city {n}");
        let events: Vec<CountedEvent> = (0..2_500).map(|n| event(n, 7, ["3", &city(n), "c"])).collect();
        let requests = aggregate(&events, &series(&[&[0], &[0, 2]]));
        assert_eq!(total(&requests, 2), 2_500);
        assert!(requests.iter().all(|request| request.data.len() <= REQUEST_DATA));
        assert_eq!((total(&requests, 3), total(&requests, 1)), (2_500, 2_500));
        let mut next = 0;
        for request in &requests {
            assert_eq!(request.events.start, next);
            next = request.events.end;
        }
        assert_eq!(next, 2_500);

        for length in [20, 160, 1_024] {
            let value = "x".repeat(length);
            let second = |n: usize| i64::try_from(n).unwrap();
            let events: Vec<CountedEvent> =
                (0..1_000).map(|n| event(n, second(n), ["3", &value, &value])).collect();
            let requests = aggregate(&events, &series(&[]));
            assert_eq!(total(&requests, 3), 1_000);
            for request in &requests {
                let dimensions = request.data.iter().flat_map(|datum| &datum.dimensions);
                let bytes: usize = dimensions.map(|(_, value)| 120 + value.len()).sum();
                assert!(300 * request.data.len() + bytes <= 950_000, "{length}");
            }
        }
    }

    #[test]
    fn events_of_one_record_share_a_request_if_they_fit() {
        let city = |n: usize| format!("city {n}");
        // Records of 300 events each: three fit into a request, the fourth begins the next one.
        let events: Vec<CountedEvent> = (0..1_500).map(|n| event(n / 300, 7, ["3", &city(n), "c"])).collect();
        let requests = aggregate(&events, &series(&[]));
        assert_eq!(
            requests.iter().map(|request| request.events.clone()).collect::<Vec<_>>(),
            [0..900, 900..1_500]
        );
        // A record that does not fit into any request is split, and no event is lost.
        let events: Vec<CountedEvent> = (0..1_500).map(|n| event(0, 7, ["3", &city(n), "c"])).collect();
        let requests = aggregate(&events, &series(&[]));
        assert_eq!((requests.len(), total(&requests, 3)), (2, 1_500));
    }

    #[test]
    fn records_with_equal_keys_share_a_request() {
        // Fifty packed records of four hundred events, all of one second and one place.
        let events: Vec<CountedEvent> =
            (0..20_000).map(|n| event(n / 400, 7, ["3", "Dublin", "Franklin"])).collect();
        let requests = aggregate(&events, &series(&[&[0], &[0, 2]]));
        assert_eq!(requests.len(), 1);
        let counts: Vec<_> = requests[0].data.iter().map(|datum| datum.count).collect();
        assert_eq!(counts, [20_000; 3]);
        assert_eq!((requests[0].events.clone(), requests[0].received.len()), (0..20_000, 20_000));
    }

    #[test]
    fn request_is_filled_exactly_to_its_limit() {
        let city = |n: usize| format!("city {n}");
        let events = |count: usize| -> Vec<CountedEvent> {
            (0..count).map(|n| event(n, 7, ["3", &city(n), "c"])).collect()
        };
        let sizes = |count| {
            let requests = aggregate(&events(count), &series(&[]));
            requests.iter().map(|request| request.data.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(998), [998]);
        assert_eq!(sizes(999), [999]);
        assert_eq!(sizes(1_000), [999, 1]);
        // A key that is in a full request can still be counted.
        let repeated = [events(999), events(999)].concat();
        let repeated: Vec<CountedEvent> = repeated
            .into_iter()
            .enumerate()
            .map(|(record, event)| CountedEvent { record, ..event })
            .collect();
        assert_eq!(aggregate(&repeated, &series(&[])).len(), 1);
    }

    fn events() -> impl Strategy<Value = Vec<CountedEvent>> {
        let drawn = (any::<bool>(), 0_i64..3, 0_usize..1_500, 0_usize..4);
        prop::collection::vec(drawn, 0..1_500).prop_map(|events| {
            let mut record = 0;
            let events = events.into_iter().map(|(new_record, second, city, county)| {
                record += usize::from(new_record);
                event(record, second, ["3", &format!("city {city}"), &format!("county {county}")])
            });
            events.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn each_event_counts_once_in_each_set(events in events()) {
            let series = series(&[&[0], &[0, 2]]);
            let requests = aggregate(&events, &series);
            let mut next = 0;
            for request in &requests {
                prop_assert_eq!(request.events.start, next);
                next = request.events.end;
                prop_assert!(request.data.len() <= REQUEST_DATA);
                let own = &events[request.events.clone()];
                prop_assert_eq!(&request.received, &own.iter().map(|event| event.at).collect::<Vec<_>>());
                let mut expected: HashMap<Key, u64> = HashMap::new();
                for key in own.iter().flat_map(|event| keys(event, &series)) {
                    *expected.entry(key).or_default() += 1;
                }
                let data = request.data.iter().cloned();
                let found: HashMap<Key, u64> =
                    data.map(|datum| ((datum.second, datum.dimensions), datum.count)).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(next, events.len());
            // No record that fits into a request is split, and no two requests would fit into one.
            for pair in requests.windows(2) {
                let border = pair[1].events.start;
                let record = events[border].record;
                let of_record: Vec<&CountedEvent> = events.iter().filter(|event| event.record == record).collect();
                let data = |events: &mut dyn Iterator<Item = &CountedEvent>| {
                    events.flat_map(|event| keys(event, &series).collect::<Vec<_>>()).collect::<HashSet<_>>().len()
                };
                let is_torn = events[border - 1].record == record;
                prop_assert!(!is_torn || data(&mut of_record.iter().copied()) > REQUEST_DATA);
                let with_it = events[pair[0].events.clone()].iter().chain(of_record);
                prop_assert!(is_torn || data(&mut with_it.into_iter()) > REQUEST_DATA);
            }
        }
    }

    #[test]
    fn no_events_no_requests() {
        assert_eq!(aggregate(&[], &series(&[&[0]])), []);
    }
}
