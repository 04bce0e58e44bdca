"""Scenario files are collected by the harness's plugin."""

from __future__ import annotations

import pytest

from harness import plugin


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Take the plugin in, unless the installed package has registered it."""
    if not pluginmanager.is_registered(plugin):
        pluginmanager.register(plugin, "plumbline")
