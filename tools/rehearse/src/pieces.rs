//! Reads files piece by piece and decides about the pieces on all cores. The outcome is the same as without pieces.
//!
//! A piece ends after a line feed. Workers take its rows as if a row began there, which is right unless the line feed is in
//! a quoted cell. Whether it was right is known once the piece before it is done. If not, the piece is read again from
//! where its first row really begins.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, available_parallelism},
};

use ingest::{
    inflate::InflateError,
    rows::{Format, NoRows, Position, Rows},
};
use replay::input::{Input, Text};

use crate::{
    decider::{Decider, Thresholds},
    error::Error,
    outcome::PieceOutcome,
    settings::Reading,
};

/// Bytes of a piece, and the most bytes of one in which no line ends.
const PIECE_BYTES: usize = 1024 * 1024;
const LINE_BYTES: usize = 8 * 1024 * 1024;
/// Pieces that wait for each worker.
const WAITING: usize = 2;

/// A piece of a file's text.
struct Piece {
    number: u64,
    text: Vec<u8>,
    /// Where its rows are assumed to begin.
    begin: Position,
}

/// A piece and the outcome of its rows, which is right if its first row begins where it was assumed to.
struct Done {
    piece: Piece,
    outcome: PieceOutcome,
    /// Where the row after its last complete row begins.
    end: Option<Position>,
}

pub(crate) struct Pieces<'d> {
    reading: Reading<'d>,
    /// The severities above which events are severe.
    above: Thresholds,
    workers: usize,
    piece_bytes: usize,
}

impl<'d> Pieces<'d> {
    /// Reads on all cores.
    pub(crate) fn new(reading: Reading<'d>, above: impl Into<Thresholds>) -> Self {
        let workers = available_parallelism().map_or(1, usize::from);
        Self { reading, above: above.into(), workers, piece_bytes: PIECE_BYTES }
    }

    /// Passes on the outcome of every piece of a file, in their order. Returns why there were no rows, if so, and how
    /// many pieces were read again.
    pub(crate) fn read(
        &self,
        input: &mut Input,
        accept: impl FnMut(PieceOutcome) -> Result<(), Error>,
    ) -> Result<(Option<NoRows>, u64), Error> {
        let (to_workers, pieces) = mpsc::sync_channel::<Piece>(self.workers * WAITING);
        let (to_main, done) = mpsc::channel::<Done>();
        let pieces = Mutex::new(pieces);
        thread::scope(|scope| {
            for _ in 0..self.workers {
                let (pieces, to_main) = (&pieces, to_main.clone());
                let format = input.format;
                scope.spawn(move || self.work(format, pieces, &to_main));
            }
            drop(to_main);
            let mut file = FileReader::new(self, input.format, done, accept);
            let ended = file.feed(input, to_workers)?;
            file.finish(ended.as_ref())
        })
    }

    /// Decides about pieces until there are no more.
    fn work(&self, format: Format, pieces: &Mutex<mpsc::Receiver<Piece>>, to_main: &mpsc::Sender<Done>) {
        let mut decider = Decider::new(self.reading, self.above);
        loop {
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(piece) = next else { return };
            let mut rows = self.rows(format, &piece.begin);
            let mut outcome = PieceOutcome::default();
            rows.push(&piece.text);
            decider.take(&mut rows, &mut outcome);
            let end = rows.position();
            // Fails only if reading has stopped at an error.
            if to_main.send(Done { piece, outcome, end }).is_err() {
                return;
            }
        }
    }

    fn rows(&self, format: Format, begin: &Position) -> Rows<'d> {
        Rows::resume(self.reading.dataset, format, begin).with_charset(self.reading.charset)
    }
}

/// How far a file has been read, and what follows.
struct FileReader<'p, 'd, F> {
    pieces: &'p Pieces<'d>,
    done: mpsc::Receiver<Done>,
    accept: F,
    format: Format,
    decider: Decider<'d>,
    /// Where the next row begins; at first the beginning of the file.
    at: Position,
    /// The text from there on, as far as it has been read.
    unread: Vec<u8>,
    /// Pieces done out of order.
    early: BTreeMap<u64, Done>,
    /// Pieces that the workers got, and those of them that were accepted or read again.
    sent: u64,
    finished: u64,
    again: u64,
}

