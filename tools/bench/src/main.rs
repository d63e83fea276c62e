//! Benchmarks of each function. Within one process, from the event's bytes to its finished requests, compared with
//! straightforward code and the floor. As a process of its own, with the requests sent. `tools/bench/bench.py` runs it.
//!
//! - `bench data DIRECTORY` writes the inputs of the others.
//! - `bench measure FILE` measures and writes JSON.
//! - `bench object MEGABYTES SECONDS FILE` ingests a large object with invocations of that duration.
//! - `bench whole NAME LAPS THOUSANDTHS FILE PROGRAM…` measures a function whole, with that share of a processor or `all`.
//! - `bench bytes OBJECTS REQUESTS BYTES` is such a program: it only reads objects and sends as many bytes.
//! - `bench often NAME FILE TIMES` repeats one function, for a profiler or for counting instructions.

mod data;
mod floor;
mod functions;
mod price;
mod race;
mod straightforward;
mod whole;

use std::{
    error::Error,
    fs, iter,
    ops::Range,
    path::Path,
    process::ExitCode,
    str::from_utf8,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use functions::{Ingest, Metrics, Notify, Transform, once, repeated};
use notify::plan::Memory;
use race::{Lap, Timed, race};
use serde_json::{Map, Value, json};
use shared::{
    data::{dataset::Dataset, time::stamp},
    stream::{StreamRecord, batch::records},
};
use tokio::runtime::Runtime;
use whole::{Load, WARM_UP, process};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Records in the event of transform.
const TRANSFORM_RECORDS: u32 = 4_000;
/// Severe records in the events of metrics and notify.
const SEVERE_RECORDS: u32 = 10_000;
/// Rows of a file.
const ROWS: u32 = 20_000;
/// Severe records in an event of at most 6 MB, at which Lambda closes a batch.
const SEVERE_BATCH: u32 = 6_000;
/// Rows of a file that is ingested by one invocation.
const FILE_ROWS: u32 = 10_000;
/// Events for which the API calls are counted.
const COUNTED_EVENTS: u32 = 10_000;
/// Raw events that contain ten severe ones, and a few more: 19.5 per cent are severe.
const RAW_FOR_TEN_SEVERE: u32 = 52;
/// How often each is timed; the median is reported.
const LAPS: usize = 31;

struct Bench {
    dataset: Dataset,
    runtime: Runtime,
    at: DateTime<Utc>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is a program for the command line")]
fn complain(error: &dyn Error) {
    eprintln!("error: {error}");
}

fn run(arguments: &[&str]) -> Outcome<()> {
    let bench = Bench {
        dataset: Dataset::named("us_accidents")?,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        at: Utc::now(),
    };
    match arguments {
        ["data", directory] => bench.write_data(Path::new(directory)),
        ["measure", file, batches @ ..] => {
            let batches: Vec<usize> = batches.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
            write(file, &bench.measure(&batches)?)
        }
        ["object", megabytes, seconds, file] => {
            write(file, &bench.object(megabytes.parse()?, Duration::from_secs(seconds.parse()?))?)
        }
        ["whole", name, laps, share, file, program @ ..] => {
            let load = Load { thousandths: share.parse().ok(), ..bench.load(name, laps.parse()?)? };
            write(file, &whole::measure(program, load)?)
        }
        ["bytes", objects, requests, bytes] => {
            Ok(price::serve(objects.parse()?, requests.parse()?, bytes.parse()?)?)
        }
        ["often", name, file, times] => bench.often(name, &fs::read(file)?, times.parse()?),
        _ => {
            Err("expected bench data DIRECTORY, bench measure FILE BATCH BATCH BATCH, bench object MEGABYTES SECONDS FILE, \
                 bench whole NAME LAPS SHARE FILE PROGRAM, bench bytes OBJECTS REQUESTS BYTES or bench often NAME FILE TIMES"
                .into())
        }
    }
}

fn write(file: &str, result: &Value) -> Outcome<()> {
    Ok(fs::write(file, serde_json::to_string_pretty(result)?)?)
}

impl Bench {
    /// The event of transform with the rows of those numbers.
    fn raw_event(&self, rows: Range<u32>) -> String {
        let events = data::raw_events(&self.dataset, &data::csv(rows), self.at);
        data::kinesis_event("us-accidents-data-stream-1-dev", &events, self.at)
    }

    /// What transform writes to stream 2 for that many severe events, which have the ids of the rows from `first` on.
    fn severe_events(&self, first: u32, records: u32) -> Outcome<Vec<StreamRecord>> {
        let raw = records * RAW_FOR_TEN_SEVERE / 10;
        let transform = functions::transform()?;
        transform.severe.keeps.set(true);
        self.run_transform(&transform, self.raw_event(first..first + raw).as_bytes())?;
        let mut severe = transform.severe.taken.take();
        if severe.len() < records as usize {
            return Err(format!("{} severe events of {raw} are fewer than {records}", severe.len()).into());
        }
        severe.truncate(records as usize);
        Ok(severe)
    }

    /// The event of metrics and of notify with these records.
    fn severe_event(&self, first: u32, records: u32) -> Outcome<String> {
        let severe = self.severe_events(first, records)?;
        let data: Vec<&Bytes> = severe.iter().map(|record| &record.data).collect();
        Ok(data::kinesis_event("us-accidents-data-stream-2-dev", &data, self.at))
    }

    fn write_data(&self, directory: &Path) -> Outcome<()> {
        fs::create_dir_all(directory)?;
        let csv = data::csv(0..ROWS);
        fs::write(directory.join("accidents.csv"), &csv)?;
        fs::write(directory.join("accidents-half.csv"), data::csv(0..ROWS / 2))?;
        fs::write(directory.join("transform.json"), self.raw_event(0..TRANSFORM_RECORDS))?;
        fs::write(directory.join("severe.json"), self.severe_event(0, SEVERE_RECORDS)?)?;
        // Lambda closes a batch at 6 MB.
        fs::write(directory.join("transform-6mb.json"), self.raw_event(0..3_000))?;
        fs::write(directory.join("severe-6mb.json"), self.severe_event(0, 9_000)?)?;
        Ok(())
    }

    /// The load of a function that is measured whole.
    fn load(&self, name: &str, laps: usize) -> Outcome<Load> {
        let invocations = laps + WARM_UP.min(laps);
        let same = |event: String| iter::repeat_n(Arc::new(event.into_bytes()), invocations).collect();
        let (events, object, records) = match name {
            "transform" => (same(self.raw_event(0..TRANSFORM_RECORDS)), Vec::new(), TRANSFORM_RECORDS),
            "metrics" => (same(self.severe_event(0, SEVERE_BATCH)?), Vec::new(), SEVERE_BATCH),
            // A warm function remembers the alerts, so that each invocation has ids of its own.
            "notify" => {
                let stride = SEVERE_BATCH * RAW_FOR_TEN_SEVERE / 10;
                let events = (0..).step_by(stride as usize).take(invocations);
                let events =
                    events.map(|first| Ok(Arc::new(self.severe_event(first, SEVERE_BATCH)?.into_bytes())));
                (events.collect::<Outcome<_>>()?, Vec::new(), SEVERE_BATCH)
            }
            "ingest_object" => {
                (same(data::object_event("a.csv")), data::csv(0..FILE_ROWS).into_bytes(), FILE_ROWS)
            }
            "ingest_body" => {
                let event = json!({"format": "csv", "body": data::csv(0..FILE_ROWS)}).to_string();
                (same(event), Vec::new(), FILE_ROWS)
            }
            "no_records" => (same(json!({"Records": []}).to_string()), Vec::new(), 0),
            "no_rows" => (same(json!({"format": "csv", "body": "ID,Severity\n"}).to_string()), Vec::new(), 0),
            _ => return Err(format!("there is no load for `{name}`").into()),
        };
        Ok(Load { events, object, records, thousandths: None })
    }

    fn measure(&self, batches: &[usize]) -> Outcome<Value> {
        let mut results = Map::new();
        results.insert("transform".into(), self.transform()?);
        let (metrics, notify) = (functions::metrics()?, functions::notify()?);
        let run_metrics = |event: &[u8]| self.run_metrics(&metrics, event);
        let run_notify = |event: &[u8]| self.run_notify(&notify, event);
        let metrics = self.severe_reader(run_metrics, straightforward::metrics, floor::metrics)?;
        let notify =
            self.severe_reader(run_notify, straightforward::notify, |event| floor::severe(event, 3))?;
        results.insert("metrics".into(), metrics);
        results.insert("notify".into(), notify);
        for (name, result) in self.ingest()? {
            results.insert(name.into(), result);
        }
        results.insert("bytes".into(), self.bytes()?);
        results.insert("api_calls".into(), self.api_calls(batches)?);
        Ok(Value::Object(results))
    }

    // The functions are warm, as for all batches but the first of a container: one-time work is done before.

    fn run_transform(&self, transform: &Transform, event: &[u8]) -> Lap {
        let before = transform.severe.entries.get();
        self.runtime.block_on(transform.handle(from_utf8(event)?, &functions::invocation(self.at)))?;
        Ok(transform.severe.entries.get() - before)
    }

    fn run_metrics(&self, metrics: &Metrics, event: &[u8]) -> Lap {
        let before = metrics.metric.requests.get();
        self.runtime.block_on(metrics.handle(from_utf8(event)?, &functions::invocation(self.at)))?;
        Ok(metrics.metric.requests.get() - before)
    }

    fn run_notify(&self, notify: &Notify, event: &[u8]) -> Lap {
        // A warm function would remember the alerts and send fewer messages.
        *notify.memory.lock().map_err(|error| error.to_string())? = Memory::default();
        let before = notify.topic.entries.get();
        self.runtime.block_on(notify.handle(from_utf8(event)?, &functions::invocation(self.at)))?;
        Ok(notify.topic.entries.get() - before)
    }

    fn run_ingest(&self, ingest: &Ingest, name: &str) -> Lap {
        let before = ingest.stream.entries.get();
        // Each lap has a key of its own: a large object that was read to its end is not read again.
        let event = data::object_event(&format!("{before}-{name}"));
        self.runtime.block_on(ingest.handle(&event, &functions::invocation(self.at)))?;
        Ok(ingest.stream.entries.get() - before)
    }

    fn transform(&self) -> Outcome<Value> {
        let event = self.raw_event(0..TRANSFORM_RECORDS);
        let double = self.raw_event(0..2 * TRANSFORM_RECORDS);
        let (event, double) = (event.as_bytes(), double.as_bytes());
        let function = functions::transform()?;
        let laps = race(
            LAPS,
            &mut [
                ("ours", &mut || self.run_transform(&function, event)),
                ("straightforward", &mut || straightforward::transform(&self.dataset, event)),
                ("floor", &mut || floor::severe(event, 2)),
                ("double", &mut || self.run_transform(&function, double)),
            ],
        )?;
        same(&laps, &["ours", "straightforward", "floor"])?;
        Ok(result(TRANSFORM_RECORDS, event.len(), &laps))
    }

    /// A function that reads severe events.
    fn severe_reader(
        &self,
        ours: impl Fn(&[u8]) -> Lap,
        straightforward: fn(&[u8]) -> Lap,
        floor: fn(&[u8]) -> Lap,
    ) -> Outcome<Value> {
        let event = self.severe_event(0, SEVERE_RECORDS)?;
        let half = self.severe_event(0, SEVERE_RECORDS / 2)?;
        let (event, half) = (event.as_bytes(), half.as_bytes());
        let laps = race(
            LAPS,
            &mut [
                ("ours", &mut || ours(event)),
                ("straightforward", &mut || straightforward(event)),
                ("floor", &mut || floor(event)),
                ("half", &mut || ours(half)),
            ],
        )?;
        same(&laps, &["straightforward", "floor"])?;
        Ok(result(SEVERE_RECORDS, event.len(), &laps))
    }

    fn ingest(&self) -> Outcome<Vec<(&'static str, Value)>> {
        let received = stamp(self.at);
        let csv = Bytes::from(data::csv(0..ROWS));
        let double = Bytes::from(data::csv(0..2 * ROWS));
        let ndjson = data::raw_events(&self.dataset, &data::csv(0..ROWS), self.at).concat();
        let ndjson_text = std::str::from_utf8(&ndjson)?;
        let json = format!("[{}]", ndjson_text.trim_end().replace('\n', ","));
        let once = |text: &Bytes| functions::ingest(once(text.clone()));
        let (of_csv, of_double) = (once(&csv)?, once(&double)?);
        let (of_ndjson, of_json) = (once(&ndjson.clone().into())?, once(&json.clone().into())?);

        let csv_laps = race(
            LAPS,
            &mut [
                ("ours", &mut || self.run_ingest(&of_csv, "a.csv")),
                ("straightforward", &mut || straightforward::csv(&self.dataset, &csv, &received)),
                ("floor", &mut || floor::csv(&csv)),
                ("double", &mut || self.run_ingest(&of_double, "a.csv")),
            ],
        )?;
        let ndjson_laps = race(
            LAPS,
            &mut [
                ("ours", &mut || self.run_ingest(&of_ndjson, "a.ndjson")),
                ("straightforward", &mut || {
                    straightforward::json(ndjson_text.lines().map(serde_json::from_str), &received)
                }),
                ("floor", &mut || floor::ndjson(ndjson_text)),
            ],
        )?;
        let json_laps = race(
            LAPS,
            &mut [
                ("ours", &mut || self.run_ingest(&of_json, "a.json")),
                ("straightforward", &mut || {
                    let rows: Vec<Map<String, Value>> = serde_json::from_str(&json)?;
                    straightforward::json(rows.into_iter().map(Ok), &received)
                }),
                ("floor", &mut || floor::json(&json)),
            ],
        )?;
        for laps in [&csv_laps, &ndjson_laps, &json_laps] {
            same(laps, &["ours", "straightforward", "floor"])?;
        }
        Ok(vec![
            ("ingest_csv", result(ROWS, csv.len(), &csv_laps)),
            ("ingest_ndjson", result(ROWS, ndjson.len(), &ndjson_laps)),
            ("ingest_json", result(ROWS, json.len(), &json_laps)),
        ])
    }

    /// Mean bytes of the records, for the cost estimate.
    fn bytes(&self) -> Outcome<Value> {
        let raw = data::raw_events(&self.dataset, &data::csv(0..COUNTED_EVENTS), self.at);
        let severe = self.severe_events(0, 1_000)?;
        let mean = |total: usize, count: usize| total.div_ceil(count.max(1));
        Ok(json!({
            "raw": mean(raw.iter().map(Vec::len).sum(), raw.len()),
            "severe": mean(severe.iter().map(|record| record.data.len()).sum(), severe.len()),
        }))
    }

    /// The calls for ten thousand events through the whole pipeline, with batches of the stack's default sizes.
    fn api_calls(&self, batches: &[usize]) -> Outcome<Value> {
        let &[transform_batch, metrics_batch, notify_batch] = batches else {
            return Err("the sizes of the batches of transform, metrics and notify are missing".into());
        };
        let ingest = functions::ingest(once(Bytes::from(data::csv(0..COUNTED_EVENTS))))?;
        ingest.stream.keeps.set(true);
        self.run_ingest(&ingest, "a.csv")?;
        let raw = ingest.stream.taken.take();

        let transform = functions::transform()?;
        transform.severe.keeps.set(true);
        for batch in raw.chunks(transform_batch) {
            self.run_transform(&transform, self.batch(batch).as_bytes())?;
        }
        let severe = transform.severe.taken.take();
        let (metrics, notify) = (functions::metrics()?, functions::notify()?);
        for batch in severe.chunks(metrics_batch) {
            self.run_metrics(&metrics, self.batch(batch).as_bytes())?;
        }
        for batch in severe.chunks(notify_batch) {
            self.run_notify(&notify, self.batch(batch).as_bytes())?;
        }
        Ok(json!({
            "events": raw.len(),
            "severe": severe.len(),
            "kinesis:PutRecords": ingest.stream.requests.get() + transform.severe.requests.get(),
            "firehose:PutRecordBatch": transform.analytical.requests.get() + ingest.rejects.requests.get()
                + transform.rejects.requests.get() + metrics.rejects.requests.get() + notify.rejects.requests.get(),
            // The table is read once for each container; one call then registers the partitions.
            "glue": 2 * transform.catalog.0.requests.get(),
            "cloudwatch:PutMetricData": metrics.metric.requests.get() + notify.latency.requests.get(),
            "sns:PublishBatch": notify.topic.requests.get(),
        }))
    }

    fn batch(&self, records: &[StreamRecord]) -> String {
        let data: Vec<&Bytes> = records.iter().map(|record| &record.data).collect();
        data::kinesis_event("us-accidents-data-stream-1-dev", &data, self.at)
    }

    /// Ingests an object of that size with invocations of that duration, and checks that every row is ingested once.
    fn object(&self, megabytes: u64, each: Duration) -> Outcome<Value> {
        let csv = Bytes::from(data::csv(0..ROWS));
        let blocks = (megabytes * 1_000_000).div_ceil(csv.len() as u64);
        let ingest = functions::ingest(repeated(&csv, blocks))?;
        let size = ingest.objects.size();
        let mut event =
            Some(data::object_event("large.csv").replace("\"size\": 663", &format!("\"size\": {size}")));
        let (begin, mut invocations) = (Instant::now(), 0);
        while let Some(next) = event {
            invocations += 1;
            let invocation = functions::invocation_of(Utc::now(), each);
            self.runtime.block_on(ingest.handle(&next, &invocation))?;
            event = ingest.objects.continuation.take().map(|name| data::object_event(&name));
        }
        let seconds = begin.elapsed().as_secs_f64();
        let (taken, rows) = (ingest.stream.entries.get(), u64::from(ROWS) * blocks);
        if taken != rows {
            return Err(format!("of {rows} rows {taken} were taken").into());
        }
        Ok(json!({
            "bytes": size, "rows": rows, "invocations": invocations, "seconds": seconds,
            "peak_bytes": process::peak_memory("self")?,
        }))
    }

    /// Repeats one function with that event or object.
    fn often(&self, name: &str, input: &[u8], times: u32) -> Outcome<()> {
        let mut lap: Box<dyn FnMut() -> Lap> = match name {
            "payload" => Box::new(|| Ok(from_utf8(input)?.len() as u64)),
            "decode" => Box::new(|| Ok(records(from_utf8(input)?)?.len() as u64)),
            "floor" => Box::new(|| floor::severe(input, 2)),
            "transform" => {
                let function = functions::transform()?;
                Box::new(move || self.run_transform(&function, input))
            }
            "metrics" => {
                let function = functions::metrics()?;
                Box::new(move || self.run_metrics(&function, input))
            }
            "notify" => {
                let function = functions::notify()?;
                Box::new(move || self.run_notify(&function, input))
            }
            "ingest" => {
                let function = functions::ingest(once(Bytes::copy_from_slice(input)))?;
                Box::new(move || self.run_ingest(&function, "a.csv"))
            }
            _ => return Err(format!("unknown benchmark `{name}`").into()),
        };
        (0..times).try_for_each(|_| lap().map(|_| ()))
    }
}

/// The results of one benchmark: milliseconds of each contender, all in one run.
fn result(records: u32, bytes: usize, laps: &[Timed]) -> Value {
    let mut result = Map::new();
    result.insert("records".into(), records.into());
    result.insert("bytes".into(), bytes.into());
    for Timed { name, seconds, .. } in laps {
        result.insert(format!("{name}_ms"), (seconds * 1e3).into());
    }
    Value::Object(result)
}

/// Contenders with different counts did not do the same work.
fn same(laps: &[Timed], names: &[&str]) -> Outcome<()> {
    let counts: Vec<(&str, u64)> = laps
        .iter()
        .filter(|timed| names.contains(&timed.name))
        .map(|timed| (timed.name, timed.count))
        .collect();
    if counts.windows(2).any(|pair| pair[0].1 != pair[1].1) || counts.iter().any(|(_, count)| *count == 0) {
        return Err(format!("the contenders did not do the same work: {counts:?}").into());
    }
    Ok(())
}
