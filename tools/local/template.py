"""Reads CloudFormation templates."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with CloudFormation's short tags, such as `!Ref`."""


def _spelt_out(loader: Any, tag: str, node: yaml.Node) -> dict[str, Any]:
    """A short tag as the function that it is short for."""
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    value = loader.construct_scalar(node)
    return {name: value.split(".", 1) if tag == "GetAtt" else value}


_Loader.add_multi_constructor("!", _spelt_out)


def parse(text: str) -> Any:
    """A template's text with its short tags spelt out; any other YAML as it is."""
    return yaml.load(text, _Loader)


def defaults_of(template: dict[str, Any]) -> dict[str, str]:
    """The parameters of a template with their defaults, empty ones included."""
    return {name: str(each.get("Default", "")) for name, each in template["Parameters"].items()}