impl<'p, 'd, F: FnMut(PieceOutcome) -> Result<(), Error>> FileReader<'p, 'd, F> {
    fn new(pieces: &'p Pieces<'d>, format: Format, done: mpsc::Receiver<Done>, accept: F) -> Self {
        Self {
            pieces,
            done,
            accept,
            format,
            decider: Decider::new(pieces.reading, pieces.above),
            at: Position { line: 1, ..Position::default() },
            unread: Vec::new(),
            early: BTreeMap::new(),
            sent: 0,
            finished: 0,
            again: 0,
        }
    }

    /// Reads the file to its end and hands its pieces to the workers; returns the error that ended it, if so.
    fn feed(
        &mut self,
        input: &mut Input,
        to_workers: mpsc::SyncSender<Piece>,
    ) -> Result<Option<InflateError>, Error> {
        let (mut text, mut offset) = (Vec::new(), 0);
        let most = (self.pieces.workers * WAITING) as u64;
        let ended = loop {
            match input.read()? {
                Text::Piece(more) => text.extend_from_slice(more),
                Text::End => break None,
                Text::Broken(error) => break Some(error),
            }
            let Some(cut) = self.cut(&text) else { continue };
            let rest = text.split_off(cut);
            let piece = std::mem::replace(&mut text, rest);
            offset += piece.len() as u64;
            if self.is_sequential() {
                self.take(&piece)?;
                continue;
            }
            let begin = Position { offset: offset - piece.len() as u64, ..self.at.clone() };
            let piece = Piece { number: self.sent, text: piece, begin };
            self.sent += 1;
            // The workers live as long as the channel.
            if to_workers.send(piece).is_err() {
                break None;
            }
            while self.sent - self.finished > most {
                self.receive()?;
            }
        };
        drop(to_workers);
        while self.finished < self.sent {
            self.receive()?;
        }
        self.unread.extend_from_slice(&text);
        Ok(ended)
    }

    /// Whether the pieces must be read one after the other: the header is not known yet, or line feeds do not separate
    /// the rows.
    fn is_sequential(&self) -> bool {
        self.format == Format::Json || self.format == Format::Csv && self.at.header.is_none()
    }

    /// Where to cut the text, if it is long enough.
    fn cut(&self, text: &[u8]) -> Option<usize> {
        if text.len() < self.pieces.piece_bytes {
            return None;
        }
        let line_end = memchr::memrchr(b'\n', text).map(|at| at + 1);
        line_end.or_else(|| (text.len() >= LINE_BYTES).then_some(text.len()))
    }

