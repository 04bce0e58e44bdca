"""A program that waits for the end of its standard input, and then removes what a session has made on the engine.

Run as a file, with the session's id: it imports nothing of the project, so that it starts fast and from anywhere.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Final

LABEL: Final = "plumbline.session"
_TRIES: Final = 3


def main(session: str) -> None:
    """Wait, and remove. Raises what the engine says when something cannot be removed."""
    import docker
    from docker.errors import NotFound

    sys.stdin.buffer.read()
    engine = docker.from_env()
    chosen = {"label": f"{LABEL}={session}"}
    for tries_left in reversed(range(_TRIES)):
        # One that was just being made when its maker died is there at the second look.
        found = engine.containers.list(all=True, filters=chosen, ignore_removed=True)
        try:
            for container in found:
                with contextlib.suppress(NotFound):
                    container.remove(force=True, v=True)
        except docker.errors.APIError:
            # The engine is removing it already.
            if not tries_left:
                raise
        if not found:
            break
    for network in engine.networks.list(filters=chosen):
        with contextlib.suppress(NotFound):
            network.remove()
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
