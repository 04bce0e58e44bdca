"""How hard property-based tests look: `pytest tests --hypothesis-profile default|explore|deep`.

`default` draws the same in every run, so that a red one is red again. `explore` draws anew each time, and is for one who
looks for what nobody has found yet; `deep` does so for as long as a night has. What fails there prints how to draw it again.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import HealthCheck, settings

_EXAMPLES: Final = {"default": 60, "explore": 600, "deep": 3000}
_SLOW_IS_FINE: Final = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


def register() -> None:
    """Make the profiles known, and take `default` until the command line chooses another."""
    for name, examples in _EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=examples,
            derandomize=name == "default",
            # Other tests may be at work on the same cores.
            deadline=None,
            database=None if name == "default" else settings.default.database,
            suppress_health_check=_SLOW_IS_FINE,
            print_blob=name != "default",
        )
    settings.load_profile("default")


def bounded(examples: int, **more: Any) -> settings:
    """Settings for a test that needs another number of examples than the profile has: so many in `default`, and as many
    times more in the others as those have. Health checks to be left out come on top of the profile's."""
    checks = (*_SLOW_IS_FINE, *more.pop("suppress_health_check", ()))
    scaled = max(1, examples * settings.default.max_examples // _EXAMPLES["default"])
    return settings(max_examples=scaled, suppress_health_check=checks, **more)
