//! `replay FILE`: sends the rows of a file through the deployed ingest function.

use std::{future::Future, pin::pin, time::Duration};

use ingest::report::ReadingReport;
use serde::{Deserialize, Serialize};
use shared::delivery::{Fault, backoff};
use tokio::time::{Instant, timeout};

use crate::{
    batches::{Batch, Batches},
    error::Error,
    interrupt::Interrupt,
    pace::{Pace, Rate},
    progress::Progress,
};

/// Rejects that are shown; all of them are in the rejects table.
const REJECTS_SHOWN: usize = 20;

/// How long a response may take before the wait is reported.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a batch is sent in total before its remaining rows count as failed.
const ATTEMPTS: u32 = 8;

/// The deployed ingest function.
pub(crate) trait Ingest {
    /// Sends one request and returns its response.
    fn invoke(&self, request: Vec<u8>) -> impl Future<Output = Result<IngestAnswer, InvokeFailure>>;
}

/// The response of ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct IngestAnswer {
    /// Rows that are on the stream.
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// Rows that could not be delivered in time.
    pub(crate) failed: u64,
    /// The first few rejects.
    #[serde(default)]
    pub(crate) rejects: Vec<AnsweredReject>,
    /// Positions of the rows that failed, as ranges whose last position is included.
    #[serde(default)]
    pub(crate) failed_indexes: Vec<(usize, usize)>,
}

impl IngestAnswer {
    /// The position of each row that failed.
    fn failed_positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.failed_indexes.iter().flat_map(|(first, last)| *first..=*last)
    }
}

/// A reject, by the row's position in the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct AnsweredReject {
    pub(crate) index: usize,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvokeFailure {
    /// Sending it again may help.
    Passing(String),
    /// No request will succeed.
    Lasting(String),
    /// The function failed on this request.
    Function(String),
}

/// A reject, by the line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RejectedRow {
    /// The line on which the row begins, from 1.
    pub(crate) line: u64,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// The outcome of the rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SendSummary {
    pub(crate) rows: u64,
    /// Rows that are on the stream.
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// Rows that could not be delivered.
    pub(crate) failed: u64,
    /// How many times rows were sent again.
    pub(crate) resent: u64,
    pub(crate) requests: u64,
    /// From the first row to the last response.
    pub(crate) seconds: f64,
    /// The first few rejects.
    pub(crate) rejects: Vec<RejectedRow>,
    /// What could not be read of the file, up to the last row that was sent.
    #[serde(flatten)]
    pub(crate) report: ReadingReport,
}

impl SendSummary {
    /// The state in a few words.
    pub(crate) fn state(&self) -> String {
        let Self { rows, accepted, rejected, failed, .. } = self;
        format!("{rows} rows sent, {accepted} accepted, {rejected} rejected, {failed} failed")
    }

    /// The summary for people.
    pub(crate) fn text(&self) -> String {
        let Self { rejected, failed, resent, requests, seconds, .. } = self;
        let s = if *requests == 1 { "" } else { "s" };
        let mut lines = vec![format!("{} in {seconds:.1} s and {requests} request{s}", self.state())];
        if *resent > 0 {
            lines.push(format!("{resent} rows were sent again, because the first attempt failed"));
        }
        if *rejected > 0 {
            lines.push(format!("{rejected} rejected rows are in the rejects table with their reasons"));
        }
        if *failed > 0 {
            lines.push(format!(
                "{failed} rows could not be delivered; send the file again when the stream has capacity"
            ));
        }
        lines.join("\n")
    }
}

