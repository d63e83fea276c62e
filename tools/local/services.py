"""The emulator, with this project's services instead of those of its own that differ from AWS.

Run it instead of the emulator: `python -m tools.local.services`. Each service is a module with an
`install`, which replaces functions of the emulator before it starts.
"""

from __future__ import annotations

from ministack import app

from tools.local import alarms, athena, firehose, metrics, notifications, streams
from tools.local.mapping import service as mapping
from tools.local.recorder import recording

INSTALLED = (alarms, athena, firehose, metrics, notifications, streams, mapping)


def main() -> None:
    for service in INSTALLED:
        service.install()
    app.app = recording(app.app)
    app.main()


if __name__ == "__main__":
    main()
