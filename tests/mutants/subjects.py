"""Subject files for mutants, variants and impostors, made from that of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.mutants.catalogue import IMPOSTORS, entry
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "subjects" / "reference.yaml"

_GROUP = "impostor"


def write(name: str, directory: Path) -> Path:
    """Write the subject file of a mutant, variant or impostor into a directory; returns its path.

    Raises:
        KeyError: nothing has that name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(_impostor(name) if name in IMPOSTORS else _of_the_reference(name), file)
    return path


def _of_the_reference(name: str) -> dict[str, Any]:
    one = entry(name)
    data: dict[str, Any] = YAML(typ="safe").load(REFERENCE)
    data["name"] = name
    data["description"] = one.wrong if isinstance(one, Mutant) else one.about
    data["working_directory"] = str(ROOT)
    for role in one.roles:
        described: dict[str, Any] = data["roles"][role]
        if described["command"] != ["{python}", "-m", "system", role]:
            raise ValueError(
                f"{REFERENCE}: expected roles.{role}.command to start system, found {described['command']}"
            )
        described["command"] = ["{python}", "-m", "tests.mutants", name, role]
    if isinstance(one, Mutant) and one.processes > 1:
        data["roles"]["consumer"]["processes"] = one.processes
    return data


def _impostor(name: str) -> Mapping[str, Any]:
    program = "tests.mutants.impostors"
    return {
        "name": name,
        "description": IMPOSTORS[name],
        "working_directory": str(ROOT),
        "environment": {
            "DATABASE_URL": "{database_url}",
            "KAFKA_BROKERS": "{kafka_brokers}",
            "KAFKA_GROUP_ID": _GROUP,
            "PYTHONUNBUFFERED": "1",
        },
        "migration": {"command": ["{python}", "-m", f"{program}.tables"]},
        "roles": {
            "consumer": {
                "command": ["{python}", "-m", f"{program}.{name.replace('-', '_')}"],
                "ready": {"kafka_group": _GROUP},
            }
        },
    }
