//! The AWS SDK: how clients are made, how their errors are read, and the services that several functions write to.

mod cloudwatch;
mod fault;
mod firehose;
mod kinesis;

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::fault::{Lack, fault};
pub use self::{
    cloudwatch::{ActedUpon, AgeMetric, Ages, Namespace},
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
        let detail = match Lack::told_by(code) {
            Some(lack) => lack.sentence(action, resource, code),
            None => format!("{action} on {resource} was answered with {code} (status {status})"),
        };
        Failure { fault: fault(code, status), detail }
    }

    /// Reads the error code of one entry inside an answer of 200. `at_fault` says whether the entry itself is what is
    /// wrong, as SNS tells; then it is never taken, unless the code says that the deployment lacks something.
    #[must_use]
    pub fn refusal(self, code: &str, at_fault: bool) -> Failure {
        let Self { action, resource } = self;
        let lack = Lack::told_by(code);
        // What is not the entry's own fault passes: the service took others.
        let fault = match fault(code, 500) {
            _ if at_fault && lack.is_none() => Fault::Permanent,
            Fault::Throttled => Fault::Throttled,
            Fault::Transient | Fault::Permanent => Fault::Transient,
        };
        let detail = match lack {
            Some(lack) => lack.sentence(action, resource, code),
            None => format!("{action} on {resource} refused an entry with {code}"),
        };
        Failure { fault, detail }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    /// What becomes of an answer with that error code.
    fn failure(action: &'static str, resource: &str, code: &str) -> Failure {
        let response = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        let error = SdkError::service_error(ErrorMetadata::builder().code(code).build(), response);
        Request { action, resource }.failure(&error)
    }

    #[test]
    fn what_a_deployment_lacks_fails_at_once_with_a_sentence_that_names_it() {
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
            let expected = Failure { fault: Fault::Permanent, detail };
            assert_eq!(failure(action, resource, code), expected, "{code}");
        }
        let unsigned = failure("sns:Publish", "topic t", "SignatureDoesNotMatch");
        assert!(
            unsigned.detail.starts_with("sns:Publish on topic t was signed with credentials"),
            "{unsigned:?}"
        );
    }

    #[test]
    fn an_entry_refused_inside_an_answer_is_given_up_only_where_it_is_itself_at_fault() {
        let request = Request { action: "sns:Publish", resource: "topic t" };
        let cases = [
            ("ProvisionedThroughputExceededException", false, Fault::Throttled),
            ("InternalFailure", false, Fault::Transient),
            ("SomethingNew", false, Fault::Transient),
            ("InvalidParameter", true, Fault::Permanent),
            ("KMSAccessDenied", true, Fault::Transient),
            ("AuthorizationError", true, Fault::Transient),
        ];
        for (code, at_fault, expected) in cases {
            assert_eq!(request.refusal(code, at_fault).fault, expected, "{code}");
        }
    }
}
