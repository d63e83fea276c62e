//! Collects rejects. The size of the input bounds the size of the rejects.
//!
//! A reject of one row repeats the header of its file and names its source. That takes several hundred bytes, for a row
//! that may have two. So the collector keeps a budget: three bytes for each byte received, plus one megabyte. While the
//! budget lasts, each row is a reject of its own. After that, one reject gathers rows that are refused for the same
//! reason. Rows under a header that is too long to repeat are always gathered: then the header is the first row of the
//! payload.

use bytes::Bytes;

use super::{Detail, FileContext, PART_BYTES, Reject, SHORT_BYTES, SOURCE_CHARS, cut, json_bytes};

/// Bytes that may be written for each byte received.
const WRITTEN_FOR_ONE: usize = 3;
/// Bytes that may be written in addition, whatever was received.
const RESERVE: i64 = 1_000_000;
/// The budget from which rows are rejects of their own again.
const ENOUGH: i64 = 16_000_000;
/// The part of the budget that is reserved for gathered rows.
const FOR_GATHERED: i64 = 256 * 1024;
/// Bytes of the field names, the time and the numbers in a line, as JSON.
const FRAME_BYTES: usize = 400;
/// Bytes of gathered rows in a reject that still fit in one part.
const GATHERED_BYTES: usize = 128 * 1024;
/// A row of this many bytes is always a reject of its own: the row is longer than the other fields together.
const LARGE_ROW_BYTES: usize = 128 * 1024;
/// Once so many rejects, or bytes of them, are finished, they should be written.
const FINISHED: usize = 2_000;
const FINISHED_BYTES: usize = 2 * 1024 * 1024;
/// The reason of a reject whose rows have several reasons.
const SEVERAL: &str = "several";

/// The rows of a reject, as their sender identifies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// The message that held them, by its position in a batch.
    pub group: usize,
    /// Their positions in the message, as inclusive ranges.
    pub ranges: Vec<(u64, u64)>,
    /// How many rows there are.
    pub rows: u64,
}

impl Owners {
    /// The position of each row, in the order in which they were refused.
    pub fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    fn add(&mut self, position: u64) {
        self.rows += 1;
        match self.ranges.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => self.ranges.push((position, position)),
        }
    }
}

/// A row or record that is refused permanently.
#[derive(Debug, Clone, Copy)]
pub struct RefusedRow<'a> {
    /// The message that held it, and its position there.
    pub owner: (usize, u64),
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong, and what was expected.
    pub detail: &'a Detail,
    /// Object key, request or message, or stream, shard and sequence number.
    pub name: &'a str,
    /// The line on which it begins.
    pub line: Option<u64>,
    /// Its position in its file, request or aggregate. A row without one is always a reject of its own.
    pub row_index: Option<u64>,
    /// The row or record as it arrived.
    pub payload: &'a [u8],
    /// Whether it must be read separately, since it might change how rows next to it are read.
    pub is_separate: bool,
    /// How the row's file was read, which is needed to read the row again.
    pub file: Option<&'a FileContext>,
}

/// Rejects that are ready to be written.
#[derive(Debug, Default)]
pub struct Finished {
    /// The lines of all rejects.
    pub(super) lines: Vec<Bytes>,
    /// The rows of each reject, and how many lines it has.
    pub(super) rejects: Vec<(Owners, usize)>,
}

impl Finished {
    fn is_empty(&self) -> bool {
        self.rejects.is_empty()
    }

    /// The lines; each is an entry for the rejects delivery stream.
    #[must_use]
    pub fn lines(&self) -> &[Bytes] {
        &self.lines
    }
}

/// Collects the rejects of an invocation.
#[derive(Debug)]
pub struct Collector {
    function: &'static str,
    rejected_at: String,
    /// Bytes that may still be written, after those of gathered rows.
    account: i64,
    /// Whether rows are gathered from now on.
    gathering: bool,
    gathered: Vec<GatheredRows>,
    finished: Finished,
    finished_bytes: usize,
}

