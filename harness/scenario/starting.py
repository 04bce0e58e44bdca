"""A new scenario file, to be filled in."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Final

import contract
from harness.scenario.parts import SCHEMA_PATH

_WIDTH: Final = 110
_TEMPLATE: Final = """\
# yaml-language-server: $schema={schema}

# One sentence that says what a user may rely on.
guarantee: A run of two steps is COMPLETED once both are, each called once and in order.

# The clauses of the contract that this checks.
clauses:
{clauses}

workflows:
  # A definition without its name: that is made unique each time.
  main:
    start_step: first
    steps:
      first:
        id: first
        agent_name: worker
        next_step: second
        input_mapping: {{value: "${{workflow.input.value}}"}}
      second:
        id: second
        agent_name: worker
        input_mapping: {{before: "${{first.output.done}}"}}

agents:
  # What the nth call gets; the last entry stays. Also: echo, fail, rpc_error, status, body, slow, hang, reset, held.
  worker:
    - ok: {{done: 1}}
    - ok: {{done: 2}}

# Acts in order. Each waits for its `when` first, and never for a length of time.
timeline:
  - execute: {{workflow: main, input: {{value: 7}}, as: r}}
  # - when: {{run: r, step: second, is: RUNNING}}
  #   kill: consumer
  # - start: consumer

expect:
  # Waited for, each up to `deadline_seconds`.
  eventually:
    - {{run: r, is: COMPLETED}}
  # Looked at once, when all of the above is so.
  finally:
    - {{run: r, steps: [first, second]}}
    - {{run: r, step: first, times: 1, input: {{value: 7}}, output: {{like: {{done: 1}}}}}}
    - {{run: r, step: second, times: 1, input: {{before: 1}}}}
  # Judged on everything that is seen, from the beginning on.
  never:
    - {{run: r, is: FAILED}}
"""


def _said(text: str) -> str:
    """A clause's text as a comment."""
    return textwrap.fill(" ".join(text.split()), _WIDTH, initial_indent="  # ", subsequent_indent="  # ")


def new_scenario(path: Path, clauses: tuple[str, ...]) -> str:
    """The text of a scenario file to stand at `path`, which fits the format as it is."""
    known = {clause.id: clause for clause in contract.clauses()}
    listed = "\n".join(f"{_said(known[clause].text)}\n  - {clause}  # {known[clause].title}" for clause in clauses)
    schema = os.path.relpath(SCHEMA_PATH, path.resolve().parent).replace(os.sep, "/")
    return _TEMPLATE.format(schema=schema, clauses=listed)