/// Sends everything, in the file's order, and counts into `summary` as it goes.
pub(crate) async fn send(
    batches: &mut Batches<'_>,
    ingest: &impl Ingest,
    rate: Rate,
    summary: &mut SendSummary,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let begin = Instant::now();
    let mut pace = Pace::new(rate);
    let mut jitter = fastrand::Rng::new();
    while let Some(batch) = batches.next(pace.rows())? {
        let line = batch.rows[0].line;
        if interrupt.sleep(pace.wait(begin.elapsed())).await {
            return Err(before(line));
        }
        pace.sending(batch.rows.len(), begin.elapsed());
        summary.rows += batch.rows.len() as u64;
        let sent = settle(batch, ingest, summary, progress, &mut jitter, interrupt).await;
        summary.seconds = begin.elapsed().as_secs_f64();
        progress.say(|| summary.state());
        sent.map_err(|error| match error {
            Error::Cloud(problem) if summary.requests > 1 => {
                Error::Cloud(format!("{problem}; stopped at line {line}"))
            }
            other => other,
        })?;
    }
    Ok(())
}

fn before(line: u64) -> Error {
    Error::Interrupted(format!("before line {line}; the rows from there on were not delivered"))
}

/// Sends a batch, and its failed rows again, until all of it is settled.
async fn settle(
    mut batch: Batch,
    ingest: &impl Ingest,
    summary: &mut SendSummary,
    progress: &Progress,
    jitter: &mut fastrand::Rng,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    if batch.is_too_large() {
        let line = batch.rows[0].line;
        progress.note(&format!(
            "line {line}: the row is too large for an invocation: rows of up to 1 MiB can be delivered"
        ));
        summary.failed += 1;
        return Ok(());
    }
    let mut attempt = 1;
    loop {
        summary.requests += 1;
        let problem = match invoke(ingest, &batch, progress, interrupt).await {
            Ok(answer) => {
                check(&answer, &batch)?;
                count(&answer, &batch, summary, progress);
                if answer.failed == 0 {
                    return Ok(());
                }
                batch = batch.part(&answer.failed_positions().collect::<Vec<_>>());
                format!("the stream did not accept {} rows", answer.failed)
            }
            Err(InvokeFailure::Passing(problem)) => problem,
            Err(InvokeFailure::Lasting(problem) | InvokeFailure::Function(problem)) => {
                summary.failed += batch.rows.len() as u64;
                return Err(Error::Cloud(problem));
            }
        };
        if attempt == ATTEMPTS {
            summary.failed += batch.rows.len() as u64;
            progress
                .note(&format!("line {}: given up after {ATTEMPTS} attempts: {problem}", batch.rows[0].line));
            return Ok(());
        }
        if interrupt.sleep(backoff(Fault::Throttled, attempt, jitter)).await {
            summary.failed += batch.rows.len() as u64;
            return Err(before(batch.rows[0].line));
        }
        attempt += 1;
        summary.resent += batch.rows.len() as u64;
    }
}

