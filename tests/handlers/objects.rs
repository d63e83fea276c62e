//! The handler of ingest with objects of an inbox that behaves like S3.

mod continued;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use fakes::{BUCKET, fixture, gzip};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::delivery::Fault;
use tests::scripted::{Ingest, handle, ingest};
use tokio::runtime::{Builder, Runtime};

use super::{ingest::ids, lines, reasons};

/// A CSV of `rows` rows, whose ids begin with `name`.
fn csv(name: &str, rows: usize) -> String {
    let rows: Vec<String> = (0..rows).map(|row| format!("{name}-{row:05},3,City {}\n", row * 7919)).collect();
    let rows = rows.concat();
    format!("ID,Severity,City\n{rows}")
}

fn names(name: &str, rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("{name}-{row:05}")).collect()
}

/// Puts an object and invokes the function with its event.
async fn take(ingest: &Ingest, key: &str, content: impl Into<Bytes>) -> Value {
    let event = ingest.objects.put(key, content);
    handle(ingest, &event).await.unwrap()
}

/// Invokes the function with the event and with the events of ingest's own objects, until there are none. Returns how
/// many invocations read something, and the last answer that is not about a checkpoint.
async fn to_the_end(ingest: &Ingest, event: &str) -> (usize, Value) {
    let mut invocations = 1;
    let mut answer = handle(ingest, event).await.unwrap();
    // Rows of gzip that are done are only inflated again, which is quicker.
    ingest.objects.chunk_takes.set(ingest.objects.chunk_takes.get() / 10);
    while let Some(event) = { ingest.objects.notified.borrow_mut().pop_front() } {
        let opened = ingest.objects.opened.borrow().len();
        let next = handle(ingest, &event).await.unwrap();
        if ingest.objects.opened.borrow().len() > opened {
            (invocations, answer) = (invocations + 1, next);
        }
    }
    (invocations, answer)
}

/// Makes each download take `seconds` seconds, in as many chunks.
fn slow(ingest: &Ingest, seconds: usize) {
    let size = ingest.objects.newest().div_ceil(seconds);
    ingest.objects.chunk_bytes.set(size);
    ingest.objects.chunk_takes.set(Duration::from_secs(1));
}

/// The reason and the payload of each reject.
fn rejects(ingest: &Ingest) -> Vec<(String, String)> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines(&ingest.rejects.take()).iter().map(|line| (text(line, "reason"), text(line, "payload"))).collect()
}

#[tokio::test(start_paused = true)]
async fn object_is_read_in_chunks_with_its_own_date_order() {
    for name in ["date_order", "date-order", "dateorder"] {
        let ingest = ingest();
        ingest.objects.chunk_bytes.set(7);
        let text = "ID,Severity,Start_Time\nP-1,3,13/1/2023 1:02\nP-2,x,\n";
        let key = "morning rows/a+b ñ.csv";
        let event = ingest.objects.put_with(key, text, &[(name, "dmy")]);
        let answer = handle(&ingest, &event).await.unwrap();
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(1)));
        let taken = ingest.stream.take();
        let event: Value = serde_json::from_slice(&taken[0].data).unwrap();
        assert_eq!(event["Start_Time"], "2023-01-13T01:02:00");
        assert_eq!(lines(&ingest.rejects.take())[0]["source"], format!("{BUCKET}/{key}:3"));
    }
}

#[tokio::test(start_paused = true)]
async fn object_with_two_date_orders_is_one_reject() {
    let ingest = ingest();
    let text = "ID,Severity,Start_Time\nA,3,2/8/2016 0:37\n";
    for (other, accepted) in [("dmy", 1), ("mdy", 0)] {
        let metadata = [("date_order", "dmy"), ("date-order", other)];
        let event = ingest.objects.put_with("a.csv", text, &metadata);
        let answer = handle(&ingest, &event).await.unwrap();
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(accepted), &json!(1 - accepted)));
    }
    assert_eq!(lines(&ingest.rejects.take())[0]["reason"], "bad_date_order");
}

