//! The AWS SDK: how clients are made, how their errors are read, and the services that several functions write to.

mod firehose;
mod kinesis;

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

pub use self::{
    firehose::DeliveryStream,
    kinesis::{Stream, StreamRecord},
};
use crate::delivery::{Failure, Fault};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration that all clients share: region, credentials and endpoint as the SDK has them, one HTTP
/// client, and no retries, since [`crate::delivery`] alone sends again.
pub async fn sdk_config() -> SdkConfig {
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .load()
        .await
}

/// What is asked of a service, for the sentence that an error becomes.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The IAM action, `kinesis:PutRecords`.
    pub action: &'static str,
    /// What it is done to, `stream us-accidents-data-stream-1-dev`.
    pub resource: &'a str,
}

impl Request<'_> {
    /// Reads the error of a call. The service's own message is left out where it may repeat a payload.
    pub fn failure<E: ProvideErrorMetadata>(self, error: &SdkError<E, HttpResponse>) -> Failure {
        let Self { action, resource } = self;
        let Some(service) = error.as_service_error() else {
            let what = match error {
                SdkError::TimeoutError(_) => "was not answered in time",
                SdkError::DispatchFailure(_) => "did not reach the service",
                SdkError::ResponseError(_) => "was answered in a way that is not understood",
                _ => "could not be made",
            };
            return Failure { fault: Fault::Transient, detail: format!("{action} on {resource} {what}") };
        };
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = service.code().unwrap_or("an unnamed error");
        let fault = fault(code, status);
        let detail = match code {
            _ if code.starts_with("AccessDenied") => {
                format!(
                    "the role may not do {action} on {resource}: allow the action in the function's policy"
                )
            }
            "ResourceNotFoundException" | "NotFoundException" | "NotFound" => {
                format!("there is no {resource}, which {action} needs: deploy the stack or correct the name")
            }
            _ => format!("{action} on {resource} was answered with {code} (status {status})"),
        };
        Failure { fault, detail }
    }

    /// Reads the error code of one entry inside an answer of 200.
    #[must_use]
    pub fn refusal(self, code: &str) -> Failure {
        let Self { action, resource } = self;
        // Inside a 200 the services name only faults of their own, which pass.
        let fault = match fault(code, 500) {
            Fault::Throttled => Fault::Throttled,
            Fault::Transient | Fault::Permanent => Fault::Transient,
        };
        Failure { fault, detail: format!("{action} on {resource} refused an entry with {code}") }
    }
}

/// Decides once whether sending again may help.
fn fault(code: &str, status: u16) -> Fault {
    match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "RequestLimitExceeded"
        | "ServiceUnavailableException"
        | "SlowDown"
        | "Throttled"
        | "ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => Fault::Throttled,
        _ if status == 429 => Fault::Throttled,
        "InternalFailure"
        | "InternalError"
        | "InternalServiceError"
        | "RequestTimeout"
        | "ExpiredTokenException" => Fault::Transient,
        _ if status >= 500 => Fault::Transient,
        _ => Fault::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart_by_code_and_status() {
        let cases = [
            ("ProvisionedThroughputExceededException", 400, Fault::Throttled),
            ("ServiceUnavailableException", 503, Fault::Throttled),
            ("Anything", 429, Fault::Throttled),
            ("InternalFailure", 500, Fault::Transient),
            ("Anything", 503, Fault::Transient),
            ("AccessDeniedException", 400, Fault::Permanent),
            ("ResourceNotFoundException", 400, Fault::Permanent),
            ("ValidationException", 400, Fault::Permanent),
        ];
        for (code, status, expected) in cases {
            assert_eq!(fault(code, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn an_entry_refused_inside_an_answer_is_never_given_up() {
        let request = Request { action: "kinesis:PutRecords", resource: "stream s1" };
        assert_eq!(request.refusal("ProvisionedThroughputExceededException").fault, Fault::Throttled);
        assert_eq!(request.refusal("InternalFailure").fault, Fault::Transient);
        assert_eq!(request.refusal("SomethingNew").fault, Fault::Transient);
    }
}
