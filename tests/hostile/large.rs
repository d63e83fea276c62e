//! Inputs too large for files, made when needed.

use std::time::{Duration, Instant};

use ingest::rows::ROW_BYTES;

use super::*;

/// The longest that an input of some megabytes may take, without optimisation and on a busy machine. Quadratic time
/// would be hours.
const LONGEST: Duration = Duration::from_mins(1);

/// The counts of accepted and rejected rows of an object, and the reasons in order, without repeats.
async fn object(key: &str, bytes: &[u8]) -> (u64, u64, Vec<String>) {
    let begin = Instant::now();
    let ingest = ingest();
    let put = ingest.objects.put(key, bytes.to_vec());
    let answer = handle(&ingest, &put).await.unwrap();
    let mut reasons = reasons(&ingest.rejects);
    reasons.dedup();
    assert!(begin.elapsed() < LONGEST, "{key} took {:?}", begin.elapsed());
    (answer["accepted"].as_u64().unwrap(), answer["rejected"].as_u64().unwrap(), reasons)
}

fn owned(reasons: &[&str]) -> Vec<String> {
    reasons.iter().map(|reason| (*reason).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_megabyte_line_is_one_reject_and_the_rest_continues() {
    let line = "x".repeat(10_000_000);
    let csv = format!("ID,Severity,City\nA,3,{line}\nB,2,y\n");
    assert_eq!(object("line.csv", csv.as_bytes()).await, (1, 1, owned(&["too_large"])));
    assert_eq!(object("header.csv", line.as_bytes()).await, (0, 1, owned(&["bad_header"])));
    let ndjson = format!("{{\"ID\":\"A\",\"City\":\"{line}\"}}\n{{\"ID\":\"B\",\"Severity\":2}}\n");
    assert_eq!(object("line.ndjson", ndjson.as_bytes()).await, (1, 1, owned(&["too_large"])));
}

#[tokio::test(start_paused = true)]
async fn row_that_the_stream_refuses_is_one_reject() {
    let csv = format!("ID,Severity,City\nA,3,{}\nB,2,y\n", "x".repeat(2_000_000));
    assert_eq!(object("row.csv", csv.as_bytes()).await, (1, 1, owned(&["too_large"])));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_columns_are_kept() {
    let names: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let csv = format!("ID,Severity,{}\nA,3,{}\n", names.join(","), vec!["x"; 10_000].join(","));
    assert_eq!(object("columns.csv", csv.as_bytes()).await, (1, 0, owned(&[])));
    let keys: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    let json = format!("{{\"ID\":\"A\",\"Severity\":3,{}}}", keys.join(","));
    assert_eq!(object("columns.json", json.as_bytes()).await, (1, 0, owned(&[])));
}

#[tokio::test(start_paused = true)]
async fn hundred_thousand_keys_take_linear_time() {
    // 900 KB, as much as an event may hold.
    let keys: Vec<String> = (0..90_000).map(|number| format!("\"{number:05}\":1")).collect();
    let json = format!("{{\"ID\":\"A\",\"Severity\":3,{}}}\n", keys.join(","));
    let (_, rejected, reasons) = object("keys.ndjson", json.as_bytes()).await;
    assert_eq!((rejected, reasons), (1, owned(&["too_large"])), "a value as text is two bytes longer");
    let names: Vec<String> = (0..300_000).map(|number| number.to_string()).collect();
    let csv = format!("ID,Severity,{}\nA,3,{}\n", names.join(","), vec![""; 300_000].join(","));
    assert_eq!(object("names.csv", csv.as_bytes()).await, (1, 0, owned(&[])));
}

#[tokio::test(start_paused = true)]
async fn key_repeated_a_hundred_thousand_times_is_one_event_or_reject() {
    let keys = vec!["\"x\":1"; 100_000].join(",");
    let json = format!("{{\"ID\":\"A\",\"Severity\":3,{keys}}}\n");
    let (accepted, rejected, _) = object("twice.ndjson", json.as_bytes()).await;
    assert_eq!(accepted + rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn deep_nesting_rejects_only_its_own_row() {
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let ndjson =
        format!("{deep}\n{{\"ID\":\"A\",\"Severity\":3,\"City\":{deep}}}\n{{\"ID\":\"B\",\"Severity\":2}}\n");
    let (accepted, rejected, reasons) = object("deep.ndjson", ndjson.as_bytes()).await;
    assert_eq!((accepted, rejected, reasons), (2, 1, owned(&["not_json"])));
    let objects = "{\"a\":".repeat(200_000);
    let (accepted, rejected, reasons) = object("open.ndjson", objects.as_bytes()).await;
    assert_eq!((accepted, rejected, reasons), (0, 1, owned(&["not_json"])));
}

#[tokio::test(start_paused = true)]
async fn unclosed_brackets_take_linear_time() {
    // Each bracket shows that the one before it is not closed.
    let text = "{\n".repeat(100_000);
    assert_eq!(object("open.json", text.as_bytes()).await, (0, 100_000, owned(&["not_json"])));
    let text = "[".repeat(2 * ROW_BYTES);
    assert_eq!(object("arrays.json", text.as_bytes()).await, (0, 1, owned(&["too_large"])));
    // A quote closes the previous one, so every second line begins a row.
    let text = format!("ID,Severity\n{}", "\"\n".repeat(100_000));
    assert_eq!(object("quotes.csv", text.as_bytes()).await, (0, 50_000, owned(&["cell_count"])));
}

#[tokio::test(start_paused = true)]
async fn element_of_any_size_affects_only_itself() {
    let row = |id: &str, more: &str| format!("{{\"ID\":\"{id}\",\"Severity\":3{more}}}");
    let good = |count: usize| vec![row("A", &format!(",\"City\":\"{}\"", "x".repeat(200))); count];
    for size in [1_000_000, 9_000_000] {
        let large = row("L", &format!(",\"City\":\"{}\",\"more\":[{{}}]", "x".repeat(size)));
        let text = format!("[{},{large},{}]", row("A", ""), good(3).join(","));
        let too_large = if size < ROW_BYTES { Vec::new() } else { owned(&["too_large"]) };
        let rejected = too_large.len() as u64;
        assert_eq!(object("large.json", text.as_bytes()).await, (5 - rejected, rejected, too_large));
        let count = size / 240;
        for between in [",", ",\n"] {
            for broken in
                [row("B", "").trim_end_matches('}'), &row("B", ",\"x\":[3"), &row("B", ",\"x\":\"y")]
            {
                let text =
                    format!("[{}{between}{broken}{between}{}]", row("A", ""), good(count).join(between));
                let expected = (count as u64 + 1, 1, owned(&["not_json"]));
                assert_eq!(object("open.json", text.as_bytes()).await, expected, "{broken} of {size}");
            }
            let text = format!("{{\"count\":2,\"data\":[{}]}}", good(count).join(between));
            let (accepted, rejected, _) = object("wrapped.json", text.as_bytes()).await;
            assert_eq!((accepted, rejected), (0, 1), "{size} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn overlong_line_also_ends_with_a_carriage_return() {
    let text = format!("ID,Severity,City\rA,3,x\rB,3,{}\rC,3,y\rD,4,z\r", "x".repeat(5_000_000));
    assert_eq!(object("return.csv", text.as_bytes()).await, (3, 1, owned(&["too_large"])));
    let text = text.replacen("B,3,x", "B,3,\"x", 1);
    assert_eq!(object("return.csv", text.as_bytes()).await, (3, 1, owned(&["too_large"])));
}

#[tokio::test(start_paused = true)]
async fn number_of_a_million_digits_is_not_a_number() {
    let digits = "9".repeat(500_000);
    let csv = format!("ID,Severity,Start_Lat\nA,{digits},1\nB,3,{digits}\nC,3,1e{digits}\n");
    let (accepted, rejected, reasons) = object("digits.csv", csv.as_bytes()).await;
    assert_eq!((accepted, rejected, reasons), (2, 1, owned(&["bad_severity"])));
}

#[tokio::test(start_paused = true)]
async fn hundred_thousand_bad_rows_are_as_many_rejects() {
    let csv = format!("ID,Severity\n{}", ",3\n".repeat(100_000));
    assert_eq!(object("blank.csv", csv.as_bytes()).await, (0, 100_000, owned(&["missing_id"])));
}

#[tokio::test(start_paused = true)]
async fn a_bomb_in_a_body_is_refused_with_413() {
    let bomb = gzip(&vec![b'\n'; 65 * 1024 * 1024]);
    let ingest = ingest();
    let answer = handle(&ingest, &post(&bomb, "text/csv", "gzip")).await.unwrap();
    assert_eq!(answer["statusCode"], 413);
    let said = "the gzip data inflates to more than 67108864 bytes: send it in smaller pieces";
    assert_eq!(body(&answer), json!({"error": said}));
}

#[tokio::test(start_paused = true)]
async fn nested_gzip_bomb_is_text_that_is_not_csv() {
    let bomb = gzip(&gzip(&vec![b'x'; 10_000_000]));
    let (accepted, _, _) = object("twice.csv.gz", &bomb).await;
    assert_eq!(accepted, 0);
    let (accepted, rejected, reasons) = object("zeros.ndjson.gz", &gzip(&vec![0; 20_000_000])).await;
    assert_eq!((accepted, rejected, reasons), (0, 1, owned(&["too_large"])));
}

#[tokio::test(start_paused = true)]
async fn truncated_gzip_object_keeps_the_rows_before_the_cut() {
    let rows: Vec<String> = (0..20_000).map(|number| format!("{number},3,{}", number * 7919)).collect();
    let whole = gzip(format!("ID,Severity,City\n{}", rows.join("\n")).as_bytes());
    let (accepted, rejected, reasons) = object("short.csv.gz", &whole[..whole.len() / 2]).await;
    assert!(accepted > 5_000, "{accepted}");
    assert_eq!(reasons.last().map(String::as_str), Some("bad_gzip"));
    assert!(rejected <= 2, "the truncated row and the object");
}

#[test]
fn aggregate_of_many_empty_records_is_split() {
    // A sub-record without data is six bytes: as many as a record of the stream holds.
    let mut protobuf = b"\x0a\x01k".to_vec();
    protobuf.extend(b"\x1a\x04\x08\x00\x1a\x00".repeat(170_000));
    let data = fakes::aggregate(&protobuf);
    assert!(data.len() <= 1024 * 1024);
    assert_eq!(kpl::deaggregate(data.into()).unwrap().len(), 170_000);
}
