//! A record for a stream.

use bytes::Bytes;

/// Characters of a partition key. The API does not define a character, so they are counted as UTF-16 units: no other
/// count of characters is greater, and one key that is too long fails its whole request.
///
/// Source: Kinesis Data Streams API reference, `PutRecordsRequestEntry`.
const PARTITION_KEY_UNITS: usize = 256;

/// A record for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    partition_key: String,
    explicit_hash_key: Option<String>,
    /// The record's data.
    pub data: Bytes,
}

impl StreamRecord {
    /// A record under `partition_key`, which must not be empty and is cut to the length that the service accepts.
    #[must_use]
    pub fn new(partition_key: impl Into<String>, data: Bytes) -> Self {
        let mut partition_key = partition_key.into();
        // A text has at most as many UTF-16 units as bytes.
        if partition_key.len() > PARTITION_KEY_UNITS {
            partition_key.truncate(units_end(&partition_key, PARTITION_KEY_UNITS));
        }
        Self { partition_key, explicit_hash_key: None, data }
    }

    /// A record with an explicit hash key, a decimal number below 2^128, which overrides its partition key.
    #[must_use]
    pub fn placed(partition_key: impl Into<String>, explicit_hash_key: &str, data: Bytes) -> Self {
        Self { explicit_hash_key: Some(explicit_hash_key.to_owned()), ..Self::new(partition_key, data) }
    }

    /// The explicit hash key, if the record has one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// The partition key. It assigns the record to a shard unless there is an explicit hash key.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }
}

/// The end of the longest beginning of a text that has at most that many UTF-16 units.
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
