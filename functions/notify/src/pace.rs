//! Paces the messages: limits how many reach the topic in a second, however many containers there are.
//!
//! Containers share no state, but Lambda delivers the batches of a shard one after the other. So each invocation pauses
//! after each message, including its last. A container that does not know when the last message was sent begins with a
//! pause. Then no shard exceeds its share, whichever containers serve it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shared::delivery::{Answer, Failure, Fault, Limits, Service};
use tokio::time::{Instant, sleep_until};

use crate::word::Alert;

/// Requests a second of one invocation. Above this, several messages share one request.
const REQUESTS_PER_SECOND: u64 = 10;
/// Messages in a request.
///
/// Source: SNS API reference, `PublishBatch`.
const REQUEST_ENTRIES: u64 = 10;
/// How long an invocation sends single messages before it reports all other incidents in one message. With the pauses,
/// a batch of the template's 1,000 records takes less time than a shard needs to receive as many.
const BURST: Duration = Duration::from_secs(2);
/// The largest part of an invocation's time that one pause may take, so that each invocation can send several messages.
const PAUSES_IN_AN_INVOCATION: u32 = 4;

/// How fast one invocation sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Messages in a request.
    entries: usize,
    /// The pause after each request.
    pause: Duration,
}

/// When this container may send its next message; unknown if it has sent none.
#[derive(Debug, Default)]
pub struct NextTurn(Mutex<Option<Instant>>);

impl Pace {
    /// The share of one invocation if `invocations` run at once and together send at most `per_second` messages; `None`
    /// if there is no limit. If there are more invocations than messages, each sends less than one message a second.
    #[must_use]
    pub fn new(per_second: u32, invocations: u64) -> Option<Self> {
        let (per_second, invocations) = (u64::from(per_second), invocations.max(1));
        if per_second == 0 {
            return None;
        }
        let entries = (per_second / invocations / REQUESTS_PER_SECOND).clamp(1, REQUEST_ENTRIES);
        // Whole requests only: at two and a half a second, some seconds would have three.
        let requests = per_second / invocations / entries;
        let pause = match requests {
            0 => Duration::from_nanos(1_000_000_000_u64.saturating_mul(invocations) / per_second),
            requests => Duration::from_nanos(1_000_000_000_u64.div_ceil(requests)),
        };
        Some(Self { entries: usize::try_from(entries).unwrap_or(1), pause })
    }

    /// The pace for an invocation with so much time left.
    #[must_use]
    pub fn within(self, left: Duration) -> Self {
        Self { pause: self.pause.min(left / PAUSES_IN_AN_INVOCATION), ..self }
    }

    /// Messages that an invocation sends before it reports all other incidents in one.
    #[must_use]
    pub fn burst(self) -> usize {
        let requests = BURST.as_nanos() / self.pause.as_nanos().max(1);
        usize::try_from(requests).unwrap_or(usize::MAX).saturating_mul(self.entries).max(1)
    }

    /// How long after the first message the one at that position is sent.
    #[must_use]
    pub fn after(self, position: usize) -> Duration {
        self.pauses(position / self.entries)
    }

    /// How long so many messages take, with the pause after the last.
    #[must_use]
    pub fn time_of(self, messages: usize) -> Duration {
        self.pauses(messages.div_ceil(self.entries))
    }

    fn pauses(self, requests: usize) -> Duration {
        self.pause.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX))
    }

    /// The pause after each request.
    #[must_use]
    pub fn pause(self) -> Duration {
        self.pause
    }
}

impl NextTurn {
    /// When the next message may be sent. A container that has sent none does not know when another one last sent.
    fn at(&self, began: Instant, pause: Duration) -> Instant {
        *self.lock().get_or_insert(began + pause)
    }

    /// Starts the pause after a message that SNS has received, or may have received.
    fn sent(&self, pause: Duration) {
        *self.lock() = Some(Instant::now() + pause);
    }

