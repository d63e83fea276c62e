//! A severe event, and its time of receipt, which is written once it is known.

use chrono::DateTime;
use shared::data::time::stamp;

/// A time of receipt in ingest's format, which an event has until its own time is known.
pub(crate) const UNSTAMPED: &str = "0001-01-01T00:00:00.000000Z";

/// A severe event, as transform writes it to stream 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SevereEvent {
    /// Its time, in microseconds since 1970.
    pub(crate) time: i64,
    /// Its position among the accepted rows of the piece.
    pub(crate) row: u32,
    /// The hash of its partition key, which Kinesis calls the hash key.
    pub(crate) hash_key: u128,
    /// Its severity, if that is in the data set's range; else a number outside the range.
    pub(crate) severity: i64,
    /// Length of its projection in bytes.
    pub(crate) bytes: u32,
    /// Where its time of receipt is in these bytes.
    pub(crate) stamp: u16,
}

impl SevereEvent {
    /// Sets its time, and writes it into its bytes as the time of receipt.
    pub(crate) fn set_received_at(&mut self, time: i64, bytes: &mut [u8]) {
        self.time = time;
        let at = usize::from(self.stamp);
        let stamp = stamp(DateTime::from_timestamp_micros(time).unwrap_or_default());
        // The position is 0 if the data set does not pass the time of receipt on.
        if let (1.., Some(place)) = (at, bytes.get_mut(at..at + UNSTAMPED.len()))
            && stamp.len() == place.len()
        {
            place.copy_from_slice(stamp.as_bytes());
        }
    }
}