/// Rows that are gathered in one reject.
#[derive(Debug)]
struct GatheredRows {
    name: String,
    reasons: Vec<(&'static str, u64)>,
    detail: Detail,
    lines: Option<(u64, u64)>,
    row_index: Option<u64>,
    payload: Vec<u8>,
    /// Bytes of the header at the beginning of the payload; zero if each reject repeats it.
    header_bytes: usize,
    /// The length of each row in bytes, and of the header if it comes first.
    row_bytes: Vec<u32>,
    /// Whether any row among them must be read separately.
    is_separate: bool,
    file: Option<FileContext>,
    owners: Owners,
    /// Bytes that were taken from the budget for it.
    reserved: i64,
}

impl Collector {
    /// A collector for the rejects of a function's invocation.
    #[must_use]
    pub fn new(function: &'static str, rejected_at: String) -> Self {
        Self {
            function,
            rejected_at,
            account: RESERVE,
            gathering: false,
            gathered: Vec::new(),
            finished: Finished::default(),
            finished_bytes: 0,
        }
    }

    /// Adds the bytes received to the budget.
    pub fn came_in(&mut self, bytes: usize) {
        self.account = self.account.saturating_add(signed(WRITTEN_FOR_ONE * bytes));
    }

    /// Adds a reject.
    pub fn add(&mut self, refused: RefusedRow<'_>) {
        let has_long_header = refused.file.is_some_and(FileContext::has_long_header);
        let must_be_single = refused.row_index.is_none() || refused.payload.len() >= LARGE_ROW_BYTES;
        if !has_long_header && (must_be_single || !self.gathering) && self.add_single(refused, must_be_single)
        {
            return;
        }
        self.gather(refused, has_long_header);
    }

    /// Whether enough is finished that it should be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.finished.rejects.len() >= FINISHED || self.finished_bytes >= FINISHED_BYTES
    }

    /// Whether anything is ready to be written.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Whether any gathered rows are not finished.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Finishes the gathered rows.
    pub fn finish(&mut self) {
        for gathered in std::mem::take(&mut self.gathered) {
            self.finish_one(gathered);
        }
        // The budget has grown enough since then: rows can be rejects of their own again.
        self.gathering &= self.account < ENOUGH;
    }

    /// Removes and returns the finished rejects.
    #[must_use]
    pub fn take(&mut self) -> Finished {
        self.finished_bytes = 0;
        std::mem::take(&mut self.finished)
    }

    /// Makes a row a reject of its own if the budget allows it.
    fn add_single(&mut self, refused: RefusedRow<'_>, must_be_single: bool) -> bool {
        let source = source(refused.name, refused.line.map(|line| (line, line)));
        let reject = Reject {
            function: self.function,
            reason: refused.reason,
            detail: refused.detail,
            source: &source,
            row_index: refused.row_index,
            rows: 1,
            payload: refused.payload,
            row_bytes: None,
            file: refused.file,
        };
        let lines = reject.encode(&self.rejected_at);
        let bytes = signed(lines.iter().map(Bytes::len).sum());
        if !must_be_single && self.account - bytes < FOR_GATHERED {
            self.gathering = true;
            return false;
        }
        self.account -= bytes;
        let (group, position) = refused.owner;
        let mut owners = Owners { group, ranges: Vec::with_capacity(1), rows: 0 };
        owners.add(position);
        self.push(lines, owners);
        true
    }

    fn push(&mut self, lines: Vec<Bytes>, owners: Owners) {
        self.finished_bytes += lines.iter().map(Bytes::len).sum::<usize>();
        self.finished.rejects.push((owners, lines.len()));
        self.finished.lines.extend(lines);
    }

    /// Adds a row to those that are refused for the same reason.
    fn gather(&mut self, refused: RefusedRow<'_>, has_long_header: bool) {
        if self.gathered.iter().any(|gathered| !gathered.is_of_file(&refused)) {
            self.finish();
        }
        let alike =
            |gathered: &GatheredRows| gathered.reasons.iter().any(|(reason, _)| *reason == refused.reason);
        let place = match self.gathered.iter().position(alike) {
            Some(place) => place,
            None => {
                let cost = GatheredRows::cost(&refused, has_long_header);
                // The first reject of a file is always begun: the bytes received before it pay for its header.
                if !self.gathered.is_empty() && self.account - cost < FOR_GATHERED / 2 {
                    0
                } else {
                    self.account -= cost;
                    self.gathered.push(GatheredRows::begin(&refused, has_long_header, cost));
                    self.gathered.len() - 1
                }
            }
        };
        self.account -= self.gathered[place].add(&refused);
        let bound = match refused.file.filter(|_| has_long_header).and_then(FileContext::header) {
            // Enough bytes of rows to pay for the next header.
            Some(header) => 3 * header.len() + 2 * GATHERED_BYTES,
            None => GATHERED_BYTES,
        };
        if self.gathered.iter().map(GatheredRows::bytes_of_rows).sum::<usize>() >= bound {
            self.finish();
        }
    }

