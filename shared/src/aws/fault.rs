//! Classifies the services' errors: whether a retry may help, and what an operator can do.

use crate::delivery::Fault;

/// The error codes, each with its class. The tests compare the file with the services' models.
const ERRORS: &str = include_str!("errors.tsv");

/// The class of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The fault says whether a retry may help.
    Fault(Fault),
    /// The deployment lacks something.
    Missing(Missing),
}

impl Meaning {
    /// The class of a code, if it is known. Errors are rare, so the file is read each time.
    pub(super) fn of(code: &str) -> Option<Self> {
        entries().find(|(listed, _)| *listed == code).and_then(|(_, class)| Self::of_class(class))
    }

    fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            "throttling" => Self::Fault(Fault::Throttled),
            "transient" => Self::Fault(Fault::Transient),
            "permanent" => Self::Fault(Fault::Permanent),
            "permission" => Self::Missing(Missing::Permission),
            "resource" => Self::Missing(Missing::Resource),
            "key_permission" => Self::Missing(Missing::KeyPermission),
            "key" => Self::Missing(Missing::Key),
            "credentials" => Self::Missing(Missing::Credentials),
            _ => return None,
        })
    }

    /// Whether a retry may help.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Missing(_) => Fault::Misconfigured,
        }
    }

    /// The part that the deployment lacks, if the code reports one.
    pub(super) fn missing(self) -> Option<Missing> {
        match self {
            Self::Fault(_) => None,
            Self::Missing(missing) => Some(missing),
        }
    }
}

/// Whether a retry may help after an answer with that status and an unknown code.
pub(super) fn fault_of_status(status: u16) -> Fault {
    match status {
        429 | 509 => Fault::Throttled,
        408 | 500.. => Fault::Transient,
        _ => Fault::Permanent,
    }
}

/// The codes of the file with the class of each.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    ERRORS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

/// A part that a deployment lacks, without which a service accepts nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The role may not do the action.
    Permission,
    /// The resource does not exist.
    Resource,
    /// The role may not use the resource's KMS key.
    KeyPermission,
    /// The resource's KMS key is disabled, about to be deleted, or gone.
    Key,
    /// The request was signed with credentials that AWS does not accept.
    Credentials,
}

impl Missing {
    /// One sentence that names the resource and says what to correct.
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_of_the_file_is_a_code_and_a_known_class() {
        let lines = ERRORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut codes = BTreeSet::new();
        for line in lines {
            let (code, class) = line.split_once('\t').unwrap_or_else(|| panic!("{line}: no tab"));
            assert!(Meaning::of_class(class).is_some(), "{line}");
            assert!(codes.insert(code), "{code} is listed twice");
            assert_eq!(Meaning::of(code), Meaning::of_class(class), "{code}");
        }
        assert!(codes.len() > 100, "{}", codes.len());
    }

    #[test]
    fn a_code_says_whether_sending_again_may_help() {
        let cases = [
            ("ProvisionedThroughputExceededException", Fault::Throttled),
            ("KMSThrottling", Fault::Throttled),
            ("Throttled", Fault::Throttled),
            ("RequestThrottled", Fault::Throttled),
            ("BandwidthLimitExceeded", Fault::Throttled),
            ("ServiceUnavailableException", Fault::Throttled),
            ("InternalFailure", Fault::Transient),
            ("ExpiredTokenException", Fault::Transient),
            ("ValidationException", Fault::Permanent),
            ("KMSDisabled", Fault::Misconfigured),
            ("AccessDeniedException", Fault::Misconfigured),
            ("InvalidSecurity", Fault::Misconfigured),
        ];
        for (code, expected) in cases {
            assert_eq!(Meaning::of(code).map(Meaning::fault), Some(expected), "{code}");
        }
        assert_eq!(Meaning::of("SomethingNew"), None);
    }

    #[test]
    fn the_codes_that_the_sdk_retries_are_listed() {
        use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};

        for code in THROTTLING_ERRORS {
            assert_eq!(Meaning::of(code), Some(Meaning::Fault(Fault::Throttled)), "{code}");
        }
        for code in TRANSIENT_ERRORS {
            assert_eq!(Meaning::of(code), Some(Meaning::Fault(Fault::Transient)), "{code}");
        }
    }

    #[test]
    fn the_status_decides_where_the_code_is_unknown() {
        let cases = [
            (400, Fault::Permanent),
            (404, Fault::Permanent),
            (408, Fault::Transient),
            (428, Fault::Permanent),
            (429, Fault::Throttled),
            (499, Fault::Permanent),
            (500, Fault::Transient),
            (503, Fault::Transient),
            (509, Fault::Throttled),
        ];
        for (status, expected) in cases {
            assert_eq!(fault_of_status(status), expected, "{status}");
        }
    }
}
