//! Delivery: entries brought to a service within its limits, what it refuses sent again, until a deadline.
//!
//! The SDK's own retries are off: this is the one place where anything is sent again.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hashbrown::HashSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Requests in flight to one service, where the order of the entries allows more than one.
pub const IN_FLIGHT: usize = 4;

/// The longest wait for the answer to one request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// What a request and an entry may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in a request.
    pub entries: usize,
    /// Bytes in a request, as the service counts them.
    pub request_bytes: usize,
    /// Bytes in an entry, as the service counts them.
    pub entry_bytes: usize,
}

/// A service that takes entries, many in a request.
pub trait Service {
    /// What it takes.
    type Entry;

    /// Its limits.
    fn limits(&self) -> Limits;

    /// The bytes that an entry counts for, as the service counts them.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// Sends one request. The answer names the entries that were refused, by their position in `entries`.
    fn send(&self, entries: &[&Self::Entry]) -> impl Future<Output = Answer>;
}

/// The refused entries of a request that was answered, or the failure of the whole request.
pub type Answer = Result<Vec<Refusal>, Failure>;

/// An entry that the service refused while it took others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the request.
    pub index: usize,
    /// Why.
    pub failure: Failure,
}

/// Why a request or an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What may help.
    pub fault: Fault,
    /// One sentence for people, without any payload.
    pub detail: String,
}

/// Whether sending again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It may, soon.
    Transient,
    /// It may, after a longer pause.
    Throttled,
    /// It does not.
    Permanent,
    /// It does not until the deployment is corrected: a permission, a key or a resource is missing. The service takes
    /// nothing until then, and an entry that it refuses is not itself at fault.
    Misconfigured,
}

impl Fault {
    /// Whether nothing that is sent again can be taken.
    fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::Misconfigured)
    }
}

/// Which entries keep their order: an entry is sent in the request of the one before it or once that one was taken,
/// and not at all once that one failed. An entry that the service refuses out of a request comes later than those
/// that it took.
#[derive(Debug)]
pub enum Order<E> {
    /// All of them, so that one request is in flight, and nothing is sent after the first failure.
    Kept,
    /// Those of one key; requests without a key in common are in flight side by side.
    PerKey(fn(&E) -> &str),
    /// None.
    Free,
}

impl<E> Order<E> {
    /// What an entry has in common with those that it keeps its order with.
    fn key<'e>(&self, entry: &'e E) -> Option<&'e str> {
        match self {
            Self::Kept => Some(""),
            Self::PerKey(key) => Some(key(entry)),
            Self::Free => None,
        }
    }
}

/// How long to go on, and the seed of the back-off's jitter.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Nothing is sent or awaited after it.
    pub deadline: Instant,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it.
    Delivered,
    /// The service will never take it: it is too large or not valid. The sentence says why.
    Unacceptable(String),
    /// The service did not take it in time, or takes nothing at all. The sentence says why.
    Failed(String),
}

/// What became of the entries, by their position.
#[must_use]
#[derive(Debug, Default)]
pub struct Report {
    /// One outcome for each entry.
    pub outcomes: Vec<Outcome>,
    /// How many times an entry was sent again.
    pub resent: u64,
    /// Requests made.
    pub requests: u64,
}

/// Brings the entries to the service.
pub async fn deliver<S: Service>(
    service: &S,
    entries: &[S::Entry],
    order: Order<S::Entry>,
    terms: Terms,
) -> Report {
    let limits = service.limits();
    let sizes: Vec<usize> = entries.iter().map(|entry| service.size(entry)).collect();
    let mut report = Report {
        outcomes: sizes.iter().map(|size| before_sending(*size, limits)).collect(),
        ..Report::default()
    };
    let mut queue = Queue::new(&sizes, entries.iter().map(|entry| order.key(entry)).collect(), limits);
    let mut seeds = fastrand::Rng::with_seed(terms.seed);
    let mut in_flight = FuturesUnordered::new();
    loop {
        while in_flight.len() < IN_FLIGHT
            && let Some(pending) = queue.next_request()
        {
            let jitter = seeds.fork();
            in_flight.push(Attempts { service, entries, pending, deadline: terms.deadline, jitter }.settle());
        }
        let Some(settled) = in_flight.next().await else { return report };
        queue.release(&settled);
        report.note(settled);
    }
}

