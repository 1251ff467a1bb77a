"""Tests that share a fixture of their module stay in one process of pytest-xdist, where it is made once."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="module")
def shared() -> None: ...


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="all tests are in one process")
@pytest.mark.usefixtures("shared")
def test_a_test_is_sent_with_its_group(request: pytest.FixtureRequest) -> None:
    """Versions of pytest and pytest-xdist that do not fit lose the groups in silence, and make every fixture twice."""
    assert request.node.nodeid.endswith("@test_groups")
