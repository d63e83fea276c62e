//! The AWS SDK: makes clients, reads their errors, and implements the services that several functions write to.

mod caller;
mod cloudwatch;
mod endpoint;
mod fault;
mod firehose;
pub mod glue;
mod kinesis;
mod put;

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::fault::{Meaning, fault_of_status};
pub use self::{
    caller::{Call, CallError, Caller},
    cloudwatch::{Latencies, LatencyMetric, Namespace},
    endpoint::ServiceName,
    firehose::DeliveryStream,
    kinesis::Stream,
};
use crate::delivery::{Failure, Fault, Refusal};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration that all clients share: the SDK's region, credentials and endpoint, one HTTP client, and no
/// retries, since only [`crate::delivery`] retries.
pub async fn sdk_config() -> SdkConfig {
    with_client(aws_config::defaults(BehaviorVersion::latest())).load().await
}

/// Sets the HTTP client, timeouts and retries of all clients. Region, credentials and endpoint are left to the loader.
#[must_use]
pub fn with_client(loader: ConfigLoader) -> ConfigLoader {
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    loader
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        // Only CloudWatch's requests would be compressed. That takes as long as all else that metrics does, and the
        // requests are within their limit without it.
        .disable_request_compression(true)
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
}

/// The action and resource of a request, for error messages.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The IAM action, `kinesis:PutRecords`.
    pub action: &'static str,
    /// The resource, `stream us-accidents-data-stream-1-dev`.
    pub resource: &'a str,
}

/// The result of one entry of a request, as an answer reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryResult<'a> {
    /// The service accepted it.
    Taken,
    /// The service refused it.
    Refused {
        /// The error code.
        code: &'a str,
        /// Whether the service says that the sender is at fault: by the entry, or by too many requests.
        at_fault: bool,
    },
    /// The answer does not mention it.
    Missing,
}

