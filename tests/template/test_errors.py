"""Every documented error of the operations that are called is classified as AWS means it.

`shared/src/aws/errors.tsv` is what the functions read; the service models are those of botocore.
"""

from __future__ import annotations

import re
from typing import Any

import botocore.loaders
import pytest
from botocore.retries import standard

from tools.local.commands import REPOSITORY

ERRORS = REPOSITORY / "shared" / "src" / "aws" / "errors.tsv"
LOADER = botocore.loaders.Loader()

# The operation of each IAM action that the code names.
OPERATIONS = {
    "kinesis:PutRecords": ("kinesis", "PutRecords"),
    "firehose:PutRecordBatch": ("firehose", "PutRecordBatch"),
    "cloudwatch:PutMetricData": ("cloudwatch", "PutMetricData"),
    "sns:Publish": ("sns", "PublishBatch"),
    "glue:GetTable": ("glue", "GetTable"),
    "glue:BatchCreatePartition": ("glue", "BatchCreatePartition"),
    "s3:GetObject": ("s3", "GetObject"),
    "s3:GetObjectVersion": ("s3", "GetObject"),
    "s3:PutObject": ("s3", "PutObject"),
    "s3:ListBucket": ("s3", "ListObjectsV2"),
    "lambda:InvokeFunction": ("lambda", "Invoke"),
}

# "Common Errors" of the API references, and those of S3 that its model does not list.
COMMON = {
    "AccessDenied": "permission",
    "AccessDeniedException": "permission",
    "ExpiredToken": "transient",
    "ExpiredTokenException": "transient",
    "IncompleteSignature": "credentials",
    "InternalError": "transient",
    "InternalFailure": "transient",
    "InvalidAccessKeyId": "credentials",
    "InvalidClientTokenId": "credentials",
    "InvalidToken": "credentials",
    "MalformedHttpRequestException": "permanent",
    "MissingAuthenticationToken": "credentials",
    "NoSuchBucket": "resource",
    "NotAuthorized": "permission",
    "OptInRequired": "permission",
    "PreconditionFailed": "permanent",
    "RequestAbortedException": "transient",
    "RequestEntityTooLargeException": "permanent",
    "RequestExpired": "transient",
    "RequestTimeTooSkewed": "transient",
    "RequestTimeout": "transient",
    "RequestTimeoutException": "transient",
    "ServiceUnavailable": "throttling",
    "SignatureDoesNotMatch": "credentials",
    "SlowDown": "throttling",
    "ThrottlingException": "throttling",
    "UnknownOperationException": "permanent",
    "UnrecognizedClientException": "credentials",
    "ValidationError": "permanent",
}

# The invoked function cannot run with its configuration: Lambda answers 502 until it is fixed.
FUNCTION_CANNOT_RUN = {
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
}

# The meaning of a name: the first pattern that matches.
NAMES = [
    (r"Thrott|TooManyRequests|ServiceUnavailable|ThroughputExceeded", {"throttling"}),
    (r"^KMSAccessDenied", {"key_permission"}),
    (r"KMS|GlueEncryption", {"key"}),
    (r"AccessDenied|Authorization", {"permission"}),
    (r"NotFound", {"resource"}),
    (r"InvalidSecurity(Exception)?$", {"credentials"}),
    (r"Internal|Retryable|Concurrent|OperationTimeout|^ServiceException", {"transient"}),
]


CLASSES = dict(
    line.split("\t")
    for line in ERRORS.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)


def documented() -> list[Any]:
    """Every error of every operation: its names and its shape."""
    errors = []
    for service, operation in sorted(set(OPERATIONS.values())):
        model = LOADER.load_service_model(service, "service-2")
        for error in model["operations"][operation].get("errors", []):
            name, shape = error["shape"], model["shapes"][error["shape"]]
            code = shape.get("error", {}).get("code", name)
            identity = f"{service}-{operation}-{name}"
            errors.append(pytest.param({name, code}, shape, id=identity))
    return errors


def test_every_action_that_the_code_names_has_an_operation() -> None:
    sources = [
        path
        for folder in ("functions", "shared", "tools")
        for path in (REPOSITORY / folder).rglob("*.rs")
    ]
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r'\b(?:action: |request\()"([a-z0-9]+:[A-Z]\w+)"', texts))
    # `replay` reads the errors of its invocations itself.
    assert named == OPERATIONS.keys() - {"lambda:InvokeFunction"}


@pytest.mark.parametrize(("names", "shape"), documented())
def test_a_documented_error_is_classified_as_in_its_model(
    names: set[str], shape: dict[str, Any]
) -> None:
    found = {CLASSES.get(name) for name in names}
    assert None not in found, f"{sorted(names)} are not all in {ERRORS.name}"
    assert len(found) == 1, f"{sorted(names)} differ"
    for name in names:
        expected = next((meant for pattern, meant in NAMES if re.search(pattern, name)), None)
        assert expected is None or found <= expected
    if shape.get("error", {}).get("httpStatusCode") == 429:
        assert found == {"throttling"}
    if shape.get("fault") and not names & FUNCTION_CANNOT_RUN:
        assert found != {"permanent"}, "the service is at fault, so that another attempt may help"


def test_common_errors_are_classified() -> None:
    assert {code: CLASSES.get(code) for code in COMMON} == COMMON


def test_errors_that_the_sdk_retries_are_throttling_or_transient() -> None:
    checker = standard.ThrottledRetryableChecker
    for code in checker._THROTTLED_ERROR_CODES:
        assert CLASSES.get(code) == "throttling", code
    for code in standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES:
        assert CLASSES.get(code) in {"transient", "throttling"}, code
    retried = LOADER.load_data("_retry")["definitions"].values()
    codes = {
        response["service_error_code"]
        for rule in retried
        for response in [rule["applies_when"].get("response", {})]
        if "service_error_code" in response
    }
    assert codes
    assert {CLASSES.get(code) for code in codes} == {"throttling"}
