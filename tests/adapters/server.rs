//! A local stand-in for AWS: it records the requests and answers from a script.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use flate2::read::GzDecoder;
use serde_json::Value;
use shared::{
    aws,
    delivery::{self, Deadline, Limits, Order, Outcome, Service, deliver},
};
use tokio::time::Instant;

use super::cbor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its method and its path with the query.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    /// Its body, no longer compressed.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The header of a name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body as CBOR.
    pub(crate) fn cbor(&self) -> Value {
        cbor::decode(&self.body)
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum ScriptedResponse {
    /// A status, a content type and a body.
    Send(u16, &'static str, Vec<u8>),
    /// These bytes, and then the end of the connection.
    Raw(String),
    /// The end of the connection.
    Close,
}

impl ScriptedResponse {
    /// JSON, as Kinesis, Firehose and Glue answer.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Send(status, "application/x-amz-json-1.1", body.to_string().into_bytes())
    }

    /// An error of these services.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &serde_json::json!({"__type": code, "message": "a scripted error"}))
    }

    /// XML, as SNS and S3 answer.
    pub(crate) fn xml(status: u16, body: &str) -> Self {
        Self::Send(status, "text/xml", body.as_bytes().to_vec())
    }
}

/// The service.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<Mutex<VecDeque<ScriptedResponse>>>,
}

impl Server {
    /// A service with these answers, one for each request.
    pub(crate) fn new(script: impl IntoIterator<Item = ScriptedResponse>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
        };
        let (requests, script) = (Arc::clone(&server.requests), Arc::clone(&server.script));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (requests, script) = (Arc::clone(&requests), Arc::clone(&script));
                thread::spawn(move || serve(&connection.unwrap(), &requests, &script));
            }
        });
        server
    }

    /// The functions' configuration of clients, with this server as endpoint.
    pub(crate) async fn config(&self) -> SdkConfig {
        self.config_of(&self.address).await
    }

    /// The same with the server's host by name.
    pub(crate) async fn config_by_name(&self) -> SdkConfig {
        self.config_of(&self.address.replace("127.0.0.1", "localhost")).await
    }

    async fn config_of(&self, address: &str) -> SdkConfig {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .test_credentials()
            .endpoint_url(address);
        aws::with_client(loader).load().await
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Serves a connection until it ends. After the script, each request gets an error that nobody retries.
fn serve(connection: &TcpStream, requests: &Mutex<Vec<Request>>, script: &Mutex<VecDeque<ScriptedResponse>>) {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader) {
        // One lock covers the request and its answer, so that both have the same order.
        let answer = {
            let mut script = lock(script);
            lock(requests).push(request);
            script.pop_front()
        };
        match answer.unwrap_or_else(|| ScriptedResponse::error(400, "NotInTheScript")) {
            ScriptedResponse::Close => return,
            ScriptedResponse::Raw(answer) => {
                let mut writer = connection;
                writer.write_all(answer.as_bytes()).unwrap();
                return;
            }
            ScriptedResponse::Send(status, kind, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\nsmithy-protocol: rpc-v2-cbor\r\n\
                     ETag: \"tag\"\r\nx-amz-meta-date_order: dmy\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let mut writer = connection;
                writer.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            }
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        Some(line.trim_end().to_owned())
    };
    let line = next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        let header = next()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { line, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    if request.header("content-encoding") == Some("gzip") {
        let mut body = Vec::new();
        GzDecoder::new(&request.body[..]).read_to_end(&mut body).unwrap();
        request.body = body;
    }
    Some(request)
}

/// A deadline in one minute.
pub(crate) fn deadline() -> Deadline {
    Deadline { at: Instant::now() + Duration::from_mins(1), seed: 7 }
}

/// How the limits of a service divide entries: the number of entries in each request, and the positions of those that
/// are in none.
pub(crate) async fn split_into_requests<S: Service>(
    service: &S,
    entries: &[S::Entry],
) -> (Vec<usize>, Vec<usize>) {
    let unsent = Unsent { service, requests: RefCell::default() };
    let outcomes = deliver(&unsent, entries, Order::Kept, deadline()).await.outcomes;
    let is_refused = |index: &usize| matches!(outcomes[*index], Outcome::Unacceptable(_));
    let refused = (0..outcomes.len()).filter(is_refused).collect();
    (unsent.requests.take(), refused)
}

/// A service that accepts everything without sending it.
struct Unsent<'s, S> {
    service: &'s S,
    /// The number of entries of each request.
    requests: RefCell<Vec<usize>>,
}

impl<S: Service> Service for Unsent<'_, S> {
    type Entry = S::Entry;

    fn limits(&self) -> Limits {
        self.service.limits()
    }

    fn size(&self, entry: &S::Entry) -> usize {
        self.service.size(entry)
    }

    async fn send(&self, entries: &[&S::Entry]) -> delivery::Answer {
        self.requests.borrow_mut().push(entries.len());
        Ok(Vec::new())
    }
}