#[tokio::test(start_paused = true)]
async fn object_is_read_in_its_declared_charset() {
    let row = b"A-1;3;Do\xf1a Ana\nA-2;high;\xf1\n";
    let text = [b"ID;Severity;City\n", &row.repeat(2_000)[..]].concat();
    let latin = "text/csv; charset=ISO-8859-1";
    for (metadata, pack) in [
        (&[("charset", "latin-1")][..], false),
        (&[("Content-Type", latin)], false),
        (&[("Content-Type", latin)], true),
        (&[("Content-Type", "text/csv;charset=utf-8"), ("charset", "windows-1252")], false),
    ] {
        let ingest = ingest();
        ingest.objects.chunk_bytes.set(if pack { 7 } else { 501 });
        let content = if pack { gzip(&text) } else { text.clone() };
        let event = ingest.objects.put_with("a.csv", content, metadata);
        slow(&ingest, 100);
        let (invocations, answer) = to_the_end(&ingest, &event).await;
        assert!(invocations > 1, "it is resumed");
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2_000), &json!(2_000)));
        for event in lines(&ingest.stream.take().into_iter().map(|record| record.data).collect::<Vec<_>>()) {
            assert_eq!((&event["City"], event.get("_invalid")), (&json!("Doña Ana"), None));
        }
        let rejects = lines(&ingest.rejects.take());
        assert!(rejects.iter().all(|line| line["header"] == "ID;Severity;City"));
        assert!(rejects.iter().all(|line| line["payload"].as_str().unwrap().starts_with("A-2;high;ñ")));
    }
    let ingest = ingest();
    for charset in ["text/csv; charset=utf-16", "text/csv; charset=klingon"] {
        let event = ingest.objects.put_with("a.csv", text.clone(), &[("Content-Type", charset)]);
        assert_eq!(handle(&ingest, &event).await.unwrap()["rejected"], json!(1));
        let reject = &lines(&ingest.rejects.take())[0];
        assert_eq!(reject["reason"], "bad_charset");
        assert!(reject["detail"].as_str().unwrap().contains("expected utf-8, windows-1252, iso-8859-1"));
    }
}

