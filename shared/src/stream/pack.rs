//! Packing: many events in one record of the stream, in the KPL's format.
//!
//! An on-demand stream bills each record rounded up to a kilobyte. So a raw event of 1.1 KB costs two kilobytes, and a
//! severe one of 130 bytes costs one. Packed, they cost little more than their bytes.
//!
//! The events of a pack share one range of the stream's hash keys, and the pack's hash key is the middle of that range.
//! Events of one key are always in the same range, so their order holds, whatever shards there are. Each event in a
//! pack names the same hash key, since some readers drop user records whose key is not of their shard.

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::{
    delivery::{self, Deadline, Order, Report, Service},
    stream::{StreamRecord, kpl},
};

/// Bytes in a pack. Rounding loses half a percent of it. With larger packs, a refused one would resend more.
const PACK_BYTES: usize = 64 * 1024;

/// How many ranges of hash keys the events are packed into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packing {
    ranges: u32,
}

impl Packing {
    /// Packs into that many ranges; with zero, every event is sent unpacked. Shards share the load evenly if there are
    /// several ranges for each.
    #[must_use]
    pub fn into_ranges(ranges: u32) -> Self {
        Self { ranges }
    }

    /// The range of a key. Kinesis places keys by their MD5.
    fn range(self, key: &str) -> u32 {
        let [a, b, c, d, ..] = <[u8; 16]>::from(Md5::digest(key.as_bytes()));
        let high = u64::from(u32::from_be_bytes([a, b, c, d]));
        u32::try_from((high * u64::from(self.ranges)) >> 32).unwrap_or_default()
    }

    /// The hash key in the middle of a range.
    fn place(self, range: u32) -> u128 {
        let width = u128::MAX / u128::from(self.ranges);
        width * u128::from(range) + width / 2
    }

    /// Packs the events. Events of one range keep their order.
    #[must_use]
    pub fn pack(self, events: &[StreamRecord]) -> Packed {
        let mut packed = Packed { records: Vec::new(), members: Vec::new() };
        let mut open: Vec<OpenPack> = (0..self.ranges).map(|_| OpenPack::default()).collect();
        for (index, event) in events.iter().enumerate() {
            let range = self.range(event.partition_key());
            let bytes = kpl::entry_bytes(event.partition_key(), &event.data);
            let pack = &mut open[range as usize];
            if !pack.members.is_empty() && pack.bytes + bytes > PACK_BYTES {
                packed.close(std::mem::take(pack), range, self.place(range), events);
            }
            let pack = &mut open[range as usize];
            pack.members.push(index);
            pack.bytes += bytes;
        }
        for (range, pack) in (0..).zip(open) {
            if !pack.members.is_empty() {
                packed.close(pack, range, self.place(range), events);
            }
        }
        packed
    }
}

/// A pack that is being filled.
#[derive(Debug, Default)]
struct OpenPack {
    members: Vec<usize>,
    bytes: usize,
}

/// Events in packs.
#[derive(Debug)]
pub struct Packed {
    /// The records to send.
    pub records: Vec<StreamRecord>,
    /// For each record, the positions of its events.
    members: Vec<Vec<usize>>,
}

impl Packed {
    fn close(&mut self, pack: OpenPack, range: u32, place: u128, events: &[StreamRecord]) {
        let place = place.to_string();
        let data = match pack.members[..] {
            // A single event does not need a pack, and may be too large for one.
            [alone] => events[alone].data.clone(),
            _ => {
                let members = pack.members.iter().map(|index| &events[*index]);
                Bytes::from(kpl::aggregate(&place, members.map(|event| (event.partition_key(), &event.data))))
            }
        };
        self.records.push(StreamRecord::placed(format!("range-{range}"), &place, data));
        self.members.push(pack.members);
    }

    /// The outcome of each event, which is the outcome of its pack.
    fn unpack(&self, report: Report, events: usize) -> Report {
        let mut outcomes = vec![None; events];
        for (members, outcome) in self.members.iter().zip(report.outcomes) {
            for index in members {
                outcomes[*index] = Some(outcome.clone());
            }
        }
        Report { outcomes: outcomes.into_iter().flatten().collect(), ..report }
    }
}

