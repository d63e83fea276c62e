"""Ports for the servers of the tests."""

from __future__ import annotations

import random
import socket

# Below those that systems give to outgoing connections, so that it is still free later.
PORTS = range(10_000, 30_000)


def free_port() -> int:
    """A port that nobody has; tests of another process, too, get another one."""
    chance = random.SystemRandom()  # a test may have seeded the usual one
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
