"""What a rehearsal takes, next to the bare reading of the same file by the `csv` crate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.local.commands import REPOSITORY, CommandError
from tools.local.functions import DATASET
from tools.rehearse import setting

# Rows of the published data set, for which a rehearsal has a minute and a half.
PUBLISHED_ROWS = 7_700_000


def measure(rehearse: Path, replay: Path, rows: int, folder: Path) -> dict[str, Any]:
    """Rehearses generated rows with the default setting."""
    file = folder / "rehearsal.csv"
    with file.open("wb") as out:
        subprocess.run(
            [replay, "generate", "--rows", str(rows), "--seed", "1"], stdout=out, check=True
        )
    try:
        usual = setting.read(DATASET, "dev", "", REPOSITORY / "departments.toml")
        request = {"files": [str(file)], "settings": [usual.request()]}
        result, seconds, peak = timed([rehearse, "run"], json.dumps(request).encode())
        (records, bare), *_ = timed([rehearse, "read-csv", file], b"")
        accepted = result["rows"]["accepted"]
        if not accepted == records == rows:
            raise CommandError(f"expected {rows} rows, found {records} and accepted {accepted}")
        size = file.stat().st_size
    finally:
        file.unlink()
    return {
        "rows": rows,
        "bytes": size,
        "severe": result["settings"][0]["severe"]["events"],
        "seconds": seconds,
        "seconds_of_published": seconds * PUBLISHED_ROWS / rows,
        "csv_seconds": bare,
        "peak_bytes": peak,
    }


def timed(command: Sequence[str | Path], given: bytes) -> tuple[Any, float, int]:
    """What a program answers, its seconds, and the most bytes of memory that it has used."""
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(given)
        asked.seek(0)
        started = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)), stdin=asked, stdout=said, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        complaint = process.stderr.read()
        # Unlike the usage of all children, this is of the program only.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise CommandError(f"`{command[0]} {command[1]}` failed: {complaint.decode()[-500:]}")
        said.seek(0)
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1_024
        return json.load(said), seconds, usage.ru_maxrss * unit