#[tokio::test(start_paused = true)]
async fn unreadable_or_undelivered_object_fails_the_invocation() {
    let ingest = ingest();
    let error = handle(&ingest, &fixture("ingest-s3")).await.unwrap_err().to_string();
    assert!(error.starts_with("could not read the object: there is no object"), "{error}");

    let event = ingest.objects.put("a.csv", "ID,Severity\nP-1,3\n");
    ingest.stream.always.set(Some(Fault::Permanent));
    let error = handle(&ingest, &event).await.unwrap_err().to_string();
    assert!(error.starts_with("1 rows were not delivered"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn same_bytes_put_again_are_read_again() {
    for versioned in [true, false] {
        let ingest = ingest();
        ingest.objects.versioned.set(versioned);
        let rows = "A-1,3,2/8/2016 0:37\n".repeat(2_000);
        let text = format!("ID,Severity,Start_Time\n{rows}");
        for (order, day) in [(&[][..], "2016-02-08"), (&[("date_order", "dmy")][..], "2016-08-02")] {
            let event = ingest.objects.put_with("a.csv", text.clone(), order);
            slow(&ingest, 100);
            let (invocations, answer) = to_the_end(&ingest, &event).await;
            assert!(invocations > 1);
            assert_eq!(answer["accepted"], json!(2_000));
            let taken = ingest.stream.take();
            assert_eq!(taken.len(), 2_000);
            for record in taken {
                let event: Value = serde_json::from_slice(&record.data).unwrap();
                assert_eq!(event["Start_Time"], format!("{day}T00:37:00"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_keys_work() {
    for key in [format!("{}.csv", "x".repeat(1_020)), format!("{}.csv", "ñ".repeat(510))] {
        let ingest = ingest();
        let event = ingest.objects.put(&key, csv("A", 2_000));
        slow(&ingest, 100);
        let (invocations, _) = to_the_end(&ingest, &event).await;
        assert!(invocations > 1);
        assert_eq!(ids(&ingest), names("A", 2_000));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_with_any_extension_are_read_or_rejected() {
    for (key, text) in [
        ("A.CSV", "ID,Severity\nA,3\n"),
        ("a.Json", "[{\"ID\":\"A\",\"Severity\":3}]"),
        ("a.NDJSON", "{\"ID\":\"A\",\"Severity\":3}\n"),
        ("a.jsonl.Gz", "{\"ID\":\"A\",\"Severity\":3}\n"),
    ] {
        for content in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            let ingest = ingest();
            assert_eq!(take(&ingest, key, content).await["accepted"], json!(1), "{key}");
        }
    }
    for key in ["a.txt", "a", "a.csv.bak", "a.gz", ".csv/a"] {
        let ingest = ingest();
        assert_eq!(take(&ingest, key, "ID,Severity\nA,3\n").await["rejected"], json!(1), "{key}");
        assert_eq!(reasons(&ingest.rejects), ["unknown_format"]);
    }
    let ingest = ingest();
    assert_eq!(take(&ingest, "folder/", "").await["rejected"], json!(0), "it is the marker of a folder");
}

#[tokio::test(start_paused = true)]
async fn gzip_is_recognised_by_its_first_bytes() {
    let text = csv("A", 3_000);
    for key in ["a.csv", "a.csv.gz"] {
        for content in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            for chunk in [1, 100, 64 * 1024] {
                let ingest = ingest();
                ingest.objects.chunk_bytes.set(chunk);
                take(&ingest, key, content.clone()).await;
                assert_eq!(ids(&ingest), names("A", 3_000), "{key}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn archive_is_one_reject_that_names_it() {
    let zip = [&b"PK\x03\x04\x14\0\0\0"[..], &b"binary\nlines\n".repeat(100)].concat();
    for content in [zip.clone(), gzip(&zip)] {
        let ingest = ingest();
        let answer = take(&ingest, "a.csv", content).await;
        assert_eq!(answer["rejected"], json!(1));
        let reject = &lines(&ingest.rejects.take())[0];
        assert_eq!(reject["reason"], "unknown_format");
        assert!(reject["detail"].as_str().unwrap().contains("a zip archive"), "{reject}");
    }
    // A body exists nowhere else, so the reject holds it.
    let ingest = ingest();
    let body = "PK\u{3}\u{4}\u{14}\nlines\n";
    let answer = handle(&ingest, &json!({"format": "csv", "body": body}).to_string()).await.unwrap();
    assert_eq!(answer["rejected"], json!(1));
    assert_eq!(rejects(&ingest), [("unknown_format".to_owned(), body.to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn padding_after_gzip_is_not_a_row() {
    let packed = gzip(csv("A", 3_000).as_bytes());
    let ingest = ingest();
    take(&ingest, "a.csv.gz", [packed.clone(), vec![0; 512]].concat()).await;
    assert_eq!(ids(&ingest), names("A", 3_000));
    assert!(rejects(&ingest).is_empty());

    for trailing in ["\r\n", "A-1,3\n"] {
        let ingest = tests::scripted::ingest();
        take(&ingest, "a.csv.gz", [&packed, trailing.as_bytes()].concat()).await;
        assert_eq!(ids(&ingest), names("A", 3_000));
        assert_eq!(rejects(&ingest), [("bad_gzip".to_owned(), trailing.to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn truncated_gzip_is_read_to_its_last_whole_row() {
    let text = csv("A", 200);
    let rows: Vec<&str> = text.lines().skip(1).collect();
    let packed = gzip(text.as_bytes());
    for cut in 2..packed.len() {
        let ingest = ingest();
        take(&ingest, "a.csv", packed[..cut].to_vec()).await;
        let taken = ids(&ingest).len();
        assert_eq!(ids(&ingest), names("A", taken), "cut at {cut}");
        let cities: Vec<String> = ingest
            .stream
            .take()
            .iter()
            .map(|record| {
                serde_json::from_slice::<Value>(&record.data).unwrap()["City"].as_str().unwrap().to_owned()
            })
            .collect();
        let expected: Vec<_> = rows[..taken].iter().map(|row| row.rsplit(',').next().unwrap()).collect();
        assert_eq!(cities, expected, "no event has half a cell, cut at {cut}");
        let mut rejects = rejects(&ingest);
        assert_eq!(rejects.pop().unwrap().0, "bad_gzip");
        if let Some((reason, row)) = rejects.pop() {
            assert!(matches!(reason.as_str(), "cut_short" | "bad_header"), "{reason}: {row}");
            let next = rows.get(taken).copied().unwrap_or_default();
            assert!(next.starts_with(&row) || taken == 0, "cut at {cut}: {row}");
        }
        assert!(rejects.is_empty());
    }
}

/// The events in order, and how often each reject was written, by reason and payload.
type Outcome = (Vec<Bytes>, BTreeMap<(String, String), usize>);

fn outcome(ingest: &Ingest) -> Outcome {
    let events = ingest.stream.take().into_iter().map(|record| record.data).collect();
    let mut counted = BTreeMap::new();
    for reject in rejects(ingest) {
        *counted.entry(reject).or_default() += 1;
    }
    (events, counted)
}

fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The outcome for any object is the same as reading it at once, for any compression, chunks and interruptions.
    #[test]
    fn reading_in_any_pieces_equals_reading_at_once(
        rows in proptest::collection::vec("(A-[0-9]{1,3},[1-4x],[a-z ]{0,12}|[\"{}\\[\\],:a\r]{0,10}|\"a\nb\",3,c)\r?\n", 0..60),
        last in "[A,3\"]{0,8}",
        extension in prop::sample::select(vec!["csv", "ndjson", "json"]),
        members in 0_usize..4,
        cut in proptest::option::of(any::<prop::sample::Index>()),
        chunk in 1_usize..400,
        seconds in 1_u64..120,
        break_at in proptest::option::of(any::<prop::sample::Index>()),
        tells_size in any::<bool>(),
    ) {
        let text = format!("ID,Severity,City\n{}{last}", rows.concat());
        let mut content = match members {
            0 => text.into_bytes(),
            members => text.as_bytes().chunks(text.len().div_ceil(members)).flat_map(gzip).collect(),
        };
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let content = Bytes::from(content);
        let key = format!("a.{extension}");
        paused_runtime().block_on(async {
            let whole = ingest();
            take(&whole, &key, content.clone()).await;

            let pieces = ingest();
            pieces.objects.tells_size.set(tells_size);
            pieces.objects.chunk_bytes.set(chunk);
            // At least one chunk arrives each second, so that every invocation makes progress.
            let chunks = content.len().div_ceil(chunk).max(1);
            pieces.objects.chunk_takes.set(Duration::from_secs(seconds) / u32::try_from(chunks).unwrap());
            if !content.is_empty() {
                pieces.objects.breaks_at.set(break_at.map(|at| at.index(content.len())));
            }
            let event = pieces.objects.put(&key, content.clone());
            if handle(&pieces, &event).await.is_err() {
                pieces.objects.breaks_at.set(None);
                pieces.objects.chunk_takes.set(Duration::from_millis(1));
                to_the_end(&pieces, &event).await;
            }
            while let Some(event) = { pieces.objects.notified.borrow_mut().pop_front() } {
                // Gzip is inflated again from its beginning, which is quicker.
                pieces.objects.chunk_takes.set(pieces.objects.chunk_takes.get() / 2);
                handle(&pieces, &event).await.unwrap();
            }
            assert_eq!(outcome(&pieces), outcome(&whole));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A long header is not repeated in every reject.
    #[test]
    fn rejects_of_an_object_are_bounded_by_it(
        header in prop_oneof![0..100_usize, 60_000..300_000_usize],
        good in 0..4_usize,
        bad in prop::collection::vec(prop_oneof![Just("A\n"), Just("A,x,\n"), Just(",3,\n"), Just("\"A\"x,3,\n")], 1..5),
        times in 1..4_000_usize,
    ) {
        let rows = ["A-1,3,\n".repeat(good), bad.concat()].concat().repeat(times);
        let text = format!("ID,Severity,n{}\n{rows}", "n".repeat(header));
        let bytes = text.len();
        let ingest = ingest();
        let answer = paused_runtime().block_on(take(&ingest, "a.csv", text));
        let written: usize = ingest.rejects.taken.borrow().iter().map(Bytes::len).sum();
        prop_assert!(written <= 3 * bytes + 1_000_000, "{} bytes of {}", written, bytes);
        let counts = [&answer["accepted"], &answer["rejected"]].map(|count| count.as_u64().unwrap());
        prop_assert_eq!(counts, [good * times, bad.len() * times].map(|count| count as u64));
    }
}
