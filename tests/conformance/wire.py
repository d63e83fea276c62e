"""Requests as they were recorded, and values as each protocol writes them.

The service models of botocore say which form each value has. A value has the type that boto3 would
be given: text, number, bytes, list or dictionary.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape


class NotUnderstood(Exception):
    """A request that is not one of a known operation; the text says why."""


@dataclass(frozen=True)
class Request:
    """An HTTP request as it was recorded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, line: str) -> Request:
        record = json.loads(line)
        return cls(**{**record, "body": base64.b64decode(record["body"])})

    @property
    def text(self) -> bytes:
        """The body without its content encoding."""
        body = self.body
        encodings = self.headers.get("content-encoding", "")
        if "aws-chunked" in encodings or self.headers.get("x-amz-content-sha256", "").startswith(
            "STREAMING"
        ):
            body = b"".join(chunks(body))
        return gzip.decompress(body) if "gzip" in encodings else body


def chunks(body: bytes) -> Iterator[bytes]:
    """The data of a body in chunks, each after a line with its size in hexadecimals.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
    """
    while body:
        head, _, rest = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            return
        yield rest[:size]
        body = rest[size + 2 :]


# --------------------------------------------------------------------------------------- JSON


def from_json(value: Any, shape: Shape | None) -> Any:
    """A JSON value with its blobs decoded; what the shape does not know stays as it is."""
    if shape is None or value is None:
        return value
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        named = {
            member.serialization.get("name", name): (name, member)
            for name, member in shape.members.items()
        }
        known = {key: named.get(key, (key, None)) for key in value}
        return {name: from_json(value[key], member) for key, (name, member) in known.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [from_json(each, shape.member) for each in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: from_json(each, shape.value) for key, each in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            return value
    return value


# -------------------------------------------------------------------------------------- query


def from_query(fields: dict[str, str], shape: Shape) -> Any:
    """The value of a shape from its fields, whose names are relative to it: `member.1.Id`.

    A field that the shape does not know stays, under its whole name.
    """
    if isinstance(shape, StructureShape):
        value: dict[str, Any] = {}
        left = dict(fields)
        for name, member in shape.members.items():
            key = member.serialization.get("name", name)
            if member.serialization.get("flattened") and isinstance(member, ListShape):
                key = member.member.serialization.get("name", key)
            own = {
                field: left.pop(field)
                for field in list(left)
                if field == key or field.startswith(f"{key}.")
            }
            if own:
                value[name] = from_query(
                    {field[len(key) :].lstrip("."): text for field, text in own.items()}, member
                )
        return value | left
    if isinstance(shape, ListShape):
        if not shape.serialization.get("flattened"):
            fields = without_prefix(fields, shape.member.serialization.get("name", "member"))
        return [from_query(own, shape.member) for own in numbered(fields)]
    if isinstance(shape, MapShape):
        if not shape.serialization.get("flattened"):
            fields = without_prefix(fields, "entry")
        key, value_name = (
            each.serialization.get("name", name)
            for each, name in ((shape.key, "key"), (shape.value, "value"))
        )
        return {
            own[key]: from_query(
                {
                    field[len(value_name) :].lstrip("."): text
                    for field, text in own.items()
                    if field != key
                },
                shape.value,
            )
            for own in numbered(fields)
        }
    return from_text(fields.get("", next(iter(fields.values()), "")), shape)


def without_prefix(fields: dict[str, str], prefix: str) -> dict[str, str]:
    return {field.removeprefix(prefix).lstrip("."): text for field, text in fields.items() if field}


def numbered(fields: dict[str, str]) -> list[dict[str, str]]:
    """Fields such as `1.Id` and `2.Id` by their number, in order."""
    groups: dict[int, dict[str, str]] = {}
    for field, text in fields.items():
        number, _, rest = field.partition(".")
        if number.isdigit():
            groups.setdefault(int(number), {})[rest] = text
    return [groups[number] for number in sorted(groups)]


def from_text(text: str, shape: Shape) -> Any:
    """A value that is written as text, of the shape's type; the text itself where it is not one."""
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name in ("float", "double"):
            return float(text)
        if shape.type_name == "blob":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return text
    if shape.type_name == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


# ---------------------------------------------------------------------------------------- XML


def from_xml(element: ElementTree.Element, shape: Shape) -> Any:
    """The value of an element; a child that the shape does not know stays, as text."""
    if isinstance(shape, ListShape):
        return [from_xml(child, shape.member) for child in element]
    if not isinstance(shape, StructureShape):
        return from_text(element.text or "", shape)
    members = {element_name(name, member): (name, member) for name, member in shape.members.items()}
    value: dict[str, Any] = {}
    for child in element:
        tag = child.tag.rpartition("}")[2]
        name, member = members.get(tag, (tag, None))
        if member is None:
            value[name] = child.text
        elif isinstance(member, ListShape) and member.serialization.get("flattened"):
            value.setdefault(name, []).append(from_xml(child, member.member))
        else:
            value[name] = from_xml(child, member)
    return value


def element_name(name: str, member: Shape) -> str:
    """The name of a member's element; the entries of a flattened list have none around them."""
    own = member.serialization.get("name")
    if own is None and isinstance(member, ListShape) and member.serialization.get("flattened"):
        own = member.member.serialization.get("name")
    return own or name
