"""Profiles of the property-based tests: `ci` unless `--hypothesis-profile deep` asks for more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
for name, count in (("ci", 60), ("deep", 2000)):
    settings.register_profile(
        name, max_examples=count, deadline=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile, unless the command line has."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("ci")
