//! The price of the bytes: a function that only receives its events, and encodes, hashes and sends as many bytes as a
//! real one. No function that sends signed requests can take less.

use std::{
    env,
    hint::black_box,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use sha2::{Digest, Sha256};

/// Handles invocations until the process is ended. For each it reads `objects` times the object, and sends that many
/// `bytes` in as many `requests`, of which base64 makes four out of three.
pub(crate) fn serve(objects: usize, requests: usize, bytes: usize) -> io::Result<()> {
    // The address of the Runtime API and of all services.
    let api = env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let mut connection = BufReader::with_capacity(64 * 1024, TcpStream::connect(api)?);
    connection.get_ref().set_nodelay(true)?;
    let data = vec![b'x'; bytes / requests.max(1) * 3 / 4];
    loop {
        black_box(exchange(&mut connection, "GET /2018-06-01/runtime/invocation/next", b"")?);
        for _ in 0..objects {
            black_box(exchange(&mut connection, "GET /bucket/a.csv", b"")?);
        }
        for _ in 0..requests {
            let body = base64_simd::STANDARD.encode_type::<Vec<u8>>(&data);
            black_box(Sha256::digest(&body));
            exchange(&mut connection, "POST /", &body)?;
        }
        exchange(&mut connection, "POST /2018-06-01/runtime/invocation/bench/response", b"null")?;
    }
}

/// Sends a request and returns the body of its response.
fn exchange(connection: &mut BufReader<TcpStream>, request: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let head = format!("{request} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            connection.read_exact(&mut body)?;
            return Ok(body);
        }
    }
}