    fn finish_one(&mut self, gathered: GatheredRows) {
        let begins_with_header = gathered.has_header();
        let GatheredRows {
            name,
            reasons,
            lines,
            row_index,
            payload,
            row_bytes,
            is_separate,
            file,
            owners,
            ..
        } = gathered;
        let source = source(&name, lines);
        let without_header = |file| FileContext { header: None, ..file };
        let file = if begins_with_header { file.map(without_header) } else { file };
        let rows = owners.rows;
        let (reason, detail) = match &reasons[..] {
            _ if rows == 1 => (reasons[0].0, gathered.detail),
            [(reason, _)] => {
                (*reason, format!("{rows} together, the first: {}", gathered.detail.as_str()).into())
            }
            _ => {
                let counts: Vec<_> =
                    reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
                let first = gathered.detail.as_str();
                (SEVERAL, format!("{rows} together ({}), the first: {first}", counts.join(", ")).into())
            }
        };
        let reject = Reject {
            function: self.function,
            reason,
            detail: &detail,
            source: &source,
            row_index,
            rows,
            payload: &payload,
            row_bytes: (begins_with_header || is_separate && rows > 1).then_some(&row_bytes),
            file: file.as_ref(),
        };
        let encoded = reject.encode(&self.rejected_at);
        self.account += gathered.reserved - signed(encoded.iter().map(Bytes::len).sum());
        self.push(encoded, owners);
    }
}

impl GatheredRows {
    /// The most bytes that a reject takes without its rows.
    fn cost(refused: &RefusedRow<'_>, has_long_header: bool) -> i64 {
        // The detail grows by the sentence about all rows.
        let text = 2 * refused.detail.as_str().len() + 100 + json_bytes(refused.name);
        let frame = FRAME_BYTES + text;
        let own = refused.file.map_or(0, |file| match &file.header {
            Some(header) if has_long_header => {
                // In base64, in parts with a frame each. The rows may need one more part.
                let parts = header.len() / PART_BYTES + 1;
                header.len().div_ceil(3) * 4 + parts * (frame + 4)
            }
            _ => file.header_json,
        });
        signed(frame + own + SHORT_BYTES)
    }

    fn begin(refused: &RefusedRow<'_>, has_long_header: bool, cost: i64) -> Self {
        let mut gathered = Self {
            name: refused.name.to_owned(),
            reasons: Vec::new(),
            detail: refused.detail.clone(),
            lines: refused.line.map(|line| (line, line)),
            row_index: refused.row_index,
            payload: Vec::new(),
            header_bytes: 0,
            row_bytes: Vec::new(),
            is_separate: false,
            file: refused.file.cloned(),
            owners: Owners { group: refused.owner.0, ranges: Vec::new(), rows: 0 },
            reserved: cost,
        };
        if has_long_header && let Some(header) = refused.file.and_then(FileContext::header) {
            gathered.payload.extend_from_slice(header.as_bytes());
            gathered.header_bytes = header.len();
            gathered.row_bytes.push(length(header.as_bytes()));
        }
        gathered
    }

    /// Whether the payload begins with the header.
    fn has_header(&self) -> bool {
        self.row_bytes.len() as u64 > self.owners.rows
    }

    /// Bytes of the rows. The header does not count, since it does not pay for the next one.
    fn bytes_of_rows(&self) -> usize {
        self.payload.len() - self.header_bytes
    }