    /// Waits until the pause after this container's last message is over.
    pub async fn wait(&self) {
        let turn = *self.lock();
        if let Some(turn) = turn {
            sleep_until(turn).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A topic to which an invocation sends at a limited pace.
pub struct Paced<'t, T> {
    /// The topic.
    pub topic: &'t T,
    /// The pace.
    pub pace: Pace,
    /// The turn of the container.
    pub turn: &'t NextTurn,
    /// When the invocation began.
    pub began: Instant,
    /// The deadline, after which nothing is sent.
    pub deadline: Instant,
}

impl<T: Service<Entry = Alert>> Service for Paced<'_, T> {
    type Entry = Alert;

    fn limits(&self) -> Limits {
        let limits = self.topic.limits();
        Limits { entries: limits.entries.min(self.pace.entries), ..limits }
    }

    fn size(&self, alert: &Alert) -> usize {
        self.topic.size(alert)
    }

    async fn send(&self, alerts: &[&Alert]) -> Answer {
        let turn = self.turn.at(self.began, self.pace.pause);
        if turn >= self.deadline {
            let detail =
                "the invocation ran out of time before this message; AlertsPerSecond limits the messages";
            return Err(Failure { fault: Fault::Permanent, detail: detail.to_owned() });
        }
        sleep_until(turn).await;
        let mut sending = Sending { turn: self.turn, pause: self.pace.pause, may_be_taken: true };
        let answer = self.topic.send(alerts).await;
        sending.may_be_taken = answer.as_ref().map_or(true, |refused| refused.len() < alerts.len());
        answer
    }
}

/// A request in flight. It counts as sent unless the response says that SNS accepted none of it; also if it is
/// cancelled.
struct Sending<'t> {
    turn: &'t NextTurn,
    pause: Duration,
    may_be_taken: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.may_be_taken {
            self.turn.sent(self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use proptest::prelude::*;
    use shared::delivery::Refusal;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        incident::tests::{incident, us_accidents},
        raise::Reported,
        word::word,
    };

    /// A topic that replies once, and then accepts everything.
    #[derive(Default)]
    struct Topic {
        reply: RefCell<Option<Reply>>,
        at: RefCell<Vec<Instant>>,
    }

    #[derive(Debug)]
    enum Reply {
        Answer(Answer),
        Silence,
    }

    impl Service for Topic {
        type Entry = Alert;

        fn limits(&self) -> Limits {
            Limits { entries: 10, request_bytes: 1_000, entry_bytes: 100 }
        }

        fn size(&self, alert: &Alert) -> usize {
            alert.bytes()
        }

        async fn send(&self, _: &[&Alert]) -> Answer {
            self.at.borrow_mut().push(Instant::now());
            match self.reply.take() {
                None => Ok(Vec::new()),
                Some(Reply::Answer(answer)) => answer,
                Some(Reply::Silence) => pending().await,
            }
        }
    }

    fn alert() -> Alert {
        let incident = incident(r#"{"ID":"A-1","Severity":4}"#);
        let reported = Reported { incident: &incident, raised_from: None };
        word(us_accidents(), &[reported]).remove(0).1
    }

    fn failure() -> Failure {
        Failure { fault: Fault::Transient, detail: String::new() }
    }

    const SECOND: Duration = Duration::from_secs(1);
    /// Two messages in a request, and a pause that is longer than the time that a topic takes.
    const PACE: Pace = Pace { entries: 2, pause: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn request_that_may_have_been_accepted_is_followed_by_a_pause() {
        let refused = |index| Refusal { index, failure: failure() };
        for (reply, pause) in [
            (Reply::Answer(Ok(Vec::new())), PACE.pause),
            (Reply::Answer(Ok(vec![refused(0)])), PACE.pause),
            (Reply::Answer(Ok(vec![refused(0), refused(1)])), Duration::ZERO),
            (Reply::Answer(Err(failure())), PACE.pause),
            // The request is given up after a second.
            (Reply::Silence, SECOND + PACE.pause),
        ] {
            let case = format!("{reply:?}");
            let topic = Topic { reply: RefCell::new(Some(reply)), ..Topic::default() };
            let (turn, began) = (NextTurn::default(), Instant::now());
            let deadline = began + Duration::from_mins(10);
            let paced = Paced { topic: &topic, pace: PACE, turn: &turn, began, deadline };
            let alert = alert();
            for _ in 0..2 {
                let _answer = timeout(PACE.pause + SECOND, paced.send(&[&alert, &alert])).await;
            }
            let at = topic.at.borrow();
            assert_eq!(at[0] - began, PACE.pause, "another container may have just sent a message");
            assert_eq!(at[1] - at[0], pause, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_whose_turn_is_after_the_deadline() {
        let topic = Topic::default();
        let (turn, began) = (NextTurn::default(), Instant::now());
        for (deadline, is_sent) in [(PACE.pause, false), (PACE.pause + SECOND, true)] {
            let paced = Paced { topic: &topic, pace: PACE, turn: &turn, began, deadline: began + deadline };
            let fault = paced.send(&[&alert()]).await.map_err(|failure| failure.fault);
            assert_eq!(fault, if is_sent { Ok(Vec::new()) } else { Err(Fault::Permanent) });
            assert_eq!(topic.at.borrow().len(), usize::from(is_sent));
        }
    }

    #[test]
    fn paced_topic_has_the_sizes_and_limits_of_the_topic() {
        let topic = Topic::default();
        let turn = NextTurn::default();
        let began = Instant::now();
        for (entries, expected) in [(2, 2), (50, 10)] {
            let pace = Pace { entries, ..PACE };
            let paced = Paced { topic: &topic, pace, turn: &turn, began, deadline: began };
            let Limits { entries, request_bytes, entry_bytes } = paced.limits();
            assert_eq!((entries, request_bytes, entry_bytes), (expected, 1_000, 100));
            assert_eq!(paced.size(&alert()), alert().bytes());
        }
    }

    #[test]
    fn eight_a_second_over_four_shards_is_one_each_half_second() {
        let pace = Pace::new(8, 4).unwrap();
        assert_eq!(pace, Pace { entries: 1, pause: Duration::from_millis(500) });
        assert_eq!(pace.burst(), 4);
        assert_eq!(Pace::new(0, 4), None);
    }

    #[test]
    fn slow_pace_leaves_room_for_several_messages_in_an_invocation() {
        let pace = Pace::new(1, 1_000).unwrap();
        assert_eq!(pace.pause(), Duration::from_secs(1_000));
        assert_eq!(pace.burst(), 1);
        assert_eq!(pace.within(Duration::from_secs(8)).pause(), Duration::from_secs(2));
        let fast = Pace::new(8, 4).unwrap();
        assert_eq!(fast.within(Duration::from_secs(8)), fast);
    }

    #[test]
    fn messages_of_a_request_are_sent_at_once() {
        let seconds = |position| PACE.after(position).as_secs();
        assert_eq!([0, 1, 2, 5].map(seconds), [0, 0, 30, 60]);
        assert_eq!([0, 1, 2, 3].map(|messages| PACE.time_of(messages).as_secs()), [0, 30, 30, 60]);
    }

    proptest! {
        /// All invocations send as fast as they may, and begin when it is worst.
        #[test]
        fn no_second_has_more_messages_than_the_bound(per_second in 1_u32..2_000, invocations in 1_u64..200) {
            let pace = Pace::new(per_second, invocations).unwrap();
            let requests = Duration::from_secs(1).as_nanos().div_ceil(pace.pause.as_nanos());
            let in_a_second = requests * pace.entries as u128 * u128::from(invocations);
            // With fewer messages than invocations, the bound holds over the time in which each has its turn.
            prop_assert!(in_a_second <= u128::from(u64::from(per_second).max(invocations)));
            prop_assert!(pace.pause.as_nanos() * u128::from(per_second) + u128::from(per_second)
                >= 1_000_000_000 * pace.entries as u128 * u128::from(invocations));
            prop_assert!((1..=10).contains(&pace.entries));
            prop_assert!(pace.burst() >= 1);
        }
    }
}
