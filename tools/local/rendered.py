"""The template as CloudFormation resolves it for given parameters, with references by name.

A reference to a resource becomes `<Name>` or `<Name.Attribute>`, since what it will be is not known
before the deployment; parameters and pseudo parameters become their values.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from tools.local.template import defaults_of

PSEUDO = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}

NOTHING = object()  # AWS::NoValue


class Rendered:
    """A template with its parameters filled in."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, str]) -> None:
        unknown = parameters.keys() - template["Parameters"].keys()
        if unknown:
            raise ValueError(f"the template has no parameters {unknown}")
        self._template = template
        self._values = {**PSEUDO, **defaults_of(template), **parameters}
        self.resources: dict[str, dict[str, Any]] = {
            name: self._value(resource)
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }
        function = self._value(template.get("Globals", {}).get("Function", {}))
        for resource in self.of("AWS::Serverless::Function").values():
            resource["Properties"] = merged(function, resource["Properties"])

    def of(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The resources of these types by their names."""
        return {name: r for name, r in self.resources.items() if r["Type"] in kinds}

    def properties(self, name: str) -> dict[str, Any]:
        return self.resources[name].get("Properties", {})

    def _holds(self, condition: str) -> bool:
        return bool(self._value(self._template["Conditions"][condition]))

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [v for v in map(self._value, value) if v is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Condition" and isinstance(argument, str):
                return self._holds(argument)
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        items = ((key, self._value(each)) for key, each in value.items())
        return {key: each for key, each in items if each is not NOTHING}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._reference(argument)
            case "Fn::GetAtt":
                parts = argument if isinstance(argument, list) else argument.split(".", 1)
                return f"<{'.'.join(parts)}>"
            case "Fn::If":
                condition, then, otherwise = argument
                return self._value(then if self._holds(condition) else otherwise)
            case "Fn::Equals":
                one, other = map(self._value, argument)
                return str(one) == str(other)
            case "Fn::Not":
                return not self._value(argument[0])
            case "Fn::And":
                return all(map(self._value, argument))
            case "Fn::Or":
                return any(map(self._value, argument))
            case "Fn::Sub":
                return self._substituted(argument)
            case "Fn::Join":
                return str(argument[0]).join(self._value(argument[1]))
            case "Fn::Split":
                return self._value(argument[1]).split(argument[0])
            case "Fn::Select":
                return self._value(argument[1])[int(argument[0])]
            case "Fn::Base64":
                return base64.b64encode(self._value(argument).encode()).decode()
            case "Fn::FindInMap":
                table, *keys = map(self._value, argument)
                found = self._template["Mappings"][table]
                for key in keys:
                    found = found[str(key)]
                return found
            case _:
                raise NotImplementedError(f"{name} is not rendered here yet")

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        return self._values.get(name, f"<{name}>")

    def _substituted(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})

        def replaced(match: re.Match[str]) -> str:
            name = match[1]
            if name in own:
                return str(self._value(own[name]))
            return str(self._values.get(name, f"<{name}>"))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", replaced, text).replace("${!", "${")


def merged(of_all: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Properties of all functions and of one, merged as SAM does: maps by their keys."""
    both = {
        name: merged(of_all[name], own[name])
        for name in of_all.keys() & own.keys()
        if isinstance(of_all[name], dict) and isinstance(own[name], dict)
    }
    return {**of_all, **own, **both}