    /// Whether a row is from the same file, message or record of the stream.
    fn is_of_file(&self, refused: &RefusedRow<'_>) -> bool {
        let same_file = match (&self.file, refused.file) {
            (Some(own), Some(other)) => own.is_that_of(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_file && self.owners.group == refused.owner.0 && self.name == refused.name
    }

    /// Adds a row; returns the most bytes that it takes.
    fn add(&mut self, refused: &RefusedRow<'_>) -> i64 {
        match self.reasons.iter_mut().find(|(reason, _)| *reason == refused.reason) {
            Some((_, count)) => *count += 1,
            None => self.reasons.push((refused.reason, 1)),
        }
        if !self.row_bytes.is_empty() {
            self.payload.push(b'\n');
        }
        self.payload.extend_from_slice(refused.payload);
        self.is_separate |= refused.is_separate;
        if let (Some((_, last)), Some(line)) = (&mut self.lines, refused.line) {
            *last = line;
        }
        let bytes = refused.payload.len() + 1;
        let cost = if self.is_separate || self.has_header() {
            // In base64 if that is shorter, plus the number that states its length.
            signed(bytes.div_ceil(3) * 4 + bytes.to_string().len() + 1)
        } else {
            signed(2 * bytes)
        };
        self.row_bytes.push(length(refused.payload));
        self.owners.add(refused.owner.1);
        self.reserved += cost;
        cost
    }
}

/// The source of rows, for people: `inbox/a.csv:7`, or `inbox/a.csv:7-2006`.
fn source(name: &str, lines: Option<(u64, u64)>) -> String {
    let mut name = name.to_owned();
    cut(&mut name, SOURCE_CHARS);
    match lines {
        None => name,
        Some((first, last)) if first == last => format!("{name}:{first}"),
        Some((first, last)) => format!("{name}:{first}-{last}"),
    }
}

fn length(row: &[u8]) -> u32 {
    u32::try_from(row.len()).unwrap_or(u32::MAX)
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn cost_of_gathered_rows_is_covered_and_little_more(
            detail in "[ -~]{0,199}|[\"]{0,199}",
            name in "[a-z/]{0,200}|[\"]{0,200}",
            header in prop_oneof![Just(None), (0..4_000_usize).prop_map(Some), (70_000..500_000_usize).prop_map(Some)],
            // A third more as JSON, so that rows are text under a header that is repeated.
            row in prop_oneof![Just("a\"b"), Just("abc"), Just("\"\"\"")],
            times in 1..400_usize,
            rows in 1..20_u64,
            is_separate in any::<bool>(),
        ) {
            let mut collector = Collector::new("transform", "2023-11-14T22:13:20.000000Z".to_owned());
            collector.gathering = true;
            let detail = Detail::from(detail);
            let file = header.map(|bytes| FileContext::new("csv", Some("h\"".repeat(bytes / 2).into()), None));
            let has_long_header = file.as_ref().is_some_and(FileContext::has_long_header);
            let payload = row.repeat(times);
            collector.came_in(1_000_000);
            let before = collector.account;
            for index in 0..rows {
                collector.add(RefusedRow {
                    owner: (0, index),
                    reason: "outside_metric_times",
                    detail: &detail,
                    name: &name,
                    line: Some(u64::MAX - rows + index),
                    row_index: Some(index),
                    payload: payload.as_bytes(),
                    is_separate,
                    file: file.as_ref(),
                });
            }
            prop_assert!(collector.has_gathered());
            let reserved = before - collector.account;
            collector.finish();
            let written = before - collector.account;
            prop_assert_eq!(written, signed(collector.finished_bytes));
            prop_assert!(written <= reserved, "{written} bytes, {reserved} taken off");
            // What a text may be longer than is known before: the frame, the detail and the rows as JSON.
            let of_rows = rows * (payload.len() as u64 + 12);
            let parts = header.filter(|_| has_long_header).map_or(0, |bytes| bytes / PART_BYTES + 1);
            let spare = FRAME_BYTES + SHORT_BYTES + 2 * detail.as_str().len() + 100
                + parts * (FRAME_BYTES + json_bytes(&name) + 2 * detail.as_str().len() + 100)
                + usize::try_from(of_rows).unwrap_or(usize::MAX);
            prop_assert!(reserved - written <= signed(spare), "{written} bytes, {reserved} taken off, {spare}");
        }
    }
}
