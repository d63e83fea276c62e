"""What ends a command, in a sentence that says what to do about it."""

from __future__ import annotations

from botocore import exceptions
from botocore.exceptions import ClientError

# Errors of the SDK by what helps. AWS's libraries only name what they miss.
LOGGED_OUT = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.InvalidConfigError,
)
EXPIRED = (
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.LoginError,
)
UNREACHABLE = (exceptions.ConnectionError, exceptions.HTTPClientError)

# Codes of the services, whose errors are about the caller and not about the call.
EXPIRED_CODES = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
INVALID_CODES = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
REFUSED_CODES = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

LOG_IN_AGAIN = "log in again, with `aws sso login` or `aws login`"
LOG_IN = (
    "log in to AWS, such as with `aws configure sso` (`make tools` installs it), and name the "
    "profile in AWS_PROFILE"
)


def sentence(error: BaseException) -> str:
    """The error, and what to do about it if it is about who asks or how AWS is reached."""
    text = str(error).strip().rstrip(".") or type(error).__name__
    hint = hint_of(error)
    return f"{text}; {hint}" if hint else text


def hint_of(error: BaseException) -> str:
    if isinstance(error, LOGGED_OUT):
        return LOG_IN
    if isinstance(error, EXPIRED):
        return LOG_IN_AGAIN
    if isinstance(error, UNREACHABLE):
        return "check the network, and the address in AWS_ENDPOINT_URL if that is set"
    if isinstance(error, ClientError):
        return hint_of_code(error.response.get("Error", {}).get("Code", ""))
    return ""


def hint_of_code(code: str) -> str:
    if code in EXPIRED_CODES:
        return LOG_IN_AGAIN
    if code in INVALID_CODES:
        return (
            "AWS does not know the credentials of this shell: check AWS_PROFILE and "
            "AWS_ACCESS_KEY_ID, and whether the keys are still active"
        )
    if code in REFUSED_CODES:
        return (
            "the credentials of this shell do not have that permission; docs/RUNBOOK.md lists those"
            " that are needed"
        )
    return ""
