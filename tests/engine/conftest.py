"""Profiles of the property-based tests: `ci` unless `--hypothesis-profile deep` asks for more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    "print_blob": True,
}
settings.register_profile("ci", max_examples=60, **_COMMON)
settings.register_profile("deep", max_examples=3000, **_COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile, unless the command line has."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("ci")
