"""The map of the live page and of the report."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tools.live import outline
from tools.live.atlas import OUTLINE, Atlas, united_states


def vertices(path: str) -> Iterator[tuple[float, float]]:
    """The points of a path in units of the map."""
    for start, steps in re.findall(r"M([-\d ]+)l([-\d ]*)", path):
        numbers = [int(each) for each in re.findall(r"-?\d+", f"{start} {steps}")]
        x = y = 0
        for dx, dy in zip(numbers[::2], numbers[1::2]):
            x, y = x + dx, y + dy
            yield x / 10, y / 10


@pytest.mark.parametrize(
    ("corner", "latitude", "longitude"),
    [
        ("of Utah, Colorado, Arizona and New Mexico", 36.999, -109.045),
        ("of Colorado, Nebraska and Wyoming", 41.002, -104.053),
        ("of Missouri, Iowa and Nebraska", 40.585, -95.765),
        ("of Georgia, Alabama and Tennessee", 34.985, -85.605),
        ("of New York, Vermont and Massachusetts", 42.745, -73.265),
    ],
)
def test_where_borders_meet_is_there_on_the_outline(
    corner: str, latitude: float, longitude: float
) -> None:
    place = united_states(latitude, longitude)
    assert place is not None
    borders = json.loads(OUTLINE.read_text(encoding="utf-8"))["borders"]
    nearest = min(abs(x - place[0]) + abs(y - place[1]) for x, y in vertices(borders))
    assert nearest < 2, corner


def test_alaska_and_hawaii_are_in_the_corner() -> None:
    land = json.loads(OUTLINE.read_text(encoding="utf-8"))["land"]
    points = list(vertices(land))
    for latitude, longitude in [(61.2, -149.9), (21.3, -157.86), (53.9, -166.5)]:
        place = united_states(latitude, longitude)
        assert place is not None
        assert place[0] < 300 < 450 < place[1]
        assert min(abs(x - place[0]) + abs(y - place[1]) for x, y in points) < 15


@pytest.mark.parametrize(
    "place",
    [
        (None, None),
        ("", "-83"),
        ("north", "-83"),
        (float("nan"), -83),
        (float("inf"), -83),
        (95, -83),
        (40, 200),
        (51.5, 0.0),  # London
        (-33.9, 151.2),  # Sydney
        (35.7, 139.7),  # Tokyo
        ([40], -83),
    ],
)
def test_what_has_no_place_in_the_country_is_not_on_its_map(place: tuple[Any, Any]) -> None:
    assert Atlas.of("us").place(*place) is None


def test_any_numbers_are_on_a_map_or_not() -> None:
    chance = random.Random(1)
    for atlas in (Atlas.of("us"), Atlas.of("emea")):
        for _ in range(5_000):
            place = atlas.place(chance.uniform(-100, 100), chance.uniform(-200, 200))
            assert place is None or (0 <= place[0] <= 975 and -1000 <= place[1] <= 2000)


def test_a_map_of_another_region_has_no_outline() -> None:
    berlin, london = (Atlas.of("emea").place(*place) for place in ((52.5, 13.4), (51.5, 0.0)))
    assert Atlas.of("emea").outline is None
    assert berlin is not None
    assert london is not None
    assert berlin[0] > london[0]  # east is right
    assert berlin[1] < london[1]  # north is up


def test_the_outline_is_small_and_names_its_source() -> None:
    assert OUTLINE.stat().st_size < 40_000
    assert "public domain" in json.loads(OUTLINE.read_text(encoding="utf-8"))["source"]


def test_a_simplified_line_stays_near_the_line() -> None:
    chance = random.Random(2)
    for _ in range(50):
        line = [(x, chance.gauss(0, 2)) for x in range(60)]
        kept = outline.simplify(line, 1.5)
        assert (kept[0], kept[-1]) == (line[0], line[-1])
        assert len(kept) < len(line)
        for point in line:
            distances = [outline.distance(point, *segment) for segment in pairwise(kept)]
            assert min(distances) <= 1.5


def test_a_border_of_two_states_is_drawn_once() -> None:
    # Two squares side by side; the arc between them is used by both.
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": [[[10, 0], [0, 10]], [[10, 10], [-10, 0], [0, -10], [10, 0]],
                 [[10, 0], [10, 0], [0, 10], [-10, 0]]],
        "objects": {
            "states": {"geometries": [{"type": "Polygon", "arcs": [[0, 1]]},
                                      {"type": "Polygon", "arcs": [[2, -1]]}]},
            "nation": {"geometries": [{"type": "MultiPolygon", "arcs": [[[2, 1]]]}]},
        },
    }  # fmt: skip
    drawn = outline.outline(topology)
    assert drawn["borders"] == "M100 0l0 100"
    assert drawn["land"].count("M") == 1
