//! A function as Lambda starts it: a process of its own, which asks for its invocations.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{
    http::{Request, Response, serve},
    services::Services,
    share::Share,
};

/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_mins(2);
const NEXT: &str = "/2018-06-01/runtime/invocation/next";

/// What one invocation used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// From the event to the function's answer, in seconds.
    pub(crate) wall: f64,
    /// Processor time of all threads, in seconds, until the function asks for its next event.
    pub(crate) cpu: f64,
}

/// What the process says.
enum Said {
    /// It asks for an invocation.
    Next,
    /// It has answered one.
    Answered(Instant),
    /// It has failed, with that message.
    Failed(String),
}

/// A running function.
pub(crate) struct Process {
    child: Child,
    events: Sender<Arc<Vec<u8>>>,
    said: Receiver<Said>,
    pub(crate) services: Arc<Services>,
    started: Instant,
    /// Ends after the process, as its group has to be empty then.
    share: Option<Share>,
}

impl Process {
    /// Starts a function with its services. The environment has its variables already.
    pub(crate) fn start(command: &[&str], services: Services) -> io::Result<Self> {
        let services = Arc::new(services);
        let (events, waiting) = channel::<Arc<Vec<u8>>>();
        let (speak, said) = channel();
        let (waiting, speak) = (Mutex::new(waiting), Mutex::new(speak));
        let answering = Arc::clone(&services);
        let port = serve(move |request| {
            if request.path.starts_with("/2018-06-01/runtime/") {
                runtime(&request, &waiting, &speak)
            } else {
                answering.answer(&request)
            }
        })?;
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("no program to measure is named"))?;
        let started = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let process = Self { child, events, said, services, started, share: None };
        process.asks()?;
        Ok(process)
    }

    pub(crate) fn invoke(&self, event: Arc<Vec<u8>>) -> io::Result<Used> {
        let before = self.cpu()?;
        let begin = Instant::now();
        self.events.send(event).map_err(io::Error::other)?;
        let end = match self.listen()? {
            Said::Answered(at) => at,
            Said::Failed(message) => return Err(io::Error::other(format!("the function failed: {message}"))),
            Said::Next => return Err(io::Error::other("the function asked for two events at once")),
        };
        self.asks()?;
        Ok(Used { wall: (end - begin).as_secs_f64(), cpu: self.cpu()? - before })
    }

    /// Seconds since its start.
    pub(crate) fn age(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The most memory that it has used, in bytes.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        peak_memory(&self.child.id().to_string())
    }

    /// Limits it to so many thousandths of a processor from now on.
    pub(crate) fn limit(&mut self, thousandths: u64) -> io::Result<()> {
        self.share = Some(Share::of(self.child.id(), thousandths)?);
        Ok(())
    }

    /// Processor time of its threads, in seconds.
    fn cpu(&self) -> io::Result<f64> {
        let mut nanoseconds = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
            nanoseconds += first.ok_or_else(|| io::Error::other("the system reports no processor time"))?;
        }
        Ok(nanoseconds / 1e9)
    }

    fn asks(&self) -> io::Result<()> {
        match self.listen()? {
            Said::Next => Ok(()),
            Said::Failed(message) => Err(io::Error::other(format!("the function does not start: {message}"))),
            Said::Answered(_) => Err(io::Error::other("the function answered twice")),
        }
    }

    fn listen(&self) -> io::Result<Said> {
        self.said
            .recv_timeout(TIMEOUT)
            .map_err(|_| io::Error::other("the function ended, or took longer than two minutes"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The most memory in bytes that a process has used, by its id or `self`.
pub(crate) fn peak_memory(process: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|peak| peak * 1024).ok_or_else(|| io::Error::other("the system reports no VmHWM"))
}

/// Answers a request to the Runtime API.
///
/// Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
fn runtime(
    request: &Request,
    waiting: &Mutex<Receiver<Arc<Vec<u8>>>>,
    speak: &Mutex<Sender<Said>>,
) -> Response {
    let say = |said| speak.lock().unwrap_or_else(PoisonError::into_inner).send(said).ok();
    if request.path == NEXT {
        say(Said::Next);
        let event = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().unwrap_or_default();
        let deadline = (Utc::now() + TIMEOUT).timestamp_millis();
        let headers = format!(
            "Content-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: bench\r\n\
             Lambda-Runtime-Deadline-Ms: {deadline}\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:000000000000:function:bench\r\n"
        );
        return Response { headers, body: event, ..Response::default() };
    }
    if request.path.ends_with("/response") {
        say(Said::Answered(Instant::now()));
    } else {
        say(Said::Failed(String::from_utf8_lossy(&request.body).into_owned()));
    }
    Response::of("application/json", "{}")
}
