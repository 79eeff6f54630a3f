"""Prometheus's own checker on the files we give it."""

from __future__ import annotations

import pytest

from tests.dashboard_queries import ROOT
from tests.debian_tools import run_tool

pytestmark = pytest.mark.tools


@pytest.mark.parametrize("name", ["prometheus.yml", "local.yml"])
def test_promtool_accepts_the_configuration(name: str) -> None:
    """`promtool check config` finds nothing wrong."""
    run_tool("promtool", "check", "config", str(ROOT / "dashboards" / "prometheus" / name))
