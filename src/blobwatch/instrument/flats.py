"""Stub, replaced on merge."""


class FlatFields:
    """Stub."""
