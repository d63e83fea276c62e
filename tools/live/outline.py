"""Writes `us.json`, the outline of the United States that the maps are drawn on.

    npm pack us-atlas@3.0.1 && tar xzf us-atlas-3.0.1.tgz
    python -m tools.live.outline package/states-albers-10m.json

The source is TopoJSON: arcs that neighbours share, so that a border is simplified once for both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tools.live.atlas import HEIGHT, OUTLINE, WIDTH

SOURCE = (
    "Cartographic boundary files of the U.S. Census Bureau, 2017, in the public domain; "
    "as states-albers-10m.json of us-atlas 3.0.1 (ISC licence, Copyright 2013-2019 Michael Bostock)"
)

# Units of the map, which is 975 wide.
TOLERANCE = 0.5
SMALLEST_ISLAND = 1.0  # the area of its ring

Point = tuple[float, float]
Ring = list[int]  # arcs; a negative one is reversed, as in TopoJSON


def arcs_of(topology: dict[str, Any]) -> list[list[Point]]:
    """The arcs as points: TopoJSON holds differences of integers."""
    (kx, ky), (dx, dy) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for step in arc:
            x, y = x + step[0], y + step[1]
            points.append((x * kx + dx, y * ky + dy))
        arcs.append(points)
    return arcs


def rings_of(geometries: Iterable[dict[str, Any]]) -> Iterator[Ring]:
    for geometry in geometries:
        polygons = geometry["arcs"]
        for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
            yield from polygon


def simplify(points: Sequence[Point], tolerance: float) -> list[Point]:
    """The points without which a line would move by more than the tolerance (Douglas-Peucker)."""
    kept = {0, len(points) - 1}
    parts = [(0, len(points) - 1)]
    while parts:
        start, end = parts.pop()
        distances = [distance(points[at], points[start], points[end]) for at in range(start, end)]
        farthest = max(range(len(distances)), key=distances.__getitem__, default=0)
        if distances and distances[farthest] > tolerance:
            kept.add(start + farthest)
            parts += [(start, start + farthest), (start + farthest, end)]
    return [points[at] for at in sorted(kept)]


def distance(point: Point, start: Point, end: Point) -> float:
    """From a point to a segment."""
    (x, y), (x1, y1), (x2, y2) = point, start, end
    length = (x2 - x1) ** 2 + (y2 - y1) ** 2
    along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length if length else 0
    along = min(1, max(0, along))
    return ((x - x1 - along * (x2 - x1)) ** 2 + (y - y1 - along * (y2 - y1)) ** 2) ** 0.5


def area(points: Sequence[Point]) -> float:
    pairs = zip(points, [*points[1:], points[0]])
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def joined(ring: Ring, arcs: Sequence[Sequence[Point]]) -> list[Point]:
    points: list[Point] = []
    for arc in ring:
        part = arcs[arc] if arc >= 0 else arcs[~arc][::-1]
        points += part[1:] if points else part
    return points


def path(points: Sequence[Point], closed: bool) -> str:
    """A path of SVG in tenths, by differences."""
    tenths = [(round(x * 10), round(y * 10)) for x, y in points]
    text = f"M{tenths[0][0]} {tenths[0][1]}l"
    steps = [(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in pairwise(tenths)]
    text += " ".join(f"{x} {y}" for x, y in steps if (x, y) != (0, 0)).replace(" -", "-")
    return text + ("z" if closed else "")


def outline(topology: dict[str, Any]) -> dict[str, Any]:
    """The land as closed paths, and the borders between states as lines."""
    objects = topology["objects"]
    arcs = [simplify(arc, TOLERANCE) for arc in arcs_of(topology)]
    coasts = [joined(ring, arcs) for ring in rings_of(objects["nation"]["geometries"])]
    rings = rings_of(objects["states"]["geometries"])
    uses = Counter(arc if arc >= 0 else ~arc for ring in rings for arc in ring)
    return {
        "source": SOURCE,
        "width": WIDTH,
        "height": HEIGHT,
        "land": "".join(path(ring, True) for ring in coasts if area(ring) >= SMALLEST_ISLAND),
        "borders": "".join(path(arcs[arc], False) for arc, count in uses.items() if count > 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="simplify the outline of the United States")
    parser.add_argument("topology", type=Path, help="states-albers-10m.json of us-atlas")
    topology = json.loads(parser.parse_args().topology.read_text(encoding="utf-8"))
    OUTLINE.write_text(json.dumps(outline(topology), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
