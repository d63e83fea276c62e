//! One request, retried until each of its entries has an outcome.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Answer, Failure, Fault, Outcome, Refusal, Service};

/// The longest wait for the answer to one request.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// One request, retried until every entry has an outcome.
pub(super) struct Attempts<'a, S: Service> {
    pub(super) service: &'a S,
    pub(super) entries: &'a [S::Entry],
    pub(super) pending: Vec<usize>,
    pub(super) deadline: Instant,
    pub(super) jitter: fastrand::Rng,
}

#[derive(Default)]
pub(super) struct Settled {
    pub(super) outcomes: Vec<(usize, Outcome)>,
    pub(super) resent: u64,
}

impl<S: Service> Attempts<'_, S> {
    pub(super) async fn settle(mut self) -> Settled {
        let mut settled = Settled::default();
        let mut fruitless = 0;
        let mut last = Failure { fault: Fault::Transient, detail: "the invocation's time was up".to_owned() };
        while !self.pending.is_empty() {
            if Instant::now() >= self.deadline {
                break;
            }
            let sent = self.pending.len();
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

    /// Records the outcome of entries that were accepted or never will be. The others stay pending; returns the
    /// gravest of their faults.
    fn keep_refused(&mut self, refusals: Vec<Refusal>, settled: &mut Settled) -> Option<Failure> {
        let mut refused: Vec<Option<Failure>> = vec![None; self.pending.len()];
        for refusal in refusals {
            // Some entry was refused, and the answer does not say which. So none counts as delivered.
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

/// The pause before the next attempt, after so many without success: full jitter over an exponential back-off. After
/// throttling it is longer than after other faults.
///
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
pub fn backoff(fault: Fault, fruitless: u32, jitter: &mut fastrand::Rng) -> Duration {
    let (base, cap) = match fault {
        Fault::Throttled => (200, 5_000),
        Fault::Transient | Fault::Permanent | Fault::Misconfigured => (50, 2_000),
    };
    let ceiling = cap.min(base << fruitless.min(10));
    Duration::from_millis(jitter.u64(0..=ceiling))
}
