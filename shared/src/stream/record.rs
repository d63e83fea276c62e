//! A record for a stream.

use bytes::Bytes;

/// Characters of a partition key. The API does not say what a character is, so that they are counted as UTF-16 units: no
/// other way of counting characters gives more, and one key that is too long fails its whole request.
///
/// Source: Kinesis Data Streams API reference, `PutRecordsRequestEntry`.
const PARTITION_KEY_UNITS: usize = 256;

/// A record for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    partition_key: String,
    explicit_hash_key: Option<String>,
    /// The record itself.
    pub data: Bytes,
}

impl StreamRecord {
    /// A record under `partition_key`, cut to the length that the service takes; must not be empty.
    #[must_use]
    pub fn new(partition_key: impl Into<String>, data: Bytes) -> Self {
        let mut partition_key = partition_key.into();
        // A text has no more UTF-16 units than bytes.
        if partition_key.len() > PARTITION_KEY_UNITS {
            partition_key.truncate(units_end(&partition_key, PARTITION_KEY_UNITS));
        }
        Self { partition_key, explicit_hash_key: None, data }
    }

    /// A record that is placed by a hash key of its own, a decimal number below 2^128, whatever its partition key.
    #[must_use]
    pub fn placed(partition_key: impl Into<String>, explicit_hash_key: &str, data: Bytes) -> Self {
        Self { explicit_hash_key: Some(explicit_hash_key.to_owned()), ..Self::new(partition_key, data) }
    }

    /// The hash key that places the record, where it is not that of its partition key.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// The key that places the record on a shard.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }
}

/// Where the longest beginning of a text ends that has no more UTF-16 units than that.
fn units_end(text: &str, most: usize) -> usize {
    let mut units = 0;
    let over = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > most
    });
    over.map_or(text.len(), |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_key_is_cut_to_256_units_at_a_character() {
        let cases = [
            ("k".repeat(256), "k".repeat(256)),
            ("k".repeat(257), "k".repeat(256)),
            ("ñ".repeat(300), "ñ".repeat(256)),
            ("🚑".repeat(128), "🚑".repeat(128)),
            ("🚑".repeat(200), "🚑".repeat(128)),
            (format!("k{}", "🚑".repeat(128)), format!("k{}", "🚑".repeat(127))),
        ];
        for (key, expected) in cases {
            assert_eq!(StreamRecord::new(key, Bytes::new()).partition_key(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_cut_key_is_the_longest_beginning_that_fits(key in "[a-zñ中🚑]{0,300}") {
            let record = StreamRecord::new(key.clone(), Bytes::new());
            let units = |text: &str| text.encode_utf16().count();
            prop_assert!(key.starts_with(record.partition_key()));
            prop_assert!(units(record.partition_key()) <= 256);
            if let Some(next) = key[record.partition_key().len()..].chars().next() {
                prop_assert!(units(record.partition_key()) + next.len_utf16() > 256);
            }
        }
    }
}
