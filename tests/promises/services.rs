//! The simulated services, checked by themselves.

use std::{rc::Rc, time::Duration};

use shared::delivery::{Fault, Limits, Service as _};
use tests::simulation::{
    port::{Does, Process, Reply, Script, Simulated},
    trace::Trace,
    unit::Id,
};
use tokio::{
    task::LocalSet,
    time::{sleep, timeout},
};

const LIMITS: Limits = Limits { entries: 10, request_bytes: usize::MAX, entry_bytes: usize::MAX };

/// Sends requests to a service with these replies, and gives each up after five seconds. Returns for each event the
/// requests that were accepted, numbered in the order of their acceptance.
async fn accepted(replies: &[Does], requests: &[&[Id]]) -> Vec<(Id, Vec<u64>)> {
    let replies = replies.iter().map(|does| Reply { after: Duration::ZERO, does: does.clone() });
    let script = Script { replies: replies.collect(), outage: None };
    let trace = Trace::begin(false);
    let service = Simulated::new("SNS", LIMITS, |_| 1, |id: &Id| vec![*id], |_| (), script, &trace);
    let port = service.port(&Rc::<Process>::default());
    for request in requests {
        // A request without an answer is given up.
        let _answer = timeout(Duration::from_secs(5), port.send(&request.iter().collect::<Vec<_>>())).await;
        sleep(Duration::from_secs(5)).await;
    }
    service.settle().await;
    service.taken.take().into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn late_request_counts_from_its_acceptance() {
    let in_turn = async {
        let late = |seconds| Does::TakeLate(Duration::from_secs(seconds));
        // The retry has only the first of two events. It is accepted before the late request with both.
        let first_alone = accepted(&[late(30)], &[&[6, 7], &[6]]).await;
        assert_eq!(first_alone, [(6, vec![0, 1]), (7, vec![1])]);
        let in_time = accepted(&[late(6), late(30)], &[&[6], &[7], &[8]]).await;
        assert_eq!(in_time, [(6, vec![0]), (7, vec![2]), (8, vec![1])]);
        let refused = Does::Refuse(0b1, Fault::Transient);
        assert_eq!(accepted(&[refused], &[&[6, 7], &[6]]).await, [(6, vec![1]), (7, vec![0])]);
    };
    LocalSet::new().run_until(in_turn).await;
}