/// Sends a request, and waits for its response also after an interruption: only the response says what was accepted.
async fn invoke(
    ingest: &impl Ingest,
    batch: &Batch,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<IngestAnswer, InvokeFailure> {
    let invocation = answered(ingest, batch, progress);
    tokio::select! {
        biased;
        answer = invocation => answer,
        never = interrupt.note(progress) => never,
    }
}

/// Sends a request, and reports a slow response: a throttled stream delays it.
async fn answered(
    ingest: &impl Ingest,
    batch: &Batch,
    progress: &Progress,
) -> Result<IngestAnswer, InvokeFailure> {
    let mut invocation = pin!(ingest.invoke(batch.request()));
    let mut waited = Duration::ZERO;
    loop {
        match timeout(PATIENCE, &mut invocation).await {
            Ok(answer) => return answer,
            Err(_elapsed) => {
                waited += PATIENCE;
                let line = batch.rows[0].line;
                progress.note(&format!("line {line}: no response for {} s, still waiting", waited.as_secs()));
            }
        }
    }
}

/// Checks that the response accounts for every row; otherwise the function is not ingest.
fn check(answer: &IngestAnswer, batch: &Batch) -> Result<(), Error> {
    let rows = batch.rows.len();
    let counted = answer.accepted + answer.rejected + answer.failed;
    // The ranges are checked before they are counted, because the response may be invalid.
    let in_batch = answer.failed_indexes.iter().all(|(_, last)| *last < rows);
    let named = if in_batch { answer.failed_positions().count() } else { 0 };
    if counted == rows as u64 && named as u64 == answer.failed {
        return Ok(());
    }
    Err(Error::Cloud(format!(
        "expected a response about {rows} rows, found {counted} rows of which {named} failed; the function is not the ingest of this version, deploy it again"
    )))
}

fn count(answer: &IngestAnswer, batch: &Batch, summary: &mut SendSummary, progress: &Progress) {
    summary.accepted += answer.accepted;
    summary.rejected += answer.rejected;
    for reject in &answer.rejects {
        let Some(row) = batch.rows.get(reject.index) else { continue };
        if summary.rejects.len() == REJECTS_SHOWN {
            return;
        }
        let AnsweredReject { reason, detail, .. } = reject.clone();
        progress.note(&format!("line {}: rejected ({reason}): {detail}", row.line));
        summary.rejects.push(RejectedRow { line: row.line, reason, detail });
        if summary.rejects.len() == REJECTS_SHOWN {
            progress.note("further rejects are only counted");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use ingest::rows::Format;
    use serde_json::Value;
    use tokio::time::sleep;

    use super::*;
    use crate::batches::tests::batches;

    /// Responds by a script, then accepts everything; stores what was sent, and when.
    struct Scripted {
        script: RefCell<VecDeque<Result<IngestAnswer, InvokeFailure>>>,
        sent: RefCell<Vec<(Duration, Vec<String>)>>,
        begin: Instant,
        interrupt: Interrupt,
        /// The request during which it is interrupted.
        interrupted: Option<usize>,
    }

    impl Scripted {
        fn new(script: impl IntoIterator<Item = Result<IngestAnswer, InvokeFailure>>) -> Self {
            let script = RefCell::new(script.into_iter().collect());
            let begin = Instant::now();
            Self {
                script,
                sent: RefCell::default(),
                begin,
                interrupt: Interrupt::default(),
                interrupted: None,
            }
        }

        fn ids(&self) -> Vec<String> {
            self.sent.borrow().iter().map(|(_, ids)| ids.concat()).collect()
        }
    }

    impl Ingest for Scripted {
        async fn invoke(&self, request: Vec<u8>) -> Result<IngestAnswer, InvokeFailure> {
            let request: Value = serde_json::from_slice(&request).unwrap();
            let rows = request["body"].as_str().unwrap().lines().skip(1);
            let ids: Vec<_> = rows.map(|row| row.split_once(',').unwrap().0.to_owned()).collect();
            let accepted = ids.len() as u64;
            self.sent.borrow_mut().push((self.begin.elapsed(), ids));
            if self.interrupted == Some(self.sent.borrow().len()) {
                self.interrupt.happen();
                sleep(Duration::from_secs(5)).await;
            }
            self.script
                .borrow_mut()
                .pop_front()
                .unwrap_or(Ok(IngestAnswer { accepted, ..IngestAnswer::default() }))
        }
    }

    async fn run(ingest: &Scripted, rate: &str) -> (SendSummary, Result<(), Error>) {
        let mut summary = SendSummary::default();
        let mut batches = batches(Format::Csv, "ID,Severity\na,1\nb,2\n\nc,3\nd,4\ne,4\n");
        let result = send(
            &mut batches,
            ingest,
            rate.parse().unwrap(),
            &mut summary,
            &Progress::hidden(),
            &ingest.interrupt,
        )
        .await;
        (summary, result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_mini_batch_goes_out_each_second() {
        let ingest = Scripted::new([]);
        let (summary, result) = run(&ingest, "2").await;
        result.unwrap();
        assert_eq!((summary.rows, summary.accepted, summary.requests), (5, 5, 3));
        assert_eq!(ingest.ids(), ["ab", "cd", "e"]);
        let seconds: Vec<_> = ingest.sent.borrow().iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_rows_are_sent_again_before_later_ones() {
        let answer = IngestAnswer {
            accepted: 1,
            failed: 2,
            failed_indexes: vec![(0, 0), (2, 2)],
            ..IngestAnswer::default()
        };
        let ingest = Scripted::new([Ok(answer)]);
        let (summary, result) = run(&ingest, "3").await;
        result.unwrap();
        assert_eq!(ingest.ids(), ["abc", "ac", "de"]);
        assert_eq!((summary.accepted, summary.failed, summary.resent, summary.requests), (5, 0, 2, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_keep_failing_are_counted_and_later_ones_sent() {
        let failing = (0..ATTEMPTS).map(|_| Err(InvokeFailure::Passing("throttled".to_owned())));
        let ingest = Scripted::new(failing);
        let (summary, result) = run(&ingest, "3").await;
        result.unwrap();
        assert_eq!((summary.accepted, summary.failed), (2, 3));
        assert_eq!(summary.requests, u64::from(ATTEMPTS) + 1);
        assert!(summary.text().contains("3 rows could not be delivered"), "{}", summary.text());
    }

    #[tokio::test(start_paused = true)]
    async fn rejects_are_reported_by_line() {
        let reject =
            |index| AnsweredReject { index, reason: "bad_severity".to_owned(), detail: "…".to_owned() };
        let answer = IngestAnswer {
            accepted: 3,
            rejected: 2,
            rejects: vec![reject(1), reject(2)],
            ..IngestAnswer::default()
        };
        let (summary, result) = run(&Scripted::new([Ok(answer)]), "max").await;
        result.unwrap();
        assert_eq!(summary.rejects.iter().map(|reject| reject.line).collect::<Vec<_>>(), [3, 5]);
        assert_eq!((summary.accepted, summary.rejected, summary.failed), (3, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_where_nothing_will_be_taken_and_says_where() {
        let lasting = || Err(InvokeFailure::Lasting("there is no function f".to_owned()));
        let (summary, result) = run(&Scripted::new([lasting()]), "2").await;
        assert_eq!(result.unwrap_err().to_string(), "there is no function f");
        assert_eq!((summary.rows, summary.failed), (2, 2));
        let good = Ok(IngestAnswer { accepted: 2, ..IngestAnswer::default() });
        let (summary, result) = run(&Scripted::new([good, lasting()]), "2").await;
        assert_eq!(result.unwrap_err().to_string(), "there is no function f; stopped at line 5");
        assert_eq!((summary.rows, summary.accepted, summary.failed), (4, 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn interrupted_command_waits_for_its_response_and_says_where_it_stopped() {
        let mut ingest = Scripted::new([]);
        ingest.interrupted = Some(2);
        let (summary, result) = run(&ingest, "2").await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "interrupted before line 7; the rows from there on were not delivered"
        );
        assert_eq!(ingest.ids(), ["ab", "cd"]);
        assert_eq!((summary.rows, summary.accepted, summary.failed, summary.requests), (4, 4, 0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn interrupted_retry_counts_its_rows_as_failed() {
        let mut ingest = Scripted::new([Err(InvokeFailure::Passing("throttled".to_owned()))]);
        ingest.interrupted = Some(1);
        let (summary, result) = run(&ingest, "max").await;
        assert!(result.unwrap_err().to_string().starts_with("interrupted before line 2;"));
        assert_eq!((summary.rows, summary.accepted, summary.failed), (5, 0, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_misses_a_row_is_an_error() {
        let short = Ok(IngestAnswer { accepted: 1, ..IngestAnswer::default() });
        let unnamed = Ok(IngestAnswer {
            accepted: 1,
            failed: 1,
            failed_indexes: vec![(7, 7)],
            ..IngestAnswer::default()
        });
        for answer in [short, unnamed] {
            let (_, result) = run(&Scripted::new([answer]), "2").await;
            assert!(result.unwrap_err().to_string().contains("about 2 rows"));
        }
    }
}
