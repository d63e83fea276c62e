//! Objects that several invocations read: continuations, checkpoints, replaced objects and retries.

use std::time::Duration;

use fakes::{Reply, gzip};
use ingest::{checkpoint::Own, error::IngestError};
use serde_json::{Value, json};
use shared::delivery::Fault;

use super::{Ingest, csv, handle, ids, ingest, names, rejects, slow, take, to_the_end};
use crate::{lines, log_lines, logged};

/// The event of the newest continuation.
fn continuation(ingest: &Ingest) -> String {
    let notified = std::mem::take(&mut *ingest.objects.notified.borrow_mut());
    notified.into_iter().rfind(|event| event.contains(".continuation")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn continuations_keep_the_separator_of_their_object() {
    for first in ["", "sep=:\n"] {
        let ingest = ingest();
        let row = "A-1;3;x,y\nA-2;3;\"p;q\nr\"\nA-3;3\n";
        let mut text = format!("{first}ID;Severity;City\n{}", row.repeat(2_000));
        if !first.is_empty() {
            text = text.replace("sep=:", "sep=;").replace(';', ":");
        }
        let event = ingest.objects.put("a.csv", text);
        slow(&ingest, 100);
        let (invocations, answer) = to_the_end(&ingest, &event).await;
        assert!(invocations > 1, "it is resumed");
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(4_000), &json!(2_000)));
        // A reject, sent again under its header, is read with the same separator.
        let rejects = lines(&ingest.rejects.take());
        for reject in rejects {
            let row = ["A-3", "3", "y"].join(if first.is_empty() { ";" } else { ":" });
            let again = format!("{}\n{row}\n", reject["header"].as_str().unwrap());
            let request = json!({"format": "csv", "body": again});
            assert_eq!(handle(&ingest, &request.to_string()).await.unwrap()["accepted"], json!(1), "{again}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_version_of_an_object_is_read_once() {
    for (first, second) in [
        (csv("first", 3).into_bytes(), csv("second", 3).into_bytes()),
        (gzip(csv("first", 3).as_bytes()), gzip(csv("second", 3).as_bytes())),
    ] {
        let ingest = ingest();
        // Both were put before the first event was handled.
        let events = [ingest.objects.put("hourly.csv", first), ingest.objects.put("hourly.csv", second)];
        for event in &events {
            assert_eq!(handle(&ingest, event).await.unwrap()["accepted"], json!(3));
        }
        assert_eq!(ids(&ingest), [names("first", 3), names("second", 3)].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_object_without_versions_is_the_same_error_in_gzip() {
    let mut errors = Vec::new();
    for pack in [|text: &[u8]| text.to_vec(), gzip] {
        let ingest = ingest();
        ingest.objects.versioned.set(false);
        let first = ingest.objects.put("hourly.csv", pack(csv("first", 3).as_bytes()));
        let second = ingest.objects.put("hourly.csv", pack(csv("second", 3).as_bytes()));
        errors.push(handle(&ingest, &first).await.unwrap_err().to_string());
        assert_eq!(handle(&ingest, &second).await.unwrap()["accepted"], json!(3));
        assert_eq!(ids(&ingest), names("second", 3));
    }
    assert!(errors[0].contains("412") && errors[0] == errors[1], "{errors:?}");
}

#[tokio::test(start_paused = true)]
async fn large_object_replaced_during_reading_keeps_its_rows() {
    for pack in [|text: &[u8]| text.to_vec(), gzip] {
        let ingest = ingest();
        let first = ingest.objects.put("a.csv", pack(csv("first", 2_000).as_bytes()));
        slow(&ingest, 100);
        handle(&ingest, &first).await.unwrap();
        let done = ids(&ingest).len();
        assert!(0 < done && done < 2_000, "{done}");
        let second = ingest.objects.put("a.csv", pack(csv("second", 2_000).as_bytes()));
        let next = continuation(&ingest);
        ingest.objects.chunk_takes.set(Duration::from_millis(100));
        to_the_end(&ingest, &next).await;
        to_the_end(&ingest, &second).await;
        assert_eq!(ids(&ingest), [names("first", 2_000), names("second", 2_000)].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn large_object_is_read_by_several_invocations_without_repeats() {
    for (pack, tells_size) in [(false, true), (false, false), (true, true)] {
        let ingest = ingest();
        ingest.objects.tells_size.set(tells_size);
        let text = csv("A", 2_000).into_bytes();
        let event = ingest.objects.put("a.csv", if pack { gzip(&text) } else { text });
        slow(&ingest, 100);
        let (invocations, answer) = to_the_end(&ingest, &event).await;
        assert!(invocations >= 2, "{invocations} invocations of 60 seconds read 100 chunks");
        assert_eq!(ids(&ingest), names("A", 2_000));
        assert_eq!(answer["accepted"], json!(2_000), "the last answer counts all rows");
        // S3 may notify of an object twice, and Lambda may retry: nothing is sent again.
        let answer = handle(&ingest, &event).await.unwrap();
        assert_eq!(answer["accepted"], json!(0));
        assert_eq!(ids(&ingest).len(), 2_000);
    }
}

#[tokio::test(start_paused = true)]
async fn small_gzip_with_much_text_is_continued() {
    let ingest = ingest();
    // 12 MiB of rows in a few kilobytes, downloaded at once. The stream needs a second for each request.
    let text = format!("ID,Severity\n{}", "A,2\n".repeat(3 * 1024 * 1024 / 4));
    let packed = gzip(text.as_bytes());
    assert!(packed.len() < 64 * 1024);
    let event = ingest.objects.put("a.csv.gz", packed);
    ingest.stream.takes.set(Duration::from_secs(1));
    let (invocations, answer) = to_the_end(&ingest, &event).await;
    assert!(invocations > 2, "{invocations}");
    assert_eq!(answer["accepted"], json!(3 * 1024 * 1024 / 4));
    assert_eq!(ingest.stream.take().len(), 3 * 1024 * 1024 / 4);
}

#[tokio::test(start_paused = true)]
async fn endless_line_is_continued() {
    for pack in [|text: &[u8]| text.to_vec(), gzip] {
        let ingest = ingest();
        let text = format!("ID,Severity,City\nA,3,{}\nB,3,y\n", "x".repeat(40 * 1024 * 1024));
        let event = ingest.objects.put("a.csv", pack(text.as_bytes()));
        slow(&ingest, 100);
        let (invocations, answer) = to_the_end(&ingest, &event).await;
        assert!(invocations >= 2, "{invocations}");
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(1)));
        assert_eq!(ids(&ingest), ["B"]);
        let rejects = rejects(&ingest);
        // In parts, since the payload is long.
        assert!(!rejects.is_empty() && rejects.iter().all(|(reason, _)| reason == "too_large"));
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_at_the_end_of_an_object_ends_it() {
    for chunks in 30..60 {
        let ingest = ingest();
        let event = ingest.objects.put("a.csv", csv("A", 600));
        slow(&ingest, chunks);
        to_the_end(&ingest, &event).await;
        assert_eq!(ids(&ingest), names("A", 600), "{chunks} chunks");
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoint_at_the_end_needs_no_request() {
    let ingest = ingest();
    let text = csv("A", 600);
    let event = ingest.objects.put("a.csv", text.clone());
    slow(&ingest, 100);
    handle(&ingest, &event).await.unwrap();
    let done = ids(&ingest).len();
    // An invocation that ended after its checkpoint, which was at the end.
    let name = ingest.objects.own(Own::Checkpoint).remove(0);
    let mut checkpoint: Value = serde_json::from_slice(&ingest.objects.content(&name)).unwrap();
    checkpoint["position"]["offset"] = json!(text.len());
    ingest.objects.put(&name, checkpoint.to_string());
    to_the_end(&ingest, &event).await;
    assert_eq!(ids(&ingest).len(), done);
    assert_eq!(ingest.objects.opened.borrow().len(), 1);
    let finished: Value = serde_json::from_slice(&ingest.objects.content(&name)).unwrap();
    assert_eq!(finished["finished"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn retry_resumes_after_the_last_delivered_row() {
    for fails in ["stream", "download"] {
        let ingest = ingest();
        let event = ingest.objects.put("a.csv", csv("A", 20_000));
        ingest.objects.chunk_bytes.set(64 * 1024);
        if fails == "download" {
            ingest.objects.breaks_at.set(Some(300_000));
        } else {
            ingest.stream.reply((0..12).map(|_| Reply::Taken));
            ingest.stream.reply([Reply::Failed(Fault::Permanent)]);
        }
        let error = handle(&ingest, &event).await.unwrap_err();
        let done = ids(&ingest).len();
        assert!(done > 4_000, "{fails}: {done} rows before {error}");
        to_the_end(&ingest, &event).await;
        let mut taken = ids(&ingest);
        // A delivery of several requests that fails in part is repeated.
        assert!(taken.len() <= 22_000, "{fails}: {}", taken.len());
        taken.sort();
        taken.dedup();
        assert_eq!(taken, names("A", 20_000), "{fails}");
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_download_is_an_error_without_a_partial_row() {
    for pack in [|text: &[u8]| text.to_vec(), gzip] {
        let ingest = ingest();
        let content = pack(csv("A", 300).as_bytes());
        let breaks_at = content.len() * 2 / 3 + 3;
        let event = ingest.objects.put("a.csv", content);
        ingest.objects.breaks_at.set(Some(breaks_at));
        assert!(matches!(handle(&ingest, &event).await, Err(IngestError::Unreadable(_))));
        assert!(rejects(&ingest).is_empty());
        to_the_end(&ingest, &event).await;
        assert_eq!(ids(&ingest), names("A", 300));
        assert!(rejects(&ingest).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_invocations_neither_lose_rows_nor_fail() {
    for pause in [0, 1, 7, 20] {
        let ingest = ingest();
        let event = ingest.objects.put("a.csv", csv("A", 2_000));
        slow(&ingest, 150);
        let late = async {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            to_the_end(&ingest, &event).await
        };
        tokio::join!(to_the_end(&ingest, &event), late);
        let mut taken = ids(&ingest);
        taken.sort();
        taken.dedup();
        assert_eq!(taken, names("A", 2_000));
    }
}

#[tokio::test(start_paused = true)]
async fn outdated_checkpoint_blocks_nothing() {
    let ingest = ingest();
    let event = ingest.objects.put("a.csv", csv("A", 2_000));
    slow(&ingest, 100);
    handle(&ingest, &event).await.unwrap();
    // A slower invocation with the same object saved an earlier checkpoint.
    for name in ingest.objects.own(Own::Checkpoint) {
        ingest.objects.delete(&name);
    }
    let next = continuation(&ingest);
    to_the_end(&ingest, &next).await;
    assert_eq!(ids(&ingest), names("A", 2_000));
}

#[tokio::test(start_paused = true)]
async fn invocation_without_progress_fails() {
    let ingest = ingest();
    let event = ingest.objects.put("a.csv", format!("ID,Severity,City\nA,3,{}\n", "x".repeat(1_000)));
    ingest.objects.chunk_bytes.set(10);
    ingest.objects.chunk_takes.set(Duration::from_secs(1));
    let error = handle(&ingest, &event).await.unwrap_err();
    assert!(matches!(error, IngestError::NoProgress(0)), "{error}");
    assert!(ingest.objects.notified.borrow().is_empty(), "no continuation follows");
}

#[tokio::test(start_paused = true)]
async fn small_object_leaves_no_checkpoint() {
    let ingest = ingest();
    take(&ingest, "a.csv", "ID,Severity\nP-1,3\n").await;
    assert!(ingest.objects.notified.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn notifications_of_own_checkpoints_are_ignored_unread() {
    let ingest = ingest();
    let event = ingest.objects.put("a.csv", csv("A", 2_000));
    slow(&ingest, 100);
    handle(&ingest, &event).await.unwrap();
    let notified = std::mem::take(&mut *ingest.objects.notified.borrow_mut());
    let own: Vec<_> = notified.iter().filter(|event| event.contains(".checkpoint")).collect();
    assert!(!own.is_empty());
    let (taken, opened) = (ids(&ingest).len(), ingest.objects.opened.borrow().len());
    for event in own {
        let answer = handle(&ingest, event).await.unwrap();
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(0), &json!(0)));
    }
    assert_eq!((ids(&ingest).len(), ingest.objects.opened.borrow().len()), (taken, opened));
    // Other people's objects there are read like any object.
    assert_eq!(take(&ingest, "checkpoints/mine.csv", csv("B", 3)).await["accepted"], json!(3));
    assert_eq!(take(&ingest, "checkpoints/mine.checkpoint", "x").await["rejected"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn errors_of_checkpoints_and_continuations_are_counted() {
    let ingest = ingest();
    let event = ingest.objects.put("a.csv", csv("A", 2_000));
    slow(&ingest, 100);
    ingest.objects.refuses_puts.set(true);
    let (result, counts) = counted(&ingest, &event).await;
    assert!(matches!(result, Err(IngestError::NotContinued(_))));
    assert_eq!((counts["Failed"].as_u64(), counts["Unaccounted"].as_u64()), (Some(1), Some(0)), "{counts}");

    ingest.objects.refuses_puts.set(false);
    handle(&ingest, &event).await.unwrap();
    let next = continuation(&ingest);
    for name in ingest.objects.own(Own::Continuation) {
        ingest.objects.delete(&name);
    }
    let (result, counts) = counted(&ingest, &next).await;
    assert!(matches!(result, Err(IngestError::NotContinued(_))));
    assert_eq!((counts["In"].as_u64(), counts["Failed"].as_u64()), (Some(1), Some(1)), "{counts}");
}

/// Invokes the function with an event; returns the result and the logged counts.
async fn counted(ingest: &Ingest, event: &str) -> (Result<Value, IngestError>, Value) {
    let result = ingest.handle(event, &logged()).await;
    let counts = log_lines().into_iter().rfind(|line| line["Unaccounted"].is_u64()).unwrap();
    (result.map(|answer| serde_json::to_value(answer).unwrap()), counts)
}
