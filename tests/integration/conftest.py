"""Fixtures that the integration tests share beyond tests/conftest.py."""

from tests.harness.fixtures import colour_model, server, workers

__all__ = ["colour_model", "server", "workers"]
