"""Lets the tests import the project's own tools."""

import sys
from pathlib import Path

for tools in ("local", "watch"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / tools))
