"""Whether requests conform to AWS's models of their operations, and to limits that these miss.

    python tests/conformance/check.py target/requests

Checks a record of requests, which `REQUEST_RECORD` lets the local cloud make, prints one line, and
exits with 1 if a request does not conform or if the functions' roles allow what none has used.
"""

from __future__ import annotations

import functools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from tests.conformance.calls import Call, read
from tests.conformance.limits import exceeded
from tests.conformance.wire import NotUnderstood, Request
from tools.local.cloud import ACCESS_KEY
from tools.local.emulator import NOT_REQUESTED
from tools.local.functions import TEMPLATE, load

# What Python value each kind of scalar has. JSON knows one kind of number.
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "blob": (bytes, bytearray, str),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}
# Shapes whose pattern in the model is looser or stricter than the service, each with the reason.
PATTERNS_LEFT_OUT: dict[str, str] = {}


@dataclass
class Conformance:
    """What a record of requests holds: how many of each operation, and what is wrong with them."""

    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    # IAM actions that were used under a role, and not by the local cloud's root user.
    used: set[str] = field(default_factory=set)

    @property
    def exit_code(self) -> int:
        return 1 if self.faults or not self.operations else 0

    def unused(self, actions: Iterable[str]) -> list[str]:
        """Those of the actions that no request under a role has used."""
        return sorted(set(actions) - self.used)

    def __str__(self) -> str:
        count, kinds = self.operations.total(), len(self.operations)
        if self.faults:
            return f"{self.faults.total():,} faults in {count:,} requests of {kinds} operations"
        if not count:
            return "there are no requests in the record"
        often = ", ".join(f"{name} {calls:,}" for name, calls in self.operations.most_common())
        return f"{count:,} requests of {kinds} operations, all conform to AWS's models: {often}"


def check_record(folder: Path) -> Conformance:
    """Checks every request of a record, which has a file for each process of the emulator."""
    found = Conformance()
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                check_line(line, found)
    return found


def check_line(line: str, found: Conformance) -> None:
    try:
        call = read(Request.of(line))
    except NotUnderstood as error:
        found.faults[str(error)] += 1
        return
    found.operations[call.name] += 1
    if f"Credential={ACCESS_KEY}/" not in call.request.headers.get("authorization", ""):
        found.used.add(action_of(call))
    found.faults.update(f"{call.name}: {fault}" for fault in check(call))


def action_of(call: Call) -> str:
    """The IAM action that a call needs, which is mostly called as its operation is."""
    if call.name == "sns:PublishBatch":
        return "sns:Publish"
    if call.name == "s3:GetObject" and "VersionId" in call.parameters:
        return "s3:GetObjectVersion"
    return call.name


def check(call: Call) -> list[str]:
    """What is wrong with a call, each as a sentence that names the place."""
    shape = call.operation.input_shape
    if shape is None:
        return (
            [f"it takes no parameters, and has {', '.join(call.parameters)}"]
            if call.parameters
            else []
        )
    faults = list(check_value("", call.parameters, shape))
    # A limit is written for parameters of the right shape.
    if not faults:
        faults += [f"{limit.text}, and has {value}" for limit, value in exceeded(call)]
    return faults


# ----------------------------------------------------------------------------------- the models


def check_value(place: str, value: Any, shape: Shape) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        yield from check_structure(place, value, shape)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield f"`{place}` is not a list"
            return
        yield from check_length(place, len(value), shape, "entries")
        for index, each in enumerate(value):
            yield from check_value(f"{place}[{index}]", each, shape.member)
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            yield f"`{place}` is not a map"
            return
        yield from check_length(place, len(value), shape, "entries")
        for key, each in value.items():
            yield from check_value(f"{place}.key", key, shape.key)
            yield from check_value(f"{place}[{key}]", each, shape.value)
    else:
        yield from check_scalar(place, value, shape)


def check_structure(place: str, value: Any, shape: StructureShape) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, dict):
        yield f"`{place}` is not a structure"
        return
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"`{place}` misses the required member `{name}`"
    for name, each in value.items():
        if name not in shape.members:
            yield f"`{place}` has the unknown member `{name}`"
        elif each is not None:
            yield from check_value(f"{place}.{name}".lstrip("."), each, shape.members[name])


def check_scalar(place: str, value: Any, shape: Shape) -> Iterator[str]:
    kinds = KINDS.get(shape.type_name)
    if kinds is None:  # a timestamp: each protocol writes it in a form of its own
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"`{place}` is not of type {shape.type_name}"
        return
    if isinstance(value, (str, bytes, bytearray)):
        yield from check_length(
            place, len(value), shape, "bytes" if shape.type_name == "blob" else "characters"
        )
    elif not isinstance(value, bool):
        if not math.isfinite(value):
            yield f"`{place}` is not a finite number"
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            yield f"`{place}` is {value}, outside of {low} to {high}"
    if isinstance(shape, StringShape) and isinstance(value, str):
        if shape.enum and value not in shape.enum:
            yield f"`{place}` is none of {', '.join(shape.enum)}"
        pattern = shape.metadata.get("pattern")
        if (
            pattern
            and shape.name not in PATTERNS_LEFT_OUT
            and not compiled(pattern).fullmatch(value)
        ):
            yield f"`{place}` does not match {pattern}"


def check_length(place: str, length: int, shape: Shape, unit: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and length < low:
        yield f"`{place}` has {length} {unit}, fewer than {low}"
    if high is not None and length > high:
        yield f"`{place}` has {length} {unit}, more than {high}"


@functools.cache
def compiled(pattern: str) -> regex.Pattern[str]:
    # Java writes what lies above the basic plane as a range of surrogates.
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    return regex.compile(pattern, regex.DOTALL)


# ----------------------------------------------------------------------------- the command line


def allowed_actions(template: dict[str, Any]) -> set[str]:
    """The actions that the roles of the functions allow."""
    resources = template["Resources"].values()
    roles = {
        resource["Properties"]["Role"]["Fn::GetAtt"].partition(".")[0]
        if isinstance(resource["Properties"]["Role"]["Fn::GetAtt"], str)
        else resource["Properties"]["Role"]["Fn::GetAtt"][0]
        for resource in resources
        if resource["Type"] == "AWS::Serverless::Function"
    }
    policies = [
        policy for role in roles for policy in template["Resources"][role]["Properties"]["Policies"]
    ]
    return {
        action
        for policy in policies
        for action in actions_of(policy["PolicyDocument"]["Statement"])
    }


def actions_of(value: Any) -> Iterator[str]:
    """The actions in statements, those under a condition included."""
    if isinstance(value, list):
        for each in value:
            yield from actions_of(each)
    elif isinstance(value, dict):
        action = value.get("Action")
        yield from [action] if isinstance(action, str) else action or []
        yield from actions_of(value.get("Fn::If", []))


def main(folder: str) -> int:
    found = check_record(Path(folder))
    print(f"conformance: {found}")
    for fault, times in found.faults.most_common(20):
        print(f"  {times:,} x {fault}")
    unused = found.unused(allowed_actions(load(TEMPLATE)) - NOT_REQUESTED.keys())
    if unused:
        print(f"conformance: the roles allow what no request has used: {', '.join(unused)}")
    return 1 if unused else found.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
