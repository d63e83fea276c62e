use std::time::Duration;
use std::{cell::RefCell, collections::VecDeque};

use hashbrown::HashSet;
use proptest::prelude::*;

use super::{
    attempts::{ATTEMPT_TIMEOUT, backoff},
    *,
};

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

fn deadline(seconds: u64) -> Deadline {
    Deadline { at: Instant::now() + Duration::from_secs(seconds), seed: 7 }
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
fn entry_waits_for_earlier_ones_of_its_key() {
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
fn key_with_a_failed_entry_stays_blocked() {
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
    let report = deliver(&service, &[1, 2, 3], Order::Kept, deadline(60)).await;
    assert_eq!(*service.sent.borrow(), [vec![1, 2, 3], vec![1, 3], vec![3]]);
    assert_eq!(report.outcomes, [DONE, DONE, DONE]);
    assert_eq!(report.resent, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_is_sent_again_whole() {
    let service = Scripted::new([fail(Fault::Transient), Reply::Silence]);
    let report = deliver(&service, &[1, 2], Order::Kept, deadline(60)).await;
    assert_eq!(*service.sent.borrow(), [vec![1, 2], vec![1, 2], vec![1, 2]]);
    assert_eq!(report.outcomes, [DONE, DONE]);
    let at = service.at.borrow();
    assert!(at[2] - at[1] >= ATTEMPT_TIMEOUT, "silence is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_fails_at_once() {
    let service = Scripted::new([fail(Fault::Permanent)]);
    let report = deliver(&service, &[1, 2], Order::Kept, deadline(60)).await;
    assert_eq!(service.sent.borrow().len(), 1);
    assert_eq!(report.outcomes, vec![Outcome::Failed("permanent".into()); 2]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_never_taken_holds_nothing_up() {
    let service = Scripted::new([refuse(&[(1, Fault::Permanent)])]);
    let report = deliver(&service, &[1, 2, 61, 3], Order::Kept, deadline(60)).await;
    assert_eq!(report.outcomes[0], DONE);
    assert_eq!(report.outcomes[1], Outcome::Unacceptable("permanent".into()));
    assert!(
        matches!(&report.outcomes[2], Outcome::Unacceptable(why) if why.starts_with("61 bytes are more than the 60"))
    );
    assert_eq!(report.outcomes[3], DONE);
    assert_eq!(*service.sent.borrow(), [vec![1, 2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn missing_resource_fails_at_once_and_blames_no_entry() {
    let failed = || Outcome::Failed("misconfigured".to_owned());
    let service = Scripted::new([fail(Fault::Misconfigured)]);
    let report = deliver(&service, &[1, 2], Order::Kept, deadline(60)).await;
    assert_eq!((service.sent.borrow().len(), report.outcomes), (1, vec![failed(); 2]));

    // Inside an answer: what waits for another attempt fails as well, and nothing follows.
    for faults in [[Fault::Throttled, Fault::Misconfigured], [Fault::Misconfigured, Fault::Throttled]] {
        let service = Scripted::new([refuse(&[(0, faults[0]), (2, faults[1])]), refuse(&[])]);
        let report = deliver(&service, &[1, 2, 3, 4], Order::Kept, deadline(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2, 3]]);
        assert_eq!(report.outcomes[..3], [failed(), DONE, failed()]);
        assert!(matches!(report.outcomes[3], Outcome::Failed(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_an_unknown_entry_counts_none_as_delivered() {
    for fault in [Fault::Transient, Fault::Permanent] {
        let service = Scripted::new([refuse(&[(0, fault), (2, fault)])]);
        let report = deliver(&service, &[1, 2], Order::Kept, deadline(60)).await;
        assert_eq!(*service.sent.borrow(), [vec![1, 2], vec![1, 2]]);
        assert_eq!(report.outcomes, [DONE, DONE]);
    }
}

#[tokio::test(start_paused = true)]
async fn in_order_nothing_is_sent_after_the_first_failure() {
    let service = Scripted::new([refuse(&[]), fail(Fault::Permanent)]);
    let report = deliver(&service, &[1, 2, 3, 4, 5, 6, 7], Order::Kept, deadline(60)).await;
    assert_eq!(*service.sent.borrow(), [vec![1, 2, 3], vec![4, 5, 6]]);
    assert!(report.outcomes[..3].iter().all(|outcome| *outcome == DONE));
    assert!(report.outcomes[3..].iter().all(|outcome| matches!(outcome, Outcome::Failed(_))));
}

#[tokio::test(start_paused = true)]
async fn without_order_a_failure_stops_only_its_own_request() {
    let service = Scripted::new([fail(Fault::Permanent)]);
    let report = deliver(&service, &[1, 2, 3, 4, 5, 6, 7], Order::Free, deadline(60)).await;
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
    let report = deliver(&service, &[1, 3, 5, 7, 2, 4], Order::PerKey(parity), deadline(60)).await;
    assert_eq!(*service.sent.borrow(), [vec![1, 3, 5], vec![2, 4], vec![1, 3, 5], vec![7]]);
    assert_eq!(report.outcomes, vec![DONE; 6]);
    assert_eq!(service.at.borrow()[0], service.at.borrow()[1]);

    let service = Scripted::new([fail(Fault::Permanent)]);
    let report = deliver(&service, &[1, 3, 5, 7, 2, 4], Order::PerKey(parity), deadline(60)).await;
    assert_eq!(*service.sent.borrow(), [vec![1, 3, 5], vec![2, 4]]);
    assert_eq!(report.outcomes[3], Outcome::Failed("not sent, since an earlier entry failed".to_owned()));
    assert_eq!(report.outcomes[4..], [DONE, DONE]);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_the_bound() {
    let service = Scripted::new((0..IN_FLIGHT).map(|_| Reply::Silence));
    let entries: Vec<u32> = (0..30).map(|_| 40).collect();
    let report = deliver(&service, &entries, Order::Free, deadline(60)).await;
    assert_eq!(report.outcomes, vec![DONE; 30]);
    let at = service.at.borrow();
    assert_eq!(at.iter().filter(|sent| **sent == at[0]).count(), IN_FLIGHT);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_or_awaited_after_the_deadline() {
    let service = Scripted::new((0..1000).map(|_| fail(Fault::Throttled)));
    let deadline = deadline(30);
    let report = deliver(&service, &[1], Order::Kept, deadline).await;
    assert_eq!(report.outcomes, [Outcome::Failed("throttled".into())]);
    assert!(Instant::now() <= deadline.at);
    assert!(service.sent.borrow().len() > 5, "it goes on until then");

    let silent = Scripted::new([Reply::Silence, Reply::Silence]);
    let deadline = Deadline { at: Instant::now() + Duration::from_secs(25), seed: 7 };
    let report = deliver(&silent, &[1], Order::Kept, deadline).await;
    assert_eq!(report.outcomes, [Outcome::Failed("the service did not answer in time".into())]);
    assert!(Instant::now() <= deadline.at);
}

#[tokio::test(start_paused = true)]
async fn retry_is_sent_if_its_pause_ends_before_the_deadline() {
    let millisecond = Duration::from_millis(1);
    for seed in 0..20 {
        let deliver_within = async |time: Duration| {
            let service = Scripted::new([fail(Fault::Transient)]);
            let began = Instant::now();
            let report = deliver(&service, &[1], Order::Kept, Deadline { at: began + time, seed }).await;
            (report, began.elapsed())
        };
        // The seed decides how long the pause is.
        let (_, pause) = deliver_within(Duration::from_mins(1)).await;
        for (time, is_in_time) in [(pause, false), (pause + millisecond, true)] {
            let (report, took) = deliver_within(time).await;
            assert_eq!((report.outcomes[0] == DONE, report.resent), (is_in_time, u64::from(is_in_time)));
            assert_eq!(took, if is_in_time { pause } else { Duration::ZERO }, "nothing is awaited in vain");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_time_left_nothing_is_sent() {
    let service = Scripted::default();
    let report = deliver(&service, &[1, 2], Order::Free, deadline(0)).await;
    assert_eq!(report.outcomes, vec![Outcome::Failed("the invocation's time was up".to_owned()); 2]);
    assert_eq!(service.sent.borrow().len(), 0);
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
async fn pauses_grow_until_an_entry_is_accepted() {
    async fn longest(script: impl IntoIterator<Item = Reply>) -> Duration {
        let service = Scripted::new(script);
        let report = deliver(&service, &[1, 1, 1], Order::Kept, deadline(600)).await;
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
    let report = deliver(&service, &[1, 1], Order::Kept, deadline(600)).await;
    assert_eq!(report.outcomes, [DONE, DONE]);
    let at = service.at.borrow();
    assert!(at[10] - at[9] <= Duration::from_millis(200), "{:?}", at[10] - at[9]);
}

#[tokio::test(start_paused = true)]
async fn first_pause_is_short() {
    let timeout = u64::try_from(ATTEMPT_TIMEOUT.as_millis()).unwrap();
    let cases: [(fn() -> Reply, u64); 3] = [
        (|| fail(Fault::Transient), 100),
        (|| fail(Fault::Throttled), 400),
        // Silence is a transient fault.
        (|| Reply::Silence, timeout + 100),
    ];
    for (reply, most) in cases {
        for seed in 0..50 {
            let service = Scripted::new([reply()]);
            let report = deliver(&service, &[1], Order::Kept, Deadline { seed, ..deadline(60) }).await;
            assert_eq!(report.outcomes, [DONE]);
            let at = service.at.borrow();
            assert!(at[1] - at[0] <= Duration::from_millis(most), "{:?}", at[1] - at[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_entry_reports_the_last_refusal() {
    let refusals = (0..1000).map(|_| refuse(&[(0, Fault::Transient)]));
    let service = Scripted::new(std::iter::once(refuse(&[(0, Fault::Throttled)])).chain(refusals));
    let report = deliver(&service, &[1], Order::Kept, deadline(5)).await;
    assert_eq!(report.outcomes, [Outcome::Failed("transient".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_and_other_seeds_have_other_pauses() {
    async fn second_attempts(seed: u64) -> Vec<Duration> {
        let service = Scripted::new((0..IN_FLIGHT).map(|_| fail(Fault::Throttled)));
        let began = Instant::now();
        let deadline = Deadline { seed, ..deadline(60) };
        let report = deliver(&service, &[60; IN_FLIGHT], Order::Free, deadline).await;
        assert_eq!(report.outcomes, vec![DONE; IN_FLIGHT]);
        service.at.borrow()[IN_FLIGHT..].iter().map(|at| *at - began).collect()
    }
    let pauses = second_attempts(1).await;
    let distinct: HashSet<_> = pauses.iter().collect();
    assert_eq!(distinct.len(), IN_FLIGHT, "{pauses:?}");
    assert_ne!(second_attempts(2).await, pauses);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_pauses() {
    async fn pauses() -> Vec<Duration> {
        let service = Scripted::new((0..5).map(|_| fail(Fault::Throttled)));
        let report = deliver(&service, &[1], Order::Kept, deadline(60)).await;
        assert_eq!((report.outcomes, service.sent.borrow().len()), (vec![DONE], 6));
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
