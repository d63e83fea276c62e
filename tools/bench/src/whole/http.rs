//! The part of HTTP/1.1 that the benchmark's endpoint needs: whole requests, one after the other on a connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

pub(crate) struct Request {
    /// `GET`, `POST` or `PUT`.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// The operation of `X-Amz-Target`, such as `PutRecords`; empty without the header.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Response {
    /// The status; 0 means 200.
    pub(crate) status: u16,
    /// Lines of the header, each with its line end.
    pub(crate) headers: String,
    pub(crate) body: Arc<Vec<u8>>,
}

impl Response {
    /// A successful response of that content type.
    pub(crate) fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            headers: format!("Content-Type: {content_type}\r\n"),
            body: Arc::new(body.into()),
            ..Self::default()
        }
    }
}

/// Serves on a free port of this machine, with a thread for each connection. Returns the port.
pub(crate) fn serve(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // A connection ends when its process does.
            thread::spawn(move || converse(&connection, &*answer).ok());
        }
    });
    Ok(port)
}

fn converse(connection: &TcpStream, answer: &dyn Fn(Request) -> Response) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, connection);
    while let Some(request) = read(&mut reader, connection)? {
        let Response { status, headers, body } = answer(request);
        let status = if status == 0 { 200 } else { status };
        let head = format!("HTTP/1.1 {status} -\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let mut connection = connection;
        connection.write_all(head.as_bytes())?;
        connection.write_all(&body)?;
    }
    Ok(())
}

/// The next request; `None` at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>, mut connection: &TcpStream) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut chunked, mut target) = (0, false, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "x-amz-target" => value.rsplit('.').next().unwrap_or_default().clone_into(&mut target),
            "expect" => connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
    }
    let body = if chunked { chunks(reader)? } else { exactly(reader, length)? };
    Ok(Some(Request { method, path, target, body }))
}

fn exactly(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let length = length.map_err(|_| io::Error::other("a chunk without its length"))?;
        body.extend(exactly(reader, length)?);
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}
