//! notify under a storm: independent containers send to one topic, shard by shard.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use fakes::Scripted;
use fastrand::Rng;
use notify::{handler::Handler, pace::NextTurn, word::Alert};
use shared::{
    audit::latency::LatencySample,
    delivery::{Answer, Failure, Fault, Limits, Refusal, Service},
    lambda::invocation::Invocation,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    firehose, kinesis_event,
    notify::{BATCH_SIZE, SNS, config, machine, template_default},
    now,
};

/// SNS for all containers, with a latency and failures.
struct Topic {
    taken: RefCell<Vec<(Instant, Alert)>>,
    rng: RefCell<Rng>,
    trouble: Cell<f64>,
}

/// The topic as one container reaches it.
struct Client(Rc<Topic>);

impl Service for Client {
    type Entry = Alert;

    fn limits(&self) -> Limits {
        SNS
    }

    fn size(&self, alert: &Alert) -> usize {
        alert.bytes()
    }

    async fn send(&self, alerts: &[&Alert]) -> Answer {
        let Self(topic) = self;
        let (before, after, does) = {
            let mut rng = topic.rng.borrow_mut();
            let is_in_trouble = rng.f64() < topic.trouble.get();
            (rng.u64(1..40), rng.u64(1..40), if is_in_trouble { rng.u8(1..6) } else { 0 })
        };
        let fails = |fault| Failure { fault, detail: "a scripted fault".to_owned() };
        sleep(Duration::from_millis(before)).await;
        if does < 3 {
            let taken = alerts.iter().map(|alert| (Instant::now(), (*alert).clone()));
            topic.taken.borrow_mut().extend(taken);
        }
        sleep(Duration::from_millis(after)).await;
        match does {
            1 => Err(fails(Fault::Transient)),
            2 => std::future::pending().await,
            3 => Err(fails(Fault::Throttled)),
            4 | 5 => {
                let fault = if does == 4 { Fault::Throttled } else { Fault::Transient };
                Ok((0..alerts.len()).map(|index| Refusal { index, failure: fails(fault) }).collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}

type Container = Handler<Client, Scripted<LatencySample>, Scripted<Bytes>>;

/// The deployed function: its containers in random order, and how often their processes end.
struct Function {
    topic: Rc<Topic>,
    idle: RefCell<Vec<Container>>,
    rng: RefCell<Rng>,
    /// The share of invocations in which the process ends.
    ends: f64,
    began: Instant,
}

impl Function {
    fn new(seed: u64, trouble: f64, ends: f64) -> Self {
        let rng = || RefCell::new(Rng::with_seed(seed));
        let topic = Topic { taken: RefCell::default(), rng: rng(), trouble: Cell::new(trouble) };
        Self { topic: Rc::new(topic), idle: RefCell::default(), rng: rng(), ends, began: Instant::now() }
    }

    fn start(&self) -> Container {
        Handler {
            config: config(),
            topic: Client(Rc::clone(&self.topic)),
            latency: Scripted::new(Limits { entries: 1, ..SNS }, |latency| latency.received.len()),
            alerts: firehose(),
            rejects: firehose(),
            memory: Mutex::default(),
            turn: NextTurn::default(),
        }
    }

    /// Invokes the function with events; returns how many of them are done.
    async fn invoke(&self, events: &[String]) -> usize {
        let container = {
            let (mut idle, mut rng) = (self.idle.borrow_mut(), self.rng.borrow_mut());
            if idle.is_empty() || rng.f64() < 0.2 {
                None
            } else {
                let at = rng.usize(..idle.len());
                Some(idle.swap_remove(at))
            }
        };
        let container = container.unwrap_or_else(|| self.start());
        let now = now() + self.began.elapsed();
        let deadline = u64::try_from(now.timestamp_millis()).unwrap() + 60_000;
        let batch = kinesis_event(events);
        let ends = {
            let mut rng = self.rng.borrow_mut();
            Duration::from_millis(if rng.f64() < self.ends { rng.u64(0..3_000) } else { 60_000 })
        };
        let seed = self.rng.borrow_mut().u64(..);
        let invocation = Invocation { log: |_| (), ..Invocation::begin("r", deadline, now, seed) };
        let Ok(response) = timeout(ends, container.handle(&batch, &invocation)).await else { return 0 };
        self.idle.borrow_mut().push(container);
        let failed = response.unwrap().batch_item_failures;
        failed.first().map_or(events.len(), |failure| failure.item_identifier.parse::<usize>().unwrap() - 1)
    }

    /// Processes a shard like a mapping with the template's defaults. Each event has its time of arrival.
    async fn map(&self, shard: &[(Duration, String)]) {
        let window = Duration::from_secs(template_default("NotifyWindowSeconds") as u64);
        let mut next = 0;
        while next < shard.len() {
            sleep_until(self.began + shard[next].0).await;
            let until = Instant::now() + window;
            let arrived = |event: &&(Duration, String)| self.began + event.0 <= until;
            let batch: Vec<String> = shard[next..]
                .iter()
                .take(BATCH_SIZE)
                .take_while(arrived)
                .map(|(_, event)| event.clone())
                .collect();
            if batch.len() < BATCH_SIZE {
                sleep_until(until).await;
            }
            let mut done = 0;
            while done < batch.len() {
                let more = self.invoke(&batch[done..]).await;
                done += more;
                if done < batch.len() {
                    // Lambda's pause before a retry.
                    sleep(Duration::from_millis(500)).await;
                }
            }
            next += batch.len();
        }
    }

    /// The messages, each with the time after the start at which the topic accepted it.
    fn messages(&self) -> Vec<(Duration, Alert)> {
        let taken = self.topic.taken.borrow();
        taken.iter().map(|(at, alert)| (*at - self.began, alert.clone())).collect()
    }
}

/// Events of severity 4 in `counties` counties, spread evenly over ten seconds, by shard.
fn storm(events: usize, counties: usize) -> [Vec<(Duration, String)>; 4] {
    let mut shards: [Vec<_>; 4] = Default::default();
    for n in 0..events {
        let county = n * 7 % counties;
        let event =
            format!(r#"{{"ID":"A-{n}","Severity":4,"City":"{}","County":"county {county}"}}"#, n % 90);
        shards[county % 4].push((Duration::from_millis(u64::try_from(10_000 * n / events).unwrap()), event));
    }
    shards
}

async fn run(function: &Function, shards: &[Vec<(Duration, String)>; 4]) {
    let [a, b, c, d] = shards;
    tokio::join!(function.map(a), function.map(b), function.map(c), function.map(d));
}

/// The most messages in any second.
fn most_in_a_second(messages: &[(Duration, Alert)]) -> usize {
    let mut at: Vec<Duration> = messages.iter().map(|(at, _)| *at).collect();
    at.sort_unstable();
    let second = |first: &Duration| {
        at.iter().filter(|at| (*first..*first + Duration::from_secs(1)).contains(*at)).count()
    };
    at.iter().map(second).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_events_of_500_counties_are_paced() {
    let function = Function::new(1, 0.0, 0.0);
    Box::pin(run(&function, &storm(10_000, 500))).await;
    let messages = function.messages();
    assert!(most_in_a_second(&messages) <= 8, "{}", most_in_a_second(&messages));
    assert!(messages.len() > 20, "{}", messages.len());
    let last = messages.iter().map(|(at, _)| *at).max().unwrap();
    assert!(last < Duration::from_mins(1), "{last:?}");
    let mut counties: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    for (_, alert) in &messages {
        let machine = machine(alert);
        count += machine["count"].as_u64().unwrap();
        assert_eq!(alert.count as u64, machine["count"].as_u64().unwrap());
        match machine["counts"].as_array() {
            Some(counts) => {
                for each in counts {
                    *counties.entry(each["area"].as_str().unwrap().to_owned()).or_default() +=
                        each["count"].as_u64().unwrap();
                }
            }
            None => {
                *counties.entry(machine["county"].as_str().unwrap().to_owned()).or_default() +=
                    alert.count as u64
            }
        }
    }
    assert_eq!(count, 10_000);
    assert_eq!(counties.len(), 500);
    assert!(counties.values().all(|count| *count == 20));
}

#[tokio::test(start_paused = true)]
async fn no_second_has_more_than_8_messages_under_any_faults() {
    for seed in 0..24 {
        let trouble = [0.0, 0.1, 0.4][usize::try_from(seed).unwrap() % 3];
        let function = Function::new(seed, trouble, if seed % 2 == 0 { 0.0 } else { 0.3 });
        let shards = storm(600, 200);
        Box::pin(run(&function, &shards)).await;
        let messages = function.messages();
        assert!(most_in_a_second(&messages) <= 8, "seed {seed}: {} in a second", most_in_a_second(&messages));
        let reported: u64 = messages.iter().map(|(_, alert)| alert.count as u64).sum();
        assert!(reported >= 600, "seed {seed}: {reported}");
    }
}

#[tokio::test(start_paused = true)]
async fn few_alerts_get_one_message_each_at_once() {
    let function = Function::new(1, 0.0, 0.0);
    // The first message of a container waits, since other containers may have just sent theirs.
    let event = |n: usize| format!(r#"{{"ID":"A-{n}","Severity":4,"County":"county {n}"}}"#);
    assert_eq!(function.invoke(&[event(0)]).await, 1);
    let began = function.began.elapsed();
    assert!(began < Duration::from_millis(1_200), "{began:?}");
    assert_eq!(function.invoke(&[event(1), event(2), event(3)]).await, 3);
    let messages = function.messages();
    assert_eq!(messages.iter().map(|(_, alert)| alert.count).collect::<Vec<_>>(), [1; 4]);
    assert!(messages[1].0.saturating_sub(began) < Duration::from_millis(50), "the next is sent at once");
    // Another container may get the next batch, so an invocation ends with the pause after its last message.
    assert!(function.began.elapsed().saturating_sub(messages[3].0) >= Duration::from_millis(500));
}