impl Operation<'_> {
    /// Reads the error of a call. Omits the service's own message if it may repeat a payload.
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
        let meaning = Meaning::of(code);
        let detail = match meaning.and_then(Meaning::missing) {
            Some(missing) => missing.sentence(action, resource, code),
            None => format!("{action} on {resource} was answered with {code} (status {status})"),
        };
        Failure { fault: meaning.map_or_else(|| fault_of_status(status), Meaning::fault), detail }
    }

    /// Reads the results of a request's entries, in the order of the entries. An entry that the answer does not mention
    /// counts as refused: its outcome is unknown, and a retry loses nothing.
    #[must_use]
    pub fn refusals<'a>(self, results: impl IntoIterator<Item = EntryResult<'a>>) -> Vec<Refusal> {
        let failure = |result| match result {
            EntryResult::Taken => None,
            EntryResult::Refused { code, at_fault } => Some(self.refusal(code, at_fault)),
            EntryResult::Missing => Some(self.no_result()),
        };
        let failures = results.into_iter().map(failure).enumerate();
        failures.filter_map(|(index, failure)| Some(Refusal { index, failure: failure? })).collect()
    }

    /// Reads the error code of one entry inside an answer of 200. A known code decides, since SNS sets the flag
    /// `at_fault` for throttling too. For an unknown code the flag decides: an entry at fault is never accepted. Any
    /// other may be accepted later, since the service accepted others.
    #[must_use]
    pub fn refusal(self, code: &str, at_fault: bool) -> Failure {
        let Self { action, resource } = self;
        let meaning = Meaning::of(code);
        let unknown = if at_fault { Fault::Permanent } else { Fault::Transient };
        let detail = match meaning.and_then(Meaning::missing) {
            Some(missing) => missing.sentence(action, resource, code),
            None => format!("{action} on {resource} refused an entry with {code}"),
        };
        Failure { fault: meaning.map_or(unknown, Meaning::fault), detail }
    }

    fn no_result(self) -> Failure {
        let Self { action, resource } = self;
        let detail = format!("the answer to {action} on {resource} has no result for an entry");
        Failure { fault: Fault::Transient, detail }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    /// What becomes of an answer with that error code.
    fn failure(action: &'static str, resource: &str, code: &str) -> Failure {
        let response = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        let error = SdkError::service_error(ErrorMetadata::builder().code(code).build(), response);
        Operation { action, resource }.failure(&error)
    }

    #[test]
    fn missing_resource_fails_at_once_and_is_named() {
        const KINESIS: (&str, &str) = ("kinesis:PutRecords", "stream s1");
        const FIREHOSE: (&str, &str) = ("firehose:PutRecordBatch", "delivery stream rejects");
        const CLOUDWATCH: (&str, &str) = ("cloudwatch:PutMetricData", "namespace n");
        const SNS: (&str, &str) = ("sns:Publish", "topic t");
        const GLUE: (&str, &str) = ("glue:GetTable", "table d.t");
        let denied = |(action, resource): (&str, &str)| {
            format!("the role may not do {action} on {resource}: allow the action in the function's policy")
        };
        let missing = |(action, resource): (&str, &str)| {
            format!("there is no {resource}, which {action} needs: deploy the stack or correct the name")
        };
        let key_denied = |(action, resource): (&str, &str)| {
            format!(
                "the role may not use the KMS key of {resource}, which {action} needs: allow kms:GenerateDataKey and \
                 kms:Decrypt on the key in the function's policy and in the key's own"
            )
        };
        let key = |(action, resource): (&str, &str), code: &str| {
            format!(
                "the KMS key of {resource}, which {action} needs, cannot be used ({code}): enable the key and allow \
                 kms:GenerateDataKey and kms:Decrypt on it, or name another key"
            )
        };
        let cases = [
            (KINESIS, "AccessDeniedException", denied(KINESIS)),
            (KINESIS, "ResourceNotFoundException", missing(KINESIS)),
            (KINESIS, "KMSAccessDeniedException", key_denied(KINESIS)),
            (KINESIS, "KMSDisabledException", key(KINESIS, "KMSDisabledException")),
            (KINESIS, "KMSInvalidStateException", key(KINESIS, "KMSInvalidStateException")),
            (KINESIS, "KMSNotFoundException", key(KINESIS, "KMSNotFoundException")),
            (KINESIS, "KMSOptInRequired", key(KINESIS, "KMSOptInRequired")),
            (FIREHOSE, "AccessDeniedException", denied(FIREHOSE)),
            (FIREHOSE, "ResourceNotFoundException", missing(FIREHOSE)),
            (FIREHOSE, "InvalidKMSResourceException", key(FIREHOSE, "InvalidKMSResourceException")),
            (CLOUDWATCH, "AccessDenied", denied(CLOUDWATCH)),
            (CLOUDWATCH, "AccessDeniedException", denied(CLOUDWATCH)),
            (SNS, "AuthorizationError", denied(SNS)),
            (SNS, "NotFound", missing(SNS)),
            (GLUE, "EntityNotFoundException", missing(GLUE)),
            (SNS, "KMSAccessDenied", key_denied(SNS)),
            (SNS, "KMSDisabled", key(SNS, "KMSDisabled")),
            (SNS, "KMSInvalidState", key(SNS, "KMSInvalidState")),
            (SNS, "KMSNotFound", key(SNS, "KMSNotFound")),
        ];
        for ((action, resource), code, detail) in cases {
            let expected = Failure { fault: Fault::Misconfigured, detail };
            assert_eq!(failure(action, resource, code), expected, "{code}");
        }
        let unsigned = failure("sns:Publish", "topic t", "SignatureDoesNotMatch");
        assert!(
            unsigned.detail.starts_with("sns:Publish on topic t was signed with credentials"),
            "{unsigned:?}"
        );
    }

    #[test]
    fn a_request_without_an_answer_says_why_and_may_be_sent_again() {
        type Error = SdkError<ErrorMetadata, HttpResponse>;
        let response = || HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::empty());
        for (error, what) in [
            (Error::timeout_error("x"), "was not answered in time"),
            (Error::dispatch_failure(ConnectorError::io("x".into())), "did not reach the service"),
            (Error::response_error("x", response()), "was answered in a way that is not understood"),
            (Error::construction_failure("x"), "could not be made"),
        ] {
            let failure = Operation { action: "sns:Publish", resource: "topic t" }.failure(&error);
            let detail = format!("sns:Publish on topic t {what}");
            assert_eq!(failure, Failure { fault: Fault::Transient, detail });
        }
    }

    const PUBLISH: Operation<'_> = Operation { action: "sns:Publish", resource: "topic t" };

    #[test]
    fn the_code_of_a_refused_entry_decides_and_then_the_flag() {
        let cases = [
            ("ProvisionedThroughputExceededException", Fault::Throttled),
            ("Throttled", Fault::Throttled),
            ("KMSThrottling", Fault::Throttled),
            ("InternalFailure", Fault::Transient),
            ("ConcurrentAccess", Fault::Transient),
            ("InvalidParameter", Fault::Permanent),
            ("KMSAccessDenied", Fault::Misconfigured),
            ("KMSDisabled", Fault::Misconfigured),
            ("AuthorizationError", Fault::Misconfigured),
            ("InvalidSecurity", Fault::Misconfigured),
        ];
        for (code, expected) in cases {
            for at_fault in [false, true] {
                assert_eq!(PUBLISH.refusal(code, at_fault).fault, expected, "{code} {at_fault}");
            }
        }
        assert_eq!(PUBLISH.refusal("SomethingNew", true).fault, Fault::Permanent);
        assert_eq!(PUBLISH.refusal("SomethingNew", false).fault, Fault::Transient);
        let disabled = PUBLISH.refusal("KMSDisabled", true).detail;
        assert!(disabled.starts_with("the KMS key of topic t, which sns:Publish needs"), "{disabled}");
    }

    #[test]
    fn entry_without_a_result_is_refused_at_its_position() {
        let refused = EntryResult::Refused { code: "Throttled", at_fault: true };
        let refusals =
            PUBLISH.refusals([EntryResult::Taken, EntryResult::Missing, EntryResult::Taken, refused]);
        let found: Vec<_> = refusals.iter().map(|refusal| (refusal.index, refusal.failure.fault)).collect();
        assert_eq!(found, [(1, Fault::Transient), (3, Fault::Throttled)]);
        assert_eq!(PUBLISH.refusals([]), []);
    }
}