/// What becomes of an entry that is never sent.
fn before_sending(size: usize, limits: Limits) -> Outcome {
    if size <= limits.entry_bytes {
        return Outcome::Failed("not sent, since an earlier entry failed".to_owned());
    }
    Outcome::Unacceptable(format!(
        "{size} bytes are more than the {} that the service takes in an entry",
        limits.entry_bytes
    ))
}

impl Report {
    /// Notes what became of one request's entries.
    fn note(&mut self, settled: Settled) {
        self.resent += settled.resent;
        self.requests += settled.requests;
        for (index, outcome) in settled.outcomes {
            self.outcomes[index] = outcome;
        }
    }
}

/// The entries that were not sent yet, by position.
struct Queue<'a> {
    sizes: &'a [usize],
    keys: Vec<Option<&'a str>>,
    limits: Limits,
    waiting: Vec<usize>,
    /// Keys of which an entry is in flight or has failed: their later entries wait.
    held: HashSet<&'a str>,
}

impl<'a> Queue<'a> {
    /// All entries but those that are too large by themselves.
    fn new(sizes: &'a [usize], keys: Vec<Option<&'a str>>, limits: Limits) -> Self {
        let waiting = (0..sizes.len()).filter(|index| sizes[*index] <= limits.entry_bytes).collect();
        Self { sizes, keys, limits, waiting, held: HashSet::new() }
    }

    /// The next request that keeps to the limits: the first entries whose keys nothing holds.
    fn next_request(&mut self) -> Option<Vec<usize>> {
        let Self { sizes, keys, limits, waiting, held } = self;
        let (mut request, mut bytes, mut full) = (Vec::new(), 0, false);
        waiting.retain(|index| {
            let size = sizes[*index];
            if full || keys[*index].is_some_and(|key| held.contains(key)) {
                return true;
            }
            full =
                request.len() == limits.entries || !request.is_empty() && bytes + size > limits.request_bytes;
            if !full {
                bytes += size;
                request.push(*index);
            }
            full
        });
        held.extend(request.iter().filter_map(|index| keys[*index]));
        (!request.is_empty()).then_some(request)
    }

    /// Lets the later entries of a request's keys follow, but for those of which an entry failed.
    fn release(&mut self, settled: &Settled) {
        let (failed, done): (Vec<_>, Vec<_>) =
            settled.outcomes.iter().partition(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        for key in done.into_iter().filter_map(|(index, _)| self.keys[*index]) {
            self.held.remove(key);
        }
        self.held.extend(failed.into_iter().filter_map(|(index, _)| self.keys[*index]));
    }
}

/// One request, sent until every entry is settled.
struct Attempts<'a, S: Service> {
    service: &'a S,
    entries: &'a [S::Entry],
    pending: Vec<usize>,
    deadline: Instant,
    jitter: fastrand::Rng,
}

#[derive(Default)]
struct Settled {
    outcomes: Vec<(usize, Outcome)>,
    resent: u64,
    requests: u64,
}