/// Delivers events to a stream, packed or one by one, in order within each key.
pub async fn deliver<S: Service<Entry = StreamRecord>>(
    stream: &S,
    events: &[StreamRecord],
    packing: Packing,
    deadline: Deadline,
) -> Report {
    let order = Order::PerKey(StreamRecord::partition_key);
    if packing.ranges == 0 {
        return delivery::deliver(stream, events, order, deadline).await;
    }
    let packed = packing.pack(events);
    let report = delivery::deliver(stream, &packed.records, order, deadline).await;
    packed.unpack(report, events.len())
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Duration};

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::delivery::{Answer, Failure, Fault, Limits, Outcome};

    fn events(count: usize, keys: usize, bytes: usize) -> Vec<StreamRecord> {
        (0..count)
            .map(|index| {
                let data = format!("{index:08}{}", "x".repeat(bytes - 8));
                StreamRecord::new(format!("key-{}", index % keys), data.into())
            })
            .collect()
    }

    /// Bytes that an on-demand stream bills.
    fn billed(records: &[StreamRecord]) -> usize {
        records.iter().map(|record| record.data.len().div_ceil(1024) * 1024).sum()
    }

    #[test]
    fn packed_events_keep_their_bytes_and_order_by_key() {
        let events = events(5_000, 97, 1_100);
        let packed = Packing::into_ranges(16).pack(&events);
        let mut out: Vec<Bytes> = Vec::new();
        for record in &packed.records {
            assert!(record.data.len() <= PACK_BYTES + 1_024);
            out.extend(kpl::deaggregate(record.data.clone()).unwrap());
        }
        for key in 0..97 {
            let of_key = |events: &mut dyn Iterator<Item = Bytes>| -> Vec<Bytes> {
                events
                    .filter(|data| {
                        std::str::from_utf8(&data[..8]).unwrap().parse::<usize>().unwrap() % 97 == key
                    })
                    .collect()
            };
            let sent = of_key(&mut events.iter().map(|event| event.data.clone()));
            assert_eq!(of_key(&mut out.iter().cloned()), sent);
        }
        assert_eq!(out.len(), events.len());
    }

    #[test]
    fn events_of_a_key_have_one_place() {
        let packing = Packing::into_ranges(64);
        let records = |seed: usize| packing.pack(&events(500 + seed, 1, 200)).records;
        let places: std::collections::BTreeSet<_> =
            (0..3).flat_map(records).map(|record| record.explicit_hash_key().map(str::to_owned)).collect();
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn a_range_is_where_kinesis_would_place_its_keys() {
        // MD5 of `a` is 0cc175b9…, of `b` 92eb5ffe…: the first and the second half of the hash keys.
        let packing = Packing::into_ranges(2);
        assert_eq!((packing.range("a"), packing.range("b")), (0, 1));
        assert_eq!(packing.place(0), u128::MAX / 4);
        assert!(packing.place(1) > u128::MAX / 2);
    }

    #[test]
    fn packing_saves_what_rounding_up_costs() {
        let raw = events(2_000, 2_000, 1_100);
        let severe = events(2_000, 500, 130);
        let packing = Packing::into_ranges(16);
        let saved = |events: &[StreamRecord]| {
            let (before, after) = (billed(events), billed(&packing.pack(events).records));
            100 - 100 * after / before
        };
        assert_eq!(saved(&raw), 45, "1.1 KB were billed as 2");
        assert_eq!(saved(&severe), 86, "130 bytes were billed as 1 KB");
    }

    #[test]
    fn single_or_large_event_is_not_packed() {
        let one = events(1, 1, 50);
        assert_eq!(Packing::into_ranges(4).pack(&one).records[0].data, one[0].data);
        let large: Vec<_> = [100, 200_000, 100]
            .into_iter()
            .map(|bytes| StreamRecord::new("k", Bytes::from("y".repeat(bytes))))
            .collect();
        let packed = Packing::into_ranges(4).pack(&large);
        assert_eq!(
            packed.records.iter().map(|record| record.data.len()).collect::<Vec<_>>(),
            [100, 200_000, 100]
        );
    }

    #[test]
    fn a_pack_is_filled_to_64_kibibytes() {
        for (more, packs) in [(0, 1), (1, 2)] {
            let event = |bytes: usize| {
                StreamRecord::new("k", Bytes::from("y".repeat(bytes - kpl::entry_bytes("k", &Bytes::new()))))
            };
            let events = [event(32 * 1024), event(32 * 1024 + more)];
            assert_eq!(Packing::into_ranges(4).pack(&events).records.len(), packs);
        }
    }

    #[test]
    fn events_of_a_pack_share_its_outcome() {
        let events = events(10, 10, 100);
        let packed = Packing::into_ranges(2).pack(&events);
        assert_eq!(packed.records.len(), 2);
        let report = Report {
            outcomes: vec![Outcome::Delivered, Outcome::Failed("throttled".to_owned())],
            ..Report::default()
        };
        let outcomes = packed.unpack(report, events.len()).outcomes;
        assert_eq!(outcomes.len(), 10);
        for (event, outcome) in events.iter().zip(outcomes) {
            let failed = Packing::into_ranges(2).range(event.partition_key()) == 1;
            assert_eq!(outcome != Outcome::Delivered, failed);
        }
    }

    /// A stream that takes one record in a request, and refuses the requests of that range.
    struct Stream {
        refuses: Option<String>,
        sent: RefCell<Vec<StreamRecord>>,
    }

    impl Service for Stream {
        type Entry = StreamRecord;
        fn limits(&self) -> Limits {
            Limits { entries: 1, request_bytes: 1_000_000, entry_bytes: 1_000_000 }
        }
        fn size(&self, record: &StreamRecord) -> usize {
            record.data.len()
        }
        async fn send(&self, records: &[&StreamRecord]) -> Answer {
            self.sent.borrow_mut().extend(records.iter().copied().cloned());
            if records.iter().any(|record| Some(record.partition_key()) == self.refuses.as_deref()) {
                return Err(Failure { fault: Fault::Permanent, detail: "refused".to_owned() });
            }
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failed_pack_blocks_only_its_range() {
        let packing = Packing::into_ranges(2);
        let events = events(500, 50, 1_000);
        let packs = packing.pack(&events).records;
        let of_range = |range: &str, records: &[StreamRecord]| {
            records.iter().filter(|record| record.partition_key() == range).count()
        };
        assert!(of_range("range-0", &packs) > 2 && of_range("range-1", &packs) > 2);
        let stream = Stream { refuses: Some("range-0".to_owned()), sent: RefCell::default() };
        let deadline = Deadline { at: Instant::now() + Duration::from_mins(1), seed: 7 };
        let report = deliver(&stream, &events, packing, deadline).await;
        let sent = stream.sent.borrow();
        assert_eq!(of_range("range-0", &sent), 1);
        assert_eq!(of_range("range-1", &sent), of_range("range-1", &packs));
        for (event, outcome) in events.iter().zip(report.outcomes) {
            assert_eq!(outcome == Outcome::Delivered, packing.range(event.partition_key()) == 1);
        }
    }

    /// What other readers see of an aggregated record.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Aggregate {
        #[prost(string, repeated, tag = "1")]
        keys: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        hash_keys: Vec<String>,
        #[prost(message, repeated, tag = "3")]
        records: Vec<Part>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Part {
        #[prost(uint64, tag = "1")]
        key: u64,
        #[prost(uint64, optional, tag = "2")]
        hash_key: Option<u64>,
        #[prost(bytes = "vec", tag = "3")]
        data: Vec<u8>,
    }

    #[test]
    fn events_in_a_pack_name_their_key_and_its_place() {
        let packing = Packing::into_ranges(8);
        let events = events(200, 40, 100);
        let packed = packing.pack(&events);
        assert_eq!(packed.records.len(), 8);
        let mut partition_keys = std::collections::BTreeSet::new();
        let mut places = std::collections::BTreeSet::new();
        for (record, members) in packed.records.iter().zip(&packed.members) {
            let range = packing.range(events[members[0]].partition_key());
            assert_eq!(record.partition_key(), format!("range-{range}"));
            let place = packing.place(range).to_string();
            assert_eq!(record.explicit_hash_key(), Some(place.as_str()));
            partition_keys.insert(record.partition_key());
            places.insert(place.clone());

            let protobuf = &record.data[4..record.data.len() - 16];
            let aggregate: Aggregate = prost::Message::decode(protobuf).unwrap();
            assert_eq!(aggregate.records.len(), members.len());
            for (part, index) in aggregate.records.iter().zip(members) {
                let of = |table: &[String], index: u64| table[usize::try_from(index).unwrap()].clone();
                assert_eq!(of(&aggregate.keys, part.key), events[*index].partition_key());
                assert_eq!(part.hash_key.map(|index| of(&aggregate.hash_keys, index)), Some(place.clone()));
                assert_eq!(part.data, events[*index].data);
            }
        }
        assert_eq!((partition_keys.len(), places.len()), (8, 8), "the ranges go to different shards");
    }

    proptest! {
        #[test]
        fn place_is_the_middle_of_its_range_of_hash_keys(
            ranges in 1_u32..=4_096,
            key in "[a-zñ]{1,12}",
        ) {
            let packing = Packing::into_ranges(ranges);
            let hash = u128::from_be_bytes(<[u8; 16]>::from(Md5::digest(key.as_bytes())));
            let range = packing.range(&key);
            prop_assert!(range < ranges);
            let width = u128::MAX / u128::from(ranges);
            prop_assert!(packing.place(range).abs_diff(hash) <= width / 2 + width / 1_000);
        }

        #[test]
        fn each_event_gets_its_own_outcome(
            keys in prop::collection::vec(0_usize..30, 1..60),
            failed in 0_usize..8,
        ) {
            let events: Vec<_> =
                keys.iter().map(|key| StreamRecord::new(format!("key-{key}"), Bytes::from("x"))).collect();
            let packing = Packing::into_ranges(4);
            let packed = packing.pack(&events);
            let failed = failed % packed.records.len();
            let outcome =
                |index| if index == failed { Outcome::Failed(String::new()) } else { Outcome::Delivered };
            let outcomes: Vec<_> = (0..packed.records.len()).map(outcome).collect();
            let range = packed.records[failed].partition_key().to_owned();
            let report = packed.unpack(Report { outcomes, resent: 3 }, events.len());
            prop_assert_eq!((report.resent, report.outcomes.len()), (3, events.len()));
            for (event, outcome) in events.iter().zip(report.outcomes) {
                let of_failed = format!("range-{}", packing.range(event.partition_key())) == range;
                prop_assert_eq!(outcome != Outcome::Delivered, of_failed);
            }
        }
    }
}
