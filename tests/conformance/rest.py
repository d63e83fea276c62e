"""The operation that a REST request is, and its parameters in URI, headers and body."""

from __future__ import annotations

import functools
import json
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from tests.conformance.wire import NotUnderstood, Request, from_json, from_text, from_xml


@dataclass(frozen=True)
class Route:
    """What a request of an operation looks like."""

    operation: OperationModel
    path: re.Pattern[str]
    # Parts of the query that are the same in each request.
    fixed: dict[str, str]
    # Members in the query, by their names, and in the headers, by theirs in lower case.
    members: frozenset[str]
    required: frozenset[str]

    def labels(self, request: Request, query: dict[str, str]) -> dict[str, str] | None:
        """The labels of a request's URI, or nothing if the request is not of the operation."""
        if self.operation.http["method"] != request.method:
            return None
        if any(query.get(name) != value for name, value in self.fixed.items()):
            return None
        if not self.required <= query.keys() | request.headers.keys():
            return None
        found = self.path.fullmatch(request.path)
        return found.groupdict() if found else None

    def closeness(self, request: Request, query: dict[str, str]) -> tuple[int, int, int]:
        """How much of a request the operation explains; of several the closest one is meant."""
        given = self.members & (query.keys() | request.headers.keys())
        return len(self.fixed), len(self.required), len(given)


@functools.cache
def routes(model: ServiceModel) -> list[Route]:
    return [route_of(model.operation_model(name)) for name in model.operation_names]


def route_of(operation: OperationModel) -> Route:
    path, _, fixed = operation.http["requestUri"].partition("?")
    pattern = re.sub(r"\{(\w+)(\+?)\}", r"\0\1\2\0", path)
    pieces = [
        f"(?P<{piece.removesuffix('+')}>{'.+' if piece.endswith('+') else '[^/]+'})"
        if label
        else re.escape(piece)
        for label, piece in ((index % 2, piece) for index, piece in enumerate(pattern.split("\0")))
    ]
    shape = operation.input_shape
    members = shape.members if shape is not None else {}
    names = {
        name: wire_name(name, member)
        for name, member in members.items()
        if member.serialization.get("location") in ("querystring", "header")
    }
    required = shape.required_members if shape is not None else []
    return Route(
        operation=operation,
        path=re.compile("".join(pieces).rstrip("/") + "/?"),
        fixed=dict(urllib.parse.parse_qsl(fixed, keep_blank_values=True)),
        members=frozenset(names.values()),
        required=frozenset(names[name] for name in required if name in names),
    )


def wire_name(name: str, member: Shape) -> str:
    own = member.serialization.get("name", name)
    return own.lower() if member.serialization.get("location") in ("header", "headers") else own


def read(model: ServiceModel, request: Request) -> tuple[OperationModel, dict[str, Any]]:
    """The operation of a request and its parameters; unknown ones stay as they are."""
    query = dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
    # The operation's name, which some clients add, and a signature are not parameters.
    query = {
        name: value
        for name, value in query.items()
        if name != "x-id" and not name.startswith("X-Amz-")
    }
    matching = [
        (route, labels)
        for route in routes(model)
        if (labels := route.labels(request, query)) is not None
    ]
    if not matching:
        asked = f"{request.method} {request.path}?{request.query}"
        raise NotUnderstood(f"{model.service_name} has no operation for {asked}")
    route, labels = max(matching, key=lambda each: each[0].closeness(request, query))
    left = {name: value for name, value in query.items() if name not in route.fixed}
    shape = route.operation.input_shape
    if shape is None:
        return route.operation, left
    parameters = from_head(shape, request, labels, left)
    return route.operation, {**left, **from_body(model, request, shape), **parameters}


def from_head(
    shape: StructureShape, request: Request, labels: dict[str, str], query: dict[str, str]
) -> dict[str, Any]:
    """The parameters in the URI and the headers, those of the query taken out of it."""
    parameters: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = wire_name(name, member)
        match member.serialization.get("location"):
            case "uri":
                parameters[name] = urllib.parse.unquote(labels[key])
            case "querystring" if key in query:
                parameters[name] = from_text(query.pop(key), member)
            case "header" if key in request.headers:
                parameters[name] = from_text(request.headers[key], member)
            case "headers":
                found = {
                    header.removeprefix(key): value
                    for header, value in request.headers.items()
                    if header.startswith(key)
                }
                parameters |= {name: found} if found else {}
    return parameters


def from_body(model: ServiceModel, request: Request, shape: StructureShape) -> dict[str, Any]:
    payload = shape.serialization.get("payload")
    if not request.body:
        return {}
    if payload is None:
        return structure(model, request, shape)
    member = shape.members[payload]
    whole = (
        structure(model, request, member) if isinstance(member, StructureShape) else request.text
    )
    return {payload: whole}


def structure(model: ServiceModel, request: Request, shape: Shape) -> dict[str, Any]:
    if model.metadata["protocol"] == "rest-json":
        return from_json(json.loads(request.text), shape)
    return from_xml(ElementTree.fromstring(request.text), shape)