    /// Receives a piece from the workers, and accepts the pieces that follow what has been accepted.
    fn receive(&mut self) -> Result<(), Error> {
        let Ok(piece) = self.done.recv() else {
            return Err(Error::Request("a worker ended early, which is a fault of this program".to_owned()));
        };
        self.early.insert(piece.piece.number, piece);
        while let Some(done) = self.early.remove(&self.finished) {
            self.finished += 1;
            let Done { piece, outcome, end } = done;
            let is_right = self.unread.is_empty() && is_same_place(&self.at, &piece.begin);
            match end {
                Some(end) if is_right => {
                    let consumed = usize::try_from(end.offset - piece.begin.offset).unwrap_or(usize::MAX);
                    self.unread.extend_from_slice(piece.text.get(consumed..).unwrap_or_default());
                    self.at =
                        Position { line: self.at.line, index: self.at.index + rows_of(&outcome), ..end };
                    (self.accept)(outcome)?;
                }
                _ => {
                    self.again += 1;
                    self.take(&piece.text)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the rows of the text that follows, from where the next row really begins.
    fn take(&mut self, text: &[u8]) -> Result<(), Error> {
        self.unread.extend_from_slice(text);
        let mut rows = self.pieces.rows(self.format, &self.at);
        let mut outcome = PieceOutcome::default();
        rows.push(&self.unread);
        self.decider.take(&mut rows, &mut outcome);
        if let Some(end) = rows.position() {
            let consumed = usize::try_from(end.offset - self.at.offset).unwrap_or(usize::MAX);
            self.unread.drain(..consumed.min(self.unread.len()));
            self.at = end;
        }
        (self.accept)(outcome)
    }

    /// Takes the last rows of the file.
    fn finish(mut self, ended: Option<&InflateError>) -> Result<(Option<NoRows>, u64), Error> {
        let mut rows = self.pieces.rows(self.format, &self.at);
        let mut outcome = PieceOutcome::default();
        rows.push(&self.unread);
        match ended {
            Some(error) => rows.finish_damaged(error),
            None => rows.finish(),
        }
        self.decider.take(&mut rows, &mut outcome);
        if let Some(error) = ended {
            outcome.reject(error.reason(), error.to_string());
        }
        (self.accept)(outcome)?;
        Ok((rows.no_rows(), self.again))
    }
}

/// Whether the same rows are read from both positions. The numbers of rows and lines do not matter.
fn is_same_place(one: &Position, other: &Position) -> bool {
    let plain = |position: &Position| Position { line: 0, index: 0, ..position.clone() };
    plain(one) == plain(other)
}

fn rows_of(outcome: &PieceOutcome) -> u64 {
    outcome.times.len() as u64 + outcome.rejected.values().map(|rejected| rejected.rows).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        path::PathBuf,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use flate2::{Compression, write::GzEncoder};
    use ingest::{charset::Charset, report::ReadingReport};
    use proptest::prelude::*;
    use shared::data::dataset::Dataset;

    use super::*;
    use crate::{outcome::RejectedRows, times::Times};

    static ACCIDENTS: LazyLock<Dataset> = LazyLock::new(|| Dataset::named("us_accidents").unwrap());

    fn reading() -> Reading<'static> {
        let dataset = &*ACCIDENTS;
        let time = dataset.column("Start_Time").unwrap();
        Reading { dataset, time, format: None, charset: Charset::default(), date_order: None }
    }

    /// A file of these bytes, which is deleted with it.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(bytes: &[u8], extension: &str) -> Self {
            static FILES: AtomicU64 = AtomicU64::new(0);
            let number = FILES.fetch_add(1, Ordering::Relaxed);
            let name = format!("rehearse-test-{}-{number}.{extension}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    /// All that is known of the rows of a text.
    #[derive(Debug, Default, PartialEq)]
    struct Known {
        times: Vec<i64>,
        rejected: BTreeMap<&'static str, RejectedRows>,
        severe: Vec<(i64, Vec<u8>)>,
        report: ReadingReport,
        raw_bytes: u64,
        no_rows: Option<NoRows>,
    }

    fn known(outcomes: Vec<PieceOutcome>, no_rows: Option<NoRows>) -> Known {
        let mut known = Known { no_rows, ..Known::default() };
        let (mut tally, mut times) = (ingest::unreadable::Tally::default(), Times::default());
        let mut outcomes: Vec<_> = outcomes.into_iter().flat_map(|outcome| times.add(outcome)).collect();
        outcomes.extend(times.into_waiting());
        for outcome in outcomes {
            tally.add(&outcome.tally);
            let mut rest = outcome.projections.as_slice();
            for event in &outcome.severe {
                let (data, after) = rest.split_at(event.bytes as usize);
                known.severe.push((event.time, data.to_vec()));
                rest = after;
            }
            known.times.extend(outcome.times);
            known.raw_bytes += outcome.sizes.raw;
            for (reason, RejectedRows { rows, first }) in outcome.rejected {
                known.rejected.entry(reason).or_insert(RejectedRows { rows: 0, first }).rows += rows;
            }
        }
        known.report = ReadingReport::new(&ACCIDENTS, &tally);
        known
    }

    /// The rows of a file that is read in pieces, and how many pieces were read again.
    fn in_pieces(file: &Temporary, piece_bytes: usize) -> (Known, u64) {
        let (mut input, _) = Input::open(&file.0, None, false).unwrap();
        let pieces = Pieces { piece_bytes, workers: 3, ..Pieces::new(reading(), 2) };
        let mut outcomes = Vec::new();
        let (no_rows, again) = pieces
            .read(&mut input, |outcome| {
                outcomes.push(outcome);
                Ok(())
            })
            .unwrap();
        (known(outcomes, no_rows), again)
    }

    /// The same rows, read one after the other.
    fn in_a_row(format: Format, text: &[u8]) -> Known {
        let mut rows = Rows::new(&ACCIDENTS, format);
        let mut outcome = PieceOutcome::default();
        rows.push(text);
        rows.finish();
        Decider::new(reading(), 2).take(&mut rows, &mut outcome);
        let no_rows = rows.no_rows();
        known(vec![outcome], no_rows)
    }

    const HEADER: &str = "ID,Severity,County,Start_Time,Description,Distance(mi),own\n";

    fn csv_row() -> impl Strategy<Value = String> {
        let cell = prop_oneof![
            Just(String::new()),
            "[a-z ;\"]{0,6}",
            Just("\"two\nlines\"".to_owned()),
            Just("\"a \"\"b\"\",\r\n\n c\"".to_owned()),
        ];
        let time = prop_oneof![
            Just("2022-02-08 00:37:08".to_owned()),
            Just("8/2/2016 0:37".to_owned()),
            Just("soon".to_owned()),
            Just(String::new()),
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n")];
        (0..99, prop_oneof![Just("3"), Just("2"), Just("x")], time, cell.clone(), cell, end).prop_map(
            |(id, severity, time, description, distance, end)| {
                format!("A-{id},{severity},Franklin,{time},{description},{distance},1{end}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn csv_in_pieces_has_the_rows_of_the_whole(
            rows in proptest::collection::vec(csv_row(), 0..60),
            piece_bytes in 1_usize..500,
        ) {
            let text = HEADER.to_owned() + &rows.concat();
            let file = Temporary::new(text.as_bytes(), "csv");
            prop_assert_eq!(in_pieces(&file, piece_bytes).0, in_a_row(Format::Csv, text.as_bytes()));
        }

        #[test]
        fn json_in_pieces_has_the_rows_of_the_whole(
            severities in proptest::collection::vec(0..6, 0..60),
            piece_bytes in 1_usize..300,
        ) {
            let event = |severity: &i32| {
                format!("{{\"ID\":\"A\",\n\"Severity\":{severity},\"Start_Time\":\"2022-02-08 00:37:08\"}}")
            };
            let array = format!("[{}]", severities.iter().map(event).collect::<Vec<_>>().join(",\n"));
            let file = Temporary::new(array.as_bytes(), "json");
            prop_assert_eq!(in_pieces(&file, piece_bytes).0, in_a_row(Format::Json, array.as_bytes()));
            let lines = severities.iter().map(|severity| event(severity).replace('\n', " ") + "\n");
            let lines = lines.collect::<String>();
            let file = Temporary::new(lines.as_bytes(), "ndjson");
            prop_assert_eq!(in_pieces(&file, piece_bytes), (in_a_row(Format::Ndjson, lines.as_bytes()), 0));
        }
    }

    #[test]
    fn pieces_of_an_ordinary_file_are_read_once_and_gzip_is_the_same() {
        let row = |number: usize| format!("A-{number},3,Franklin,2022-02-08 00:37:08,what,0.5,1\r\n");
        let text = HEADER.to_owned() + &(0..500).map(row).collect::<String>();
        let (plain, again) = in_pieces(&Temporary::new(text.as_bytes(), "csv"), 1_000);
        assert_eq!((plain.times.len(), plain.severe.len(), again), (500, 500, 0));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        let file = Temporary::new(&packed, "csv.gz");
        assert_eq!(in_pieces(&file, 1_000), (plain, 0));
        let (cut, _) = in_pieces(&Temporary::new(&packed[..packed.len() - 20], "csv.gz"), 1_000);
        assert!(cut.rejected.contains_key("bad_gzip"), "{:?}", cut.rejected);
    }

    #[test]
    fn severe_event_is_received_at_its_own_time() {
        let text =
            HEADER.to_owned() + "A-1,3,Franklin,2022-02-08T01:37:08.25+01:00,,,\nA-2,3,Franklin,soon,,,\n";
        let known = in_a_row(Format::Csv, text.as_bytes());
        let time = 1_644_280_628_250_000;
        assert_eq!(known.times, [time, time], "a row without a time has that of the row before");
        for (found, data) in &known.severe {
            let data = String::from_utf8(data.clone()).unwrap();
            assert_eq!(*found, time);
            assert!(data.contains(r#""Txn_Timestamp":"2022-02-08T00:37:08.250000Z""#), "{data}");
        }
    }
}
