//! How the errors of the services are read: whether sending again may help, and what an operator can do.

use crate::delivery::Fault;

/// Decides once whether sending again may help.
pub(super) fn fault(code: &str, status: u16) -> Fault {
    match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottling"
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
        | "ExpiredToken"
        | "ExpiredTokenException" => Fault::Transient,
        _ if status >= 500 => Fault::Transient,
        _ => Fault::Permanent,
    }
}

/// What a deployment lacks, so that a service takes nothing from it whatever is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// The role lacks the action.
    Permission,
    /// The resource does not exist.
    Resource,
    /// The role may not use the resource's KMS key.
    KeyPermission,
    /// The resource's KMS key is disabled, about to be deleted, or gone.
    Key,
    /// The request was signed with credentials that AWS does not take.
    Credentials,
}

impl Lack {
    /// What an error code says is lacking, if it says so.
    ///
    /// Source: "Errors" of `PutRecords`, `PutRecordBatch`, `PutMetricData`, `PublishBatch` and `GetTable` and "Common
    /// Errors" in the API references of Kinesis Data Streams, Firehose, CloudWatch, SNS and Glue.
    pub(super) fn told_by(code: &str) -> Option<Self> {
        Some(match code {
            "AccessDenied" | "AccessDeniedException" | "AuthorizationError" | "NotAuthorized" => {
                Self::Permission
            }
            "EntityNotFoundException" | "NotFound" | "NotFoundException" | "ResourceNotFoundException" => {
                Self::Resource
            }
            "KMSAccessDenied" | "KMSAccessDeniedException" => Self::KeyPermission,
            "InvalidKMSResourceException"
            | "KMSDisabled"
            | "KMSDisabledException"
            | "KMSInvalidState"
            | "KMSInvalidStateException"
            | "KMSNotFound"
            | "KMSNotFoundException"
            | "KMSOptInRequired" => Self::Key,
            "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => Self::Credentials,
            _ => return None,
        })
    }

    /// One sentence that names the resource and what would be right.
    pub(super) fn sentence(self, action: &str, resource: &str, code: &str) -> String {
        match self {
            Self::Permission => {
                format!(
                    "the role may not do {action} on {resource}: allow the action in the function's policy"
                )
            }
            Self::Resource => {
                format!("there is no {resource}, which {action} needs: deploy the stack or correct the name")
            }
            Self::KeyPermission => format!(
                "the role may not use the KMS key of {resource}, which {action} needs: allow kms:GenerateDataKey and \
                 kms:Decrypt on the key in the function's policy and in the key's own"
            ),
            Self::Key => format!(
                "the KMS key of {resource}, which {action} needs, cannot be used ({code}): enable the key and allow \
                 kms:GenerateDataKey and kms:Decrypt on it, or name another key"
            ),
            Self::Credentials => format!(
                "{action} on {resource} was signed with credentials that AWS does not take ({code}): let the function \
                 run under the role that the stack gives it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart_by_code_and_status() {
        let cases = [
            ("ProvisionedThroughputExceededException", 400, Fault::Throttled),
            ("KMSThrottling", 400, Fault::Throttled),
            ("ServiceUnavailableException", 503, Fault::Throttled),
            ("Anything", 429, Fault::Throttled),
            ("InternalFailure", 500, Fault::Transient),
            ("ExpiredTokenException", 400, Fault::Transient),
            ("Anything", 503, Fault::Transient),
            ("ValidationException", 400, Fault::Permanent),
        ];
        for (code, status, expected) in cases {
            assert_eq!(fault(code, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn what_a_deployment_lacks_is_never_waited_for() {
        for code in
            ["AccessDeniedException", "NotFound", "KMSAccessDenied", "KMSDisabled", "SignatureDoesNotMatch"]
        {
            assert!(Lack::told_by(code).is_some(), "{code}");
            assert_eq!(fault(code, 400), Fault::Permanent, "{code}");
        }
        for code in ["Throttling", "InternalError", "InvalidParameter", "ExpiredToken", "KMSThrottling"] {
            assert_eq!(Lack::told_by(code), None, "{code}");
        }
    }
}
