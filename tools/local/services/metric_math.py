"""The part of CloudWatch's metric math that the template's alarms use.

Source: CloudWatch user guide, "Using metric math". An expression of this part is also one of
Python, so that Python's own parser reads it. Anything else is refused by its name.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
OVER_ALL: dict[str, Callable[[Iterable[float]], float]] = {"SUM": sum, "MIN": min}


class UnsupportedAlarm(ValueError):
    """An alarm that uses what is not evaluated here; the text names it."""


class Expression:
    """An expression, evaluated for one period: `SUM(METRICS())`, `MIN(METRICS())`,
    `FILL(m, number)`, `IF(condition, value, value)`, arithmetic and comparisons.

    A value that is missing makes a result missing, except that SUM and MIN are over those that
    exist. Nothing comes of a division by zero.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        try:
            self._root = ast.parse(text, mode="eval").body
        except SyntaxError:
            raise UnsupportedAlarm(f"the expression {text}") from None
        self._check(self._root)

    def value(self, values: Mapping[str, float | None]) -> float | None:
        return self._value(self._root, values)

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=int() | float()):
                return
            case ast.Name(id=name):
                self.names.add(name)
            case ast.BinOp(op=op) if type(op) in OPERATORS:
                self._check(node.left)
                self._check(node.right)
            case ast.Compare(ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                self._check(node.left)
                self._check(right)
            case ast.Call(func=ast.Name(id="IF"), args=[_, _, _], keywords=[]):
                for argument in node.args:
                    self._check(argument)
            case ast.Call(
                func=ast.Name(id="FILL"),
                args=[ast.Name(id=name), ast.Constant(value=int() | float())],
                keywords=[],
            ):
                self.names.add(name)
            case ast.Call(
                func=ast.Name(id=name),
                args=[ast.Call(func=ast.Name(id="METRICS"), args=[], keywords=[])],
                keywords=[],
            ) if name in OVER_ALL:
                return
            case _:
                raise UnsupportedAlarm(f"{ast.unparse(node)} in the expression {self.text}")

    def _value(self, node: ast.expr, values: Mapping[str, float | None]) -> float | None:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return values[name]
            case ast.BinOp() | ast.Compare():
                return self._combined(node, values)
            case ast.Call(func=ast.Name(id="IF"), args=[condition, one, other]):
                holds = self._value(condition, values)
                return None if holds is None else self._value(one if holds else other, values)
            case ast.Call(func=ast.Name(id="FILL"), args=[series, filler]):
                found = self._value(series, values)
                return self._value(filler, values) if found is None else found
            case ast.Call(func=ast.Name(id=name)):
                existing = [value for value in values.values() if value is not None]
                return OVER_ALL[name](existing) if existing else None
        raise AssertionError(f"{ast.dump(node)} has been checked")

    def _combined(
        self, node: ast.BinOp | ast.Compare, values: Mapping[str, float | None]
    ) -> float | None:
        right = node.right if isinstance(node, ast.BinOp) else node.comparators[0]
        one, other = self._value(node.left, values), self._value(right, values)
        if one is None or other is None:
            return None
        if isinstance(node, ast.Compare):
            return COMPARISONS[type(node.ops[0])](one, other)
        if isinstance(node.op, ast.Div) and other == 0:
            return None
        return OPERATORS[type(node.op)](one, other)