impl<S: Service> Attempts<'_, S> {
    async fn settle(mut self) -> Settled {
        let mut settled = Settled::default();
        let mut fruitless = 0;
        let mut last = Failure { fault: Fault::Transient, detail: "the invocation's time was up".to_owned() };
        while !self.pending.is_empty() {
            if Instant::now() >= self.deadline {
                break;
            }
            let sent = self.pending.len();
            settled.requests += 1;
            match self.attempt().await {
                Ok(refusals) => last = self.keep_refused(refusals, &mut settled).unwrap_or(last),
                Err(failure) => last = failure,
            }
            if last.fault.is_final() || self.pending.is_empty() {
                break;
            }
            fruitless = if self.pending.len() < sent { 0 } else { fruitless + 1 };
            let pause = backoff(last.fault, fruitless, &mut self.jitter);
            if Instant::now() + pause >= self.deadline {
                break;
            }
            sleep(pause).await;
            settled.resent += self.pending.len() as u64;
        }
        let failed = Outcome::Failed(last.detail);
        settled.outcomes.extend(self.pending.into_iter().map(|index| (index, failed.clone())));
        settled
    }

    async fn attempt(&self) -> Answer {
        let entries: Vec<&S::Entry> = self.pending.iter().map(|index| &self.entries[*index]).collect();
        let until = self.deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
        timeout_at(until, self.service.send(&entries)).await.unwrap_or_else(|_| {
            Err(Failure { fault: Fault::Transient, detail: "the service did not answer in time".to_owned() })
        })
    }

    /// Settles what was taken or will never be, keeps the rest pending, and gives the gravest of its faults.
    fn keep_refused(&mut self, refusals: Vec<Refusal>, settled: &mut Settled) -> Option<Failure> {
        let mut refused: Vec<Option<Failure>> = vec![None; self.pending.len()];
        for refusal in refusals {
            // Some entry was refused and nobody knows which, so that none counts as delivered.
            let Some(place) = refused.get_mut(refusal.index) else { return Some(not_understood()) };
            *place = Some(refusal.failure);
        }
        let mut last: Option<Failure> = None;
        let mut pending = Vec::new();
        for (index, failure) in self.pending.drain(..).zip(refused) {
            match failure {
                None => settled.outcomes.push((index, Outcome::Delivered)),
                Some(failure) if failure.fault == Fault::Permanent => {
                    settled.outcomes.push((index, Outcome::Unacceptable(failure.detail)));
                }
                Some(failure) => {
                    pending.push(index);
                    if last.as_ref().is_none_or(|last| last.fault < failure.fault) {
                        last = Some(failure);
                    }
                }
            }
        }
        self.pending = pending;
        last
    }
}

fn not_understood() -> Failure {
    let detail = "the answer names an entry that the request does not have".to_owned();
    Failure { fault: Fault::Transient, detail }
}

