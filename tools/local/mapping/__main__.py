"""Runs the event source mappings of a local cloud; the emulator starts it."""

from tools.local.mapping.service import main

main()
