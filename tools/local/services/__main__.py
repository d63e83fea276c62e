"""Runs the emulator with this project's services: `python -m tools.local.services`.

Each service is a module with an `install`, which replaces functions of the emulator before it
starts. The emulator's own functions, which some of the new ones call, are named `own_…`.
"""

from __future__ import annotations

from ministack import app

from tools.local.mapping import service as mapping
from tools.local.services import alarms, athena, firehose, kinesis, metrics, sns
from tools.local.services.recorder import recording

INSTALLED = (alarms, athena, firehose, metrics, sns, kinesis, mapping)


def main() -> None:
    for service in INSTALLED:
        service.install()
    app.app = recording(app.app)
    app.main()


if __name__ == "__main__":
    main()