/// Full jitter over an exponential back-off: throttling is given longer than other faults.
///
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
fn backoff(fault: Fault, fruitless: u32, jitter: &mut fastrand::Rng) -> Duration {
    let (base, cap) = match fault {
        Fault::Throttled => (200, 5_000),
        Fault::Transient | Fault::Permanent | Fault::Misconfigured => (50, 2_000),
    };
    let ceiling = cap.min(base << fruitless.min(10));
    Duration::from_millis(jitter.u64(0..=ceiling))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// Answers by script; what was sent is kept.
    #[derive(Default)]
    struct Scripted {
        script: RefCell<VecDeque<Reply>>,
        sent: RefCell<Vec<Vec<u32>>>,
        at: RefCell<Vec<Instant>>,
    }

    enum Reply {
        Answer(Answer),
        Silence,
    }

    impl Scripted {
        fn new(script: impl IntoIterator<Item = Reply>) -> Self {
            Self { script: RefCell::new(script.into_iter().collect()), ..Self::default() }
        }
    }

    const LIMITS: Limits = Limits { entries: 3, request_bytes: 100, entry_bytes: 60 };

    impl Service for Scripted {
        type Entry = u32;
        fn limits(&self) -> Limits {
            LIMITS
        }
        fn size(&self, entry: &u32) -> usize {
            *entry as usize
        }
        async fn send(&self, entries: &[&u32]) -> Answer {
            self.sent.borrow_mut().push(entries.iter().map(|entry| **entry).collect());
            self.at.borrow_mut().push(Instant::now());
            let reply = self.script.borrow_mut().pop_front();
            match reply {
                None => Ok(vec![]),
                Some(Reply::Answer(answer)) => answer,
                Some(Reply::Silence) => std::future::pending().await,
            }
        }
    }

    fn failure(fault: Fault) -> Failure {
        Failure { fault, detail: format!("{fault:?}").to_lowercase() }
    }

    fn refuse(refused: &[(usize, Fault)]) -> Reply {
        Reply::Answer(Ok(refused
            .iter()
            .map(|(index, fault)| Refusal { index: *index, failure: failure(*fault) })
            .collect()))
    }

    fn fail(fault: Fault) -> Reply {
        Reply::Answer(Err(failure(fault)))
    }

    fn terms(seconds: u64) -> Terms {
        Terms { deadline: Instant::now() + Duration::from_secs(seconds), seed: 7 }
    }

    const DONE: Outcome = Outcome::Delivered;

    /// The requests that entries of those sizes and keys are cut into, each taken before the next.
    fn requests(sizes: &[usize], keys: &[Option<&'static str>]) -> Vec<Vec<usize>> {
        let mut queue = Queue::new(sizes, keys.to_vec(), LIMITS);
        std::iter::from_fn(|| {
            let request = queue.next_request()?;
            let outcomes = request.iter().map(|index| (*index, DONE)).collect();
            queue.release(&Settled { outcomes, ..Settled::default() });
            Some(request)
        })
        .collect()
    }

    #[test]
    fn requests_keep_to_the_limits_of_count_and_bytes() {
        let cases: [(&[usize], &[&[usize]]); 6] = [
            (&[], &[]),
            (&[1, 1, 1, 1], &[&[0, 1, 2], &[3]]),
            (&[50, 50, 1], &[&[0, 1], &[2]]),
            (&[60, 41], &[&[0], &[1]]),
            (&[61, 61], &[]),
            (&[50, 61, 50, 1], &[&[0, 2], &[3]]),
        ];
        for (sizes, expected) in cases {
            for key in [None, Some("")] {
                assert_eq!(requests(sizes, &vec![key; sizes.len()]), expected, "{sizes:?}");
            }
        }
    }

    #[test]
    fn an_entry_waits_for_those_of_its_key_that_are_in_flight_or_failed() {
        let keys = ["a", "b", "c", "a", "d", "b"].map(Some).to_vec();
        let mut queue = Queue::new(&[1; 6], keys, LIMITS);
        assert_eq!(queue.next_request(), Some(vec![0, 1, 2]));
        assert_eq!(queue.next_request(), Some(vec![4]), "only d has nothing in flight");
        assert_eq!(queue.next_request(), None);
        let outcomes = vec![(0, DONE), (1, Outcome::Failed(String::new())), (2, DONE)];
        queue.release(&Settled { outcomes, ..Settled::default() });
        assert_eq!(queue.next_request(), Some(vec![3]));
        assert_eq!(queue.next_request(), None, "b failed, and nothing of it follows");
    }

    #[test]
    fn a_key_of_which_an_entry_failed_stays_held_whatever_became_of_its_others() {
        for failed in 0..3 {
            let mut queue = Queue::new(&[1; 4], vec![Some("a"); 4], LIMITS);
            assert_eq!(queue.next_request(), Some(vec![0, 1, 2]));
            let outcome = |index| if index == failed { Outcome::Failed(String::new()) } else { DONE };
            let outcomes = (0..3).map(|index| (index, outcome(index))).collect();
            queue.release(&Settled { outcomes, ..Settled::default() });
            assert_eq!(queue.next_request(), None, "entry {failed} failed");
        }
    }

    #[test]
    fn an_entry_that_is_never_taken_does_not_hold_its_key() {
        let mut queue = Queue::new(&[1; 4], vec![Some("a"); 4], LIMITS);
        assert_eq!(queue.next_request(), Some(vec![0, 1, 2]));
        let outcomes = vec![(0, DONE), (1, DONE), (2, Outcome::Unacceptable(String::new()))];
        queue.release(&Settled { outcomes, ..Settled::default() });
        assert_eq!(queue.next_request(), Some(vec![3]));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_refused_entries_are_sent_again() {
        let service = Scripted::new([
            refuse(&[(0, Fault::Transient), (2, Fault::Throttled)]),
            refuse(&[(1, Fault::Throttled)]),
        ]);
        let report = deliver(&service, &[1, 2, 3], Order::Kept, terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2, 3], vec![1, 3], vec![3]]);
        assert_eq!(report.outcomes, [DONE, DONE, DONE]);
        assert_eq!((report.resent, report.requests), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_request_is_sent_again_whole() {
        let service = Scripted::new([fail(Fault::Transient), Reply::Silence]);
        let report = deliver(&service, &[1, 2], Order::Kept, terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2], vec![1, 2], vec![1, 2]]);
        assert_eq!(report.outcomes, [DONE, DONE]);
        let at = service.at.borrow();
        assert!(at[2] - at[1] >= ATTEMPT_TIMEOUT, "silence is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_fails_at_once() {
        let service = Scripted::new([fail(Fault::Permanent)]);
        let report = deliver(&service, &[1, 2], Order::Kept, terms(60)).await;
        assert_eq!(service.sent.borrow().len(), 1);
        assert_eq!(report.outcomes, vec![Outcome::Failed("permanent".into()); 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_never_taken_holds_nothing_up() {
        let service = Scripted::new([refuse(&[(1, Fault::Permanent)])]);
        let report = deliver(&service, &[1, 2, 61, 3], Order::Kept, terms(60)).await;
        assert_eq!(report.outcomes[0], DONE);
        assert_eq!(report.outcomes[1], Outcome::Unacceptable("permanent".into()));
        assert!(
            matches!(&report.outcomes[2], Outcome::Unacceptable(why) if why.starts_with("61 bytes are more than the 60"))
        );
        assert_eq!(report.outcomes[3], DONE);
        assert_eq!(*service.sent.borrow(), [vec![1, 2, 3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_deployment_misses_fails_at_once_and_is_no_fault_of_an_entry() {
        let failed = || Outcome::Failed("misconfigured".to_owned());
        let service = Scripted::new([fail(Fault::Misconfigured)]);
        let report = deliver(&service, &[1, 2], Order::Kept, terms(60)).await;
        assert_eq!((service.sent.borrow().len(), report.outcomes), (1, vec![failed(); 2]));

        // Inside an answer: what waits for another attempt fails as well, and nothing follows.
        let service =
            Scripted::new([refuse(&[(0, Fault::Throttled), (2, Fault::Misconfigured)]), refuse(&[])]);
        let report = deliver(&service, &[1, 2, 3, 4], Order::Kept, terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2, 3]]);
        assert_eq!(report.outcomes[..3], [failed(), DONE, failed()]);
        assert!(matches!(report.outcomes[3], Outcome::Failed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_about_an_unknown_entry_counts_none_as_delivered() {
        for fault in [Fault::Transient, Fault::Permanent] {
            let service = Scripted::new([refuse(&[(0, fault), (2, fault)])]);
            let report = deliver(&service, &[1, 2], Order::Kept, terms(60)).await;
            assert_eq!(*service.sent.borrow(), [vec![1, 2], vec![1, 2]]);
            assert_eq!(report.outcomes, [DONE, DONE]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_order_nothing_is_sent_after_the_first_failure() {
        let service = Scripted::new([refuse(&[]), fail(Fault::Permanent)]);
        let report = deliver(&service, &[1, 2, 3, 4, 5, 6, 7], Order::Kept, terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2, 3], vec![4, 5, 6]]);
        assert!(report.outcomes[..3].iter().all(|outcome| *outcome == DONE));
        assert!(report.outcomes[3..].iter().all(|outcome| matches!(outcome, Outcome::Failed(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn without_order_a_failure_stops_only_its_own_request() {
        let service = Scripted::new([fail(Fault::Permanent)]);
        let report = deliver(&service, &[1, 2, 3, 4, 5, 6, 7], Order::Free, terms(60)).await;
        assert_eq!(service.sent.borrow().len(), 3);
        assert!(report.outcomes[..3].iter().all(|outcome| matches!(outcome, Outcome::Failed(_))));
        assert!(report.outcomes[3..].iter().all(|outcome| *outcome == DONE));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_without_a_key_in_common_are_in_flight_side_by_side() {
        #[expect(clippy::trivially_copy_pass_by_ref, reason = "a key is borrowed from its entry")]
        fn parity(entry: &u32) -> &'static str {
            if entry.is_multiple_of(2) { "even" } else { "odd" }
        }
        // The first request is not answered; its key waits, and the other key goes on.
        let service = Scripted::new([Reply::Silence]);
        let report = deliver(&service, &[1, 3, 5, 7, 2, 4], Order::PerKey(parity), terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 3, 5], vec![2, 4], vec![1, 3, 5], vec![7]]);
        assert_eq!(report.outcomes, vec![DONE; 6]);
        assert_eq!(service.at.borrow()[0], service.at.borrow()[1]);

        let service = Scripted::new([fail(Fault::Permanent)]);
        let report = deliver(&service, &[1, 3, 5, 7, 2, 4], Order::PerKey(parity), terms(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 3, 5], vec![2, 4]]);
        assert_eq!(report.outcomes[3], Outcome::Failed("not sent, since an earlier entry failed".to_owned()));
        assert_eq!(report.outcomes[4..], [DONE, DONE]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_are_in_flight_than_the_bound() {
        let service = Scripted::new((0..IN_FLIGHT).map(|_| Reply::Silence));
        let entries: Vec<u32> = (0..30).map(|_| 40).collect();
        let report = deliver(&service, &entries, Order::Free, terms(60)).await;
        assert_eq!(report.outcomes, vec![DONE; 30]);
        let at = service.at.borrow();
        assert_eq!(at.iter().filter(|sent| **sent == at[0]).count(), IN_FLIGHT);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_or_awaited_after_the_deadline() {
        let service = Scripted::new((0..1000).map(|_| fail(Fault::Throttled)));
        let terms = terms(30);
        let report = deliver(&service, &[1], Order::Kept, terms).await;
        assert_eq!(report.outcomes, [Outcome::Failed("throttled".into())]);
        assert!(Instant::now() <= terms.deadline);
        assert!(service.sent.borrow().len() > 5, "it goes on until then");

        let silent = Scripted::new([Reply::Silence, Reply::Silence]);
        let terms = Terms { deadline: Instant::now() + Duration::from_secs(25), seed: 7 };
        let report = deliver(&silent, &[1], Order::Kept, terms).await;
        assert_eq!(report.outcomes, [Outcome::Failed("the service did not answer in time".into())]);
        assert!(Instant::now() <= terms.deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_left_nothing_is_sent() {
        let service = Scripted::default();
        let report = deliver(&service, &[1, 2], Order::Free, terms(0)).await;
        assert_eq!(report.outcomes, vec![Outcome::Failed("the invocation's time was up".to_owned()); 2]);
        assert_eq!((service.sent.borrow().len(), report.requests), (0, 0));
    }

    #[test]
    fn a_pause_is_anything_up_to_a_ceiling_that_doubles() {
        let cases = [
            (Fault::Throttled, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]),
            (Fault::Transient, [50, 100, 200, 400, 800, 1_600, 2_000]),
        ];
        for (fault, ceilings) in cases {
            for (fruitless, ceiling) in (0..).zip(ceilings) {
                let mut jitter = fastrand::Rng::with_seed(1);
                let pause = |_| backoff(fault, fruitless, &mut jitter).as_millis();
                let pauses: Vec<u128> = (0..20_000).map(pause).collect();
                let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
                assert!(*least <= ceiling / 50, "{fault:?} {fruitless}: {least}");
                assert!((ceiling - ceiling / 50..=ceiling).contains(most), "{fault:?} {fruitless}: {most}");
            }
        }
        let mut jitter = fastrand::Rng::with_seed(1);
        let latest = backoff(Fault::Throttled, u32::MAX, &mut jitter);
        assert!(latest <= Duration::from_secs(5), "{latest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_while_nothing_is_taken_and_start_again_when_something_is() {
        async fn longest(script: impl IntoIterator<Item = Reply>) -> Duration {
            let service = Scripted::new(script);
            let report = deliver(&service, &[1, 1, 1], Order::Kept, terms(600)).await;
            assert_eq!(report.outcomes, vec![DONE; 3]);
            service.at.borrow().windows(2).map(|at| at[1] - at[0]).max().unwrap()
        }
        let throttled = Fault::Throttled;
        let fruitless = (0..20).map(|_| fail(throttled));
        assert!(longest(fruitless).await > Duration::from_secs(1));
        let progress = [refuse(&[(1, throttled), (2, throttled)]), refuse(&[(1, throttled)])];
        assert!(longest(progress).await <= Duration::from_millis(200));

        let fruitless = (0..9).map(|_| fail(throttled));
        let service = Scripted::new(fruitless.chain([refuse(&[(1, throttled)])]));
        let report = deliver(&service, &[1, 1], Order::Kept, terms(600)).await;
        assert_eq!(report.outcomes, [DONE, DONE]);
        let at = service.at.borrow();
        assert!(at[10] - at[9] <= Duration::from_millis(200), "{:?}", at[10] - at[9]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_pauses() {
        async fn pauses() -> Vec<Duration> {
            let service = Scripted::new((0..5).map(|_| fail(Fault::Throttled)));
            let report = deliver(&service, &[1], Order::Kept, terms(60)).await;
            assert_eq!(report.requests, 6);
            service.at.borrow().windows(2).map(|at| at[1] - at[0]).collect()
        }
        assert_eq!(pauses().await, pauses().await);
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            8 => Just(DONE),
            1 => Just(Outcome::Failed(String::new())),
            1 => Just(Outcome::Unacceptable(String::new())),
        ]
    }

    proptest! {
        #[test]
        fn requests_keep_to_the_limits_and_to_the_order_of_each_key(
            entries in prop::collection::vec((1_usize..70, 0_usize..4), 0..40),
            outcomes in prop::collection::vec(outcome(), 40),
            answers in prop::collection::vec(0_usize..IN_FLIGHT, 40),
        ) {
            const KEYS: [&str; 4] = ["a", "b", "c", "d"];
            let sizes: Vec<usize> = entries.iter().map(|(size, _)| *size).collect();
            let key = |index: usize| KEYS[entries[index].1];
            let keys = (0..entries.len()).map(|index| Some(key(index))).collect();
            let mut queue = Queue::new(&sizes, keys, LIMITS);
            let mut in_flight: Vec<Vec<usize>> = Vec::new();
            let (mut sent, mut failed) = (Vec::new(), HashSet::new());
            for answer in answers {
                while let Some(request) = queue.next_request() {
                    prop_assert!(request.len() <= LIMITS.entries);
                    let bytes: usize = request.iter().map(|index| sizes[*index]).sum();
                    prop_assert!(bytes <= LIMITS.request_bytes);
                    for index in &request {
                        prop_assert!(!failed.contains(key(*index)));
                        let together = in_flight.iter().flatten().any(|other| key(*other) == key(*index));
                        prop_assert!(!together, "another entry of the key is in flight");
                    }
                    sent.extend(request.clone());
                    in_flight.push(request);
                }
                if in_flight.is_empty() {
                    break;
                }
                let request = in_flight.remove(answer % in_flight.len());
                let settled: Vec<_> =
                    request.iter().map(|index| (*index, outcomes[*index].clone())).collect();
                failed.extend(settled.iter().filter_map(|(index, outcome)| {
                    matches!(outcome, Outcome::Failed(_)).then_some(key(*index))
                }));
                queue.release(&Settled { outcomes: settled, ..Settled::default() });
            }
            for each in KEYS {
                let of_key = |index: &usize| key(*index) == each && sizes[*index] <= LIMITS.entry_bytes;
                let expected: Vec<usize> = (0..entries.len()).filter(of_key).collect();
                let found: Vec<usize> = sent.iter().copied().filter(of_key).collect();
                prop_assert!(expected.starts_with(&found));
                prop_assert!(failed.contains(each) || found == expected);
            }
        }
    }
}
