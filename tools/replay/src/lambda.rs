//! Invokes the deployed functions with the AWS SDK.

use std::{fmt, io, time::Duration};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use shared::aws::{Call, CallError, Caller, ServiceName};
use tokio::time::timeout;

use crate::{
    error::Error,
    redrive::Functions,
    send::{Ingest, IngestAnswer, InvokeFailure},
};

/// The longest wait for a response: longer than Lambda lets a function run.
///
/// Source: Lambda developer guide, "Lambda quotas": a function runs for at most 900 seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(910);

const LAMBDA: ServiceName = ServiceName { id: "Lambda", host: "lambda" };
/// What is escaped in a segment of a path.
///
/// Source: RFC 3986, section 2.3, "Unreserved Characters".
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Invokes functions by name.
#[derive(Debug)]
pub(crate) struct Lambda {
    client: Caller<Output>,
    region: String,
    /// `http://127.0.0.1:4566`, for example, if the environment sets one.
    endpoint: Option<String>,
}

/// The ingest function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) lambda: Lambda,
    pub(crate) name: String,
}

/// What Lambda answers to an invocation.
struct Output {
    /// The kind of error, if the function failed.
    function_error: Option<String>,
    payload: Vec<u8>,
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Output").field("function_error", &self.function_error).finish_non_exhaustive()
    }
}

/// What Lambda returns for a function that failed.
#[derive(Deserialize)]
struct FunctionError {
    #[serde(rename = "errorMessage")]
    message: Option<String>,
}

impl Lambda {
    /// The functions in the configured region or endpoint.
    pub(crate) fn new(config: &SdkConfig) -> Result<Self, Error> {
        let region = config
            .region()
            .ok_or_else(|| {
                Error::Cloud("no AWS region is set: set AWS_REGION, for example to eu-west-1".to_owned())
            })?
            .to_string();
        let endpoint = config.endpoint_url().map(str::to_owned);
        let client = Caller::new(config, LAMBDA, "Invoke", |response, body| {
            let function_error = response.headers().get("x-amz-function-error").map(str::to_owned);
            Ok(Output { function_error, payload: body.to_vec() })
        });
        Ok(Self { client, region, endpoint })
    }

    /// The region and endpoint, for errors.
    fn place(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{} at {endpoint}", self.region),
            None => self.region.clone(),
        }
    }

    /// Invokes a function and returns its response.
    async fn call(&self, name: &str, request: Vec<u8>) -> Result<Vec<u8>, InvokeFailure> {
        let function = utf8_percent_encode(name, ESCAPED);
        let invocation = Call {
            path: format!("/2015-03-31/functions/{function}/invocations"),
            headers: vec![("content-type", "application/octet-stream".to_owned())],
            body: request,
        };
        match timeout(ANSWER_TIMEOUT, self.client.call(invocation)).await {
            Ok(Ok(output)) => self.answer(name, output),
            Ok(Err(error)) => Err(self.failure(name, &error)),
            Err(_) => Err(InvokeFailure::Passing(format!("{} did not answer", self.place()))),
        }
    }

    fn answer(
        &self,
        name: &str,
        Output { function_error, payload }: Output,
    ) -> Result<Vec<u8>, InvokeFailure> {
        let Some(kind) = function_error else { return Ok(payload) };
        let message = serde_json::from_slice::<FunctionError>(&payload).ok().and_then(|error| error.message);
        let message = message.unwrap_or(kind);
        Err(InvokeFailure::Function(format!(
            "the function {name} in {} failed ({message}): its log group /aws/lambda/{name} says more",
            self.place()
        )))
    }

    fn failure(&self, name: &str, error: &CallError) -> InvokeFailure {
        let Self { region, .. } = self;
        let place = self.place();
        let Some(service) = error.as_service_error() else { return self.failure_on_the_way(name, error) };
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = service.code().unwrap_or("an unnamed error");
        match code {
            "ResourceNotFoundException" => InvokeFailure::Lasting(format!(
                "found no function {name} in {place}: deploy the stack with make up (local) or make deploy, or name another environment"
            )),
            "AccessDeniedException" | "AccessDenied" => InvokeFailure::Lasting(format!(
                "these credentials may not invoke {name} in {place}: allow lambda:InvokeFunction on it"
            )),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "ExpiredTokenException"
            | "ExpiredToken" => InvokeFailure::Lasting(format!(
                "{region} does not accept these AWS credentials ({code}): renew them, or correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )),
            _ if status == 429 || status >= 500 => {
                InvokeFailure::Passing(format!("could not invoke {name} ({code}); try again later"))
            }
            _ => {
                let message = service.message().unwrap_or("no message");
                InvokeFailure::Lasting(format!("could not invoke {name} in {place} ({code}: {message})"))
            }
        }
    }

    /// The failure of a request without a response. A refused connection is lasting; a broken one is not.
    fn failure_on_the_way(&self, name: &str, error: &CallError) -> InvokeFailure {
        let place = self.place();
        let text = DisplayErrorContext(error).to_string();
        if text.contains("CredentialsNotLoaded")
            || text.contains("no providers in chain provided credentials")
        {
            return InvokeFailure::Lasting(
                "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (test and test for the local cloud) or AWS_PROFILE"
                    .to_owned(),
            );
        }
        let unreachable = io_error(error).is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        }) || text.contains("dns error");
        if unreachable {
            return InvokeFailure::Lasting(format!(
                "nothing answers at {}: start the local cloud with make up, or correct AWS_ENDPOINT_URL",
                self.endpoint.as_deref().unwrap_or("the endpoint of AWS")
            ));
        }
        match error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
                InvokeFailure::Passing(format!("{place} did not answer"))
            }
            _ => InvokeFailure::Lasting(format!("could not send the request to {name} in {place}: {text}")),
        }
    }
}

/// The operating system's error at the root of another, if any.
fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

impl Functions for Lambda {
    async fn invoke(&self, name: &str, event: Vec<u8>) -> Result<Vec<u8>, InvokeFailure> {
        self.call(name, event).await
    }
}

impl Ingest for Function {
    async fn invoke(&self, request: Vec<u8>) -> Result<IngestAnswer, InvokeFailure> {
        let Self { lambda, name } = self;
        let answer = lambda.call(name, request).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            InvokeFailure::Lasting(format!(
                "expected a response of ingest from the function {name} in {} ({error}); deploy it again, or name the ingest function",
                lambda.place()
            ))
        })
    }
}
