"""Where a place is on the map: the states in Albers' projection, Alaska and Hawaii in the corner.

Data sets of other regions have a map without an outline, which fits itself to what it shows.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# What us-atlas is drawn on: https://github.com/topojson/us-atlas
WIDTH, HEIGHT = 975, 610
SCALE = 1300

OUTLINE = Path(__file__).with_name("us.json")

Point = tuple[float, float]


@dataclass(frozen=True)
class Conic:
    """Albers' equal-area conic projection, turned to a meridian, between two parallels."""

    meridian: float
    parallels: tuple[float, float]
    centre: Point  # longitude from the meridian, and latitude
    scale: float
    at: Point  # of the centre on the map

    def __call__(self, latitude: float, longitude: float) -> Point:
        # A turn is the shortest way, so that the Aleutians on both sides of 180° are together.
        turn = (longitude - self.meridian + 180) % 360 - 180
        x, y = self._raw(turn, latitude)
        x0, y0 = self._raw(*self.centre)
        return self.at[0] + self.scale * (x - x0), self.at[1] - self.scale * (y - y0)

    def _raw(self, longitude: float, latitude: float) -> Point:
        south, north = (math.sin(math.radians(each)) for each in self.parallels)
        n = (south + north) / 2
        c = 1 + south * (2 * n - south)
        r0 = math.sqrt(c) / n
        radius = math.sqrt(max(0.0, c - 2 * n * math.sin(math.radians(latitude)))) / n
        angle = math.radians(longitude) * n
        return radius * math.sin(angle), r0 - radius * math.cos(angle)


# The three parts of d3's geoAlbersUsa. Source: https://d3js.org/d3-geo/conic#geoAlbersUsa
MIDDLE = (WIDTH / 2, HEIGHT / 2)
STATES = Conic(-96, (29.5, 45.5), (-0.6, 38.7), SCALE, MIDDLE)
ALASKA = Conic(
    -154,
    (55, 65),
    (-2, 58.5),
    SCALE * 0.35,
    (MIDDLE[0] - 0.307 * SCALE, MIDDLE[1] + 0.201 * SCALE),
)
HAWAII = Conic(
    -157, (8, 18), (-3, 19.9), SCALE, (MIDDLE[0] - 0.205 * SCALE, MIDDLE[1] + 0.212 * SCALE)
)


def united_states(latitude: float, longitude: float) -> Point | None:
    """The place on the map, or nothing if it is not on it."""
    if 50 < latitude < 75 and (longitude < -129 or longitude > 170):
        part = ALASKA
    elif 15 < latitude < 24 and -165 < longitude < -150:
        part = HAWAII
    elif 20 < latitude < 55 and -130 < longitude < -60:
        part = STATES
    else:
        return None
    x, y = part(latitude, longitude)
    return (x, y) if 0 <= x <= WIDTH and 0 <= y <= HEIGHT else None


def world(latitude: float, longitude: float) -> Point | None:
    """The place in Mercator's projection, whose shapes are right everywhere; it has no poles."""
    if abs(latitude) > 85:
        return None
    y = math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    return WIDTH / 2 * (1 + longitude / 180), WIDTH / 2 * (1 - y / math.pi)


@dataclass(frozen=True)
class Atlas:
    """The map of a data set."""

    outline: dict[str, Any] | None  # none fits the map to its points

    @classmethod
    def of(cls, region: str) -> Atlas:
        return cls(united_states_outline() if region == "us" else None)

    def place(self, latitude: Any, longitude: Any) -> Point | None:
        """Where an event is on the map; nothing if it has no place on earth, or is elsewhere."""
        try:
            north, east = float(latitude), float(longitude)
        except (TypeError, ValueError):
            return None
        if not (abs(north) <= 90 and abs(east) <= 180):
            return None
        found = (united_states if self.outline else world)(north, east)
        return found and (round(found[0], 2), round(found[1], 2))


@cache
def united_states_outline() -> dict[str, Any]:
    return json.loads(OUTLINE.read_text(encoding="utf-8"))
