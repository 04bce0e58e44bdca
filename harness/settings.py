"""The one reader of the environment on the harness's side."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_DIRECTORY_VARIABLE = "PLUMBLINE_CACHE_DIR"


def cache_directory() -> Path:
    """Where downloads are kept between starts.

    ``PLUMBLINE_CACHE_DIR`` when it is set and not empty, else the user's cache directory of the platform.
    The directory need not exist yet.
    """
    chosen = os.environ.get(CACHE_DIRECTORY_VARIABLE, "")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return platformdirs.user_cache_path("plumbline")
