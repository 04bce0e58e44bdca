"""The Docker engine of this machine, and the profiles of the composed project."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

PROFILES: Final = [word for name in ("api", "consumer", "bridge") for word in ("--profile", name)]


def why_no_engine() -> str | None:
    """Why containers cannot be run here; None when they can."""
    if shutil.which("docker") is None:
        return "there is no `docker` on this machine; install Docker's engine to run containers"
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer within 20 s"
    if asked.returncode != 0:
        return f"no Docker engine answers: {asked.stderr.strip() or asked.stdout.strip()}"
    return None
