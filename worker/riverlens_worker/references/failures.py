"""How a fetch fails."""

from __future__ import annotations


class FetchError(Exception):
    """This reference cannot be fetched; the message says why, for a person."""


class TransientFetchError(FetchError):
    """It may succeed when tried again."""
