"""Which operation of which AWS service a recorded HTTP request is, and with which parameters.

The service is the one that the request is signed for. Its protocol says where the operation's name
and the parameters are.
"""

from __future__ import annotations

import functools
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

import cbor2
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from tests.conformance import rest
from tests.conformance.wire import NotUnderstood, Request, from_json, from_query

# The names by which requests are signed, where a service's model has another.
MODEL_OF = {"monitoring": "cloudwatch"}
SIGNING = re.compile(r"Credential=[^/]+/\d+/[^/]+/(?P<service>[^/]+)/aws4_request")


@dataclass(frozen=True)
class Call:
    """A request as a call of an operation."""

    service: str
    operation: OperationModel
    parameters: dict[str, Any]
    request: Request

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation.name}"


def read(request: Request) -> Call:
    """The call that a request is."""
    service = signed_for(request)
    model = model_of(service)
    headers = request.headers
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        operation = operation_of(model, request.path.rpartition("/")[2])
        parameters = cbor2.loads(request.text) if request.body else {}
    elif "x-amz-target" in headers:
        prefix, _, name = headers["x-amz-target"].rpartition(".")
        if prefix != model.metadata.get("targetPrefix"):
            raise NotUnderstood(f"the target {headers['x-amz-target']} is not of {service}")
        operation = operation_of(model, name)
        parameters = from_json(json.loads(request.text or b"{}"), operation.input_shape)
    elif model.metadata["protocol"].startswith("rest"):
        operation, parameters = rest.read(model, request)
    else:
        fields = dict(urllib.parse.parse_qsl(request.text.decode(), keep_blank_values=True))
        fields |= dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
        operation = operation_of(model, fields.pop("Action", ""))
        if fields.pop("Version", None) != model.api_version:
            raise NotUnderstood(f"{operation.name} is not of version {model.api_version}")
        parameters = from_query(fields, operation.input_shape) if operation.input_shape else fields
    return Call(service, operation, parameters, request)


def signed_for(request: Request) -> str:
    """The service that a request is signed for, by the name of its model."""
    found = SIGNING.search(request.headers.get("authorization", ""))
    if found is None:
        credential = urllib.parse.parse_qs(request.query).get("X-Amz-Credential", [""])[0]
        found = SIGNING.search(f"Credential={credential}")
    if found is None:
        raise NotUnderstood(f"{request.method} {request.path} is not signed")
    return MODEL_OF.get(found["service"], found["service"])


@functools.cache
def model_of(service: str) -> ServiceModel:
    loader = Loader()
    if service not in loader.list_available_services("service-2"):
        raise NotUnderstood(f"there is no service {service}")
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def operation_of(model: ServiceModel, name: str) -> OperationModel:
    if name not in model.operation_names:
        raise NotUnderstood(f"{model.service_name} has no operation {name!r}")
    return model.operation_model(name)
