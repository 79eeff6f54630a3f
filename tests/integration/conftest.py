"""Fixtures that the integration tests share beyond tests/conftest.py."""

from tests.harness.fixtures import colour_model, server, workers
from tests.harness.security_fixtures import secured, secured_topics

__all__ = ["colour_model", "secured", "secured_topics", "server", "workers"]
