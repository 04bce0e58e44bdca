"""What simulated agents answer: a function of the agent's name and of what it is asked, whoever asks and how often."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

Json = Any

ECHO, GRUMPY, FRAGILE, MUTE = "echo", "grumpy", "fragile", "mute"
NAMES = (ECHO, GRUMPY, FRAGILE, MUTE)
# For so long a mute agent keeps whoever asks it waiting, far beyond every time-out.
MUTE_SECONDS = 40.0


def answer(agent_name: str, input_data: Json, *, is_mended: bool) -> tuple[Json, str | None]:
    """(output, error message) of an agent. `fragile` fails until its run was mended, `grumpy` for some inputs."""
    digest = hashlib.blake2b(
        orjson.dumps([agent_name, input_data], option=orjson.OPT_SORT_KEYS), digest_size=8
    ).digest()
    if agent_name == GRUMPY and digest[0] % 4 == 0:
        return None, f"disliked {digest.hex()}"
    if agent_name == FRAGILE and not is_mended:
        return None, f"broken {digest.hex()}"
    return {"x": digest.hex(), "n": digest[1] % 5, "items": [digest[2] % 3, "ä"], "flag": digest[3] % 2 == 0}, None
