"""What is done with a block of each kind. A check raises AssertionError, or what the checked part itself raises."""

from __future__ import annotations

import io
import json
import os
import shlex
import time
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

import contract
from harness.cli.up import up
from harness.client import ApiClient
from harness.document import MistakesFound
from harness.scenario import load
from harness.scenario.parts import schema as scenario_schema
from harness.subject.description import read_description
from system.bridge.messages import Task
from system.bridge.rpc import interpret, request_body
from system.definitions import InvalidDefinition, load_definition, validator
from tests.docs.answers import answer_validator, operation_of
from tests.docs.blocks import Block
from tests.docs.likeness import difference, unlike
from tests.docs.live import Ran, Shell, Up, checkout

# What a scenario on a page includes, and what the page does not show.
_INCLUDED = {"scenarios/common/three_steps.yaml": "agents: {spare: [{echo: true}]}\n"}


_RUN_SECONDS = 30.0


class PageRun:
    """The blocks of one page, from the first on: what the earlier ones did is what the later ones build on."""

    def __init__(self, name: str, folder: Path, live: Callable[[], Up]) -> None:
        self._name = name
        self._parent = folder
        self._live = live
        self._parts: dict[str, str] = {}
        self._last: Ran | None = None
        self._asked: tuple[tuple[str, str, int], ...] = ()
        self._refused: object = None
        self._definition: dict[str, Any] = {}
        self._task: dict[str, Any] = {}
        self._called: dict[str, Any] = {}
        self._namespace: dict[str, Any] = {"__name__": "__page__"}
        self._shells: list[Shell] = []
        self._done: set[int] = set()

    @cached_property
    def folder(self) -> Path:
        """What looks like a checkout to this page's blocks."""
        return checkout(self._parent / self._name)

    @cached_property
    def shell(self) -> Shell:
        """The page's shell on the live system."""
        made = Shell(self.folder, self._live().environment())
        self._shells.append(made)
        return made

    def end(self) -> None:
        """End its shell, if it has one."""
        for shell in self._shells:
            shell.end()

    def check_once(self, block: Block) -> None:
        """Do what is to be done with a block, unless it was done before."""
        if block.kind is not None and block.line not in self._done:
            self._done.add(block.line)
            getattr(self, f"_check_{block.kind}")(block)

    def _check_shell(self, block: Block) -> None:
        self._last = self.shell.run(self._live().localized(block.text))
        self._asked = self._last.asked
        assert self._last.exit_code == 0, (
            f"a command ended with {self._last.exit_code}:\n{self._last.err}{self._last.out}"
        )

    def _check_console(self, block: Block) -> None:
        expected = {int(one.removeprefix("exit=")) for one in block.arguments} or {0}
        for command, shown in _commands(block.text):
            ran = self.shell.run(self._live().localized(command))
            self._last, self._asked = ran, ran.asked
            assert ran.exit_code in expected, f"{command!r} ended with {ran.exit_code}:\n{ran.err}{ran.out}"
            told = unlike(shown, ran.out + ran.err) if shown else None
            assert told is None, f"{command!r}: {told}"

    def _check_up(self, block: Block) -> None:
        (command,) = (shlex.split(written) for written, _ in _commands(block.text))
        assert command[:2] == ["plumbline", "up"], f"expected `plumbline up …`, found {command}"
        up.make_context("up", command[2:])
        assert self._live().places, "it runs, and says where"

    def _check_output(self, block: Block) -> None:
        assert self._last is not None, "there is no command before this output"
        told = unlike(block.text, self._last.out + self._last.err)
        assert told is None, told

    def _check_answer(self, block: Block) -> None:
        assert self._last is not None, "there is no command before this answer"
        assert self._asked, "the command before this answer asked nothing with curl"
        method, url, status = self._asked[-1]
        (expected,) = map(int, block.arguments)
        assert status == expected, f"{method} {url} was answered with {status}: {self._last.out}"
        path, operation = operation_of(method, url)
        found = json.loads(self._last.out)
        for name, value in (("shown", json.loads(block.text)), ("real", found)):
            errors = [error.message for error in answer_validator(path, operation, status).iter_errors(value)]
            assert not errors, f"the {name} answer does not fit openapi.yaml: {errors}"
        told = difference(json.loads(block.text), found)
        assert told is None, f"{told}\nthe real answer is\n{json.dumps(found, indent=2, ensure_ascii=False)}"

    def _check_python(self, block: Block) -> None:
        printed = io.StringIO()
        environment = self._live().environment()
        before = dict(os.environ)
        os.environ.update({name: environment[name] for name in ("DATABASE_URL", "KAFKA_BROKERS", "API_URL")})
        try:
            with redirect_stdout(printed):
                exec(compile(self._live().localized(block.text), block.place, "exec"), self._namespace)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self._last = Ran(0, printed.getvalue(), "", ())

    def _check_sql(self, block: Block) -> None:
        with closing(psycopg2.connect(self._live().places["PostgreSQL"])) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(block.text)
            assert cursor.fetchall(), "the statement gives no row"

    def _check_workflow(self, block: Block) -> None:
        self._definition = _data(block.text)
        load_definition(self._definition)

    def _check_outcome(self, block: Block) -> None:
        expected = _data(block.text)
        with ApiClient(self._live().environment()["API_URL"]) as api:
            known = api.workflow_named(self._definition["name"])
            definition = known or api.create_workflow(self._definition)
            run_id = api.execute(definition["id"], expected.pop("input"))["run_id"]
            deadline = time.monotonic() + _RUN_SECONDS
            while (run := api.run(run_id))["status"] in ("PENDING", "RUNNING"):
                assert time.monotonic() < deadline, f"the run has not ended within {_RUN_SECONDS} s: {run}"
                time.sleep(0.05)
            rows = {row["step_id"]: row for row in api.steps(run_id)}
        found = {
            "status": run["status"],
            "error_message": run["error_message"],
            "outputs": {step: rows[step]["output_data"] for step in expected.get("outputs", ())},
            "inputs": {step: rows[step]["input_data"] for step in expected.get("inputs", ())},
        }
        told = difference(expected, {key: found[key] for key in expected})
        assert told is None, f"{told}\nwhat came of it is\n{json.dumps(found, indent=2, ensure_ascii=False)}"

    def _check_refused(self, block: Block) -> None:
        self._refused = _data(block.text)
        try:
            load_definition(self._refused)
        except InvalidDefinition:
            return
        raise AssertionError("the definition is accepted")

    def _check_errors(self, block: Block) -> None:
        try:
            load_definition(self._refused)
        except InvalidDefinition as error:
            told = "\n".join(map(str, error.problems)) + "\n"
            assert told == block.text, f"shown is\n{block.text}\ntold is\n{told}"

    def _check_message(self, block: Block) -> None:
        (name,) = block.arguments
        message = json.loads(block.text)
        errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(message)]
        assert not errors, f"it is no {name}: {errors}"
        assert name in contract.SCHEMAS
        known = contract.schema(name)["properties"]
        assert set(message) <= set(known), f"{sorted(set(message) - set(known))} are no fields of {name}"
        if name == "agent_task":
            self._task = message

    def _check_call(self, block: Block) -> None:
        assert self._task, "there is no agent_task before this call"
        task = self._task
        body = request_body(Task(**{name: task[name] for name in Task.__dataclass_fields__ if name in task}))
        self._called = json.loads(body)
        assert json.loads(block.text) == self._called, f"the bridge sends {body.decode()}"

    def _check_reply(self, block: Block) -> None:
        assert self._called, "there is no call before this reply"
        outcome = interpret(self._task["agent_name"], self._called["id"], block.text.encode())
        (expected,) = block.arguments
        found = "SUCCESS" if outcome.error_message is None else "FAILURE"
        assert found == expected, f"it is a {found}: {outcome}"

    def _check_scenario(self, block: Block) -> None:
        name = block.arguments[0] if block.arguments else "scenarios/area/example.yaml"
        self._parts[name] = self._parts.get(name, "") + block.text
        for included, text in _INCLUDED.items():
            (self.folder / included).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / included).write_text(text, encoding="utf-8")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._parts[name], encoding="utf-8")
        if "part" not in block.arguments[1:]:
            load(path)

    def _check_mistake(self, block: Block) -> None:
        name, before, after = block.arguments
        path = self.folder / name
        whole = self._parts[name]
        assert before in whole, f"{name} has no {before!r}"
        path.write_text(whole.replace(before, after), encoding="utf-8")
        try:
            load(path)
        except MistakesFound as found:
            told = str(found).replace(f"{self.folder}/", "")
            assert told == block.text.rstrip("\n"), f"shown is\n{block.text}\ntold is\n{told}"
        else:
            raise AssertionError(f"{after!r} is no mistake")
        finally:
            path.write_text(whole, encoding="utf-8")

    def _check_pieces(self, block: Block) -> None:
        shown = _data(block.text)
        if isinstance(shown, dict):
            self._hold_sections(shown)
            return
        for piece in shown:
            name, value = _piece(block.heading, piece)
            found = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": scenario_schema()["$defs"]})
            errors = [error.message for error in found.iter_errors(value)]
            assert not errors, f"{piece} is no {name}: {errors}"

    def _hold_sections(self, sections: dict[str, Any]) -> None:
        """Whole keys of a scenario, such as `timeline`, each held to the schema's part for it."""
        for key, value in sections.items():
            schema = {**scenario_schema()["properties"][key], "$defs": scenario_schema()["$defs"]}
            errors = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
            assert not errors, f"{key} is not as the format has it: {errors}"

    def _check_subject(self, block: Block) -> None:
        path = self.folder / "subjects" / "example.yaml"
        if (self.folder / "subjects").is_symlink():
            schema = (self.folder / "subjects" / "subject.schema.json").resolve()
            (self.folder / "subjects").unlink()
            (self.folder / "subjects").mkdir()
            for one in schema.parent.iterdir():
                (self.folder / "subjects" / one.name).symlink_to(one)
        path.write_text(block.text, encoding="utf-8")
        read_description(path)


def _data(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console, each with what is shown below it. A line after a `\\` belongs to the command."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
            found[-1][0].append(line)
        elif found:
            found[-1][1].append(line)
        else:
            raise AssertionError(f"a console begins with `$ `, found {line!r}")
    return [("\n".join(command), "\n".join(shown)) for command, shown in found]


def _piece(heading: str, piece: dict[str, Any]) -> tuple[str, Any]:
    """The definition of the schema that a piece of a scenario is held to, and what of it is."""
    (key, value), *_ = piece.items()
    if heading.startswith("`"):
        return "act", piece
    if key in ("count", "draws"):
        return ("count", value) if key == "count" else ("strategy", next(iter(value.values())))
    if key == "output":
        return "matcher", value
    return "condition", piece
