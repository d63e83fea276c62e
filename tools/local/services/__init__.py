"""Services of AWS as the local cloud has them, instead of the emulator's own that differ."""
