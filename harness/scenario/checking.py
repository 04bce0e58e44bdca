"""What the schema of scenario files cannot say: whether everything that is named exists, and is there in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import contract
from harness.document import Mistake, Place, did_you_mean
from harness.scenario import matchers, templates
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.definitions import definition_mistakes
from harness.scenario.draws import draw_mistakes
from harness.scenario.names import RESERVED, Names, Run
from harness.scenario.parts import Parts

_MATCHERS: Final = ("error", "input", "output", "status", "answer", "key")
_MATCHERS_BY_NAME: Final = ("row", "where", "headers")


def mistakes_of(parts: Parts) -> list[Mistake]:
    """Every mistake in a file that fits its schema, with parameters filled in."""
    checking = _Checking(parts)
    checking.clauses()
    checking.reserved_names()
    for place, message, at_key in definition_mistakes(parts.data):
        checking.tell(place, message, at_key=at_key)
    for place, message in draw_mistakes(parts.data.get("draws", {})):
        checking.tell(("draws", *place), message)
    checking.static_templates()
    checking.timeline()
    checking.expectations()
    checking.unused()
    return checking.mistakes


class _Checking:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.data = parts.data
        self.mistakes: list[Mistake] = []
        self.workflows: Mapping[str, Any] = parts.data.get("workflows", {})
        self.agents: Mapping[str, Any] = parts.data.get("agents", {})
        self.names = Names(parts.data)

    def tell(self, place: Iterable[str | int], message: str, *, at_key: bool = False) -> None:
        self.mistakes.append(self.parts.mistake(tuple(place), message, at_key=at_key))

    def unknown(self, place: Place, what: str, name: object, known: Iterable[str]) -> None:
        """Tell that a name is not among those that exist, with the nearest of them."""
        listed = list(known)
        among = f"expected one of {', '.join(map(repr, listed))}" if listed else f"there is no {what} yet"
        self.tell(place, f"{what} '{name}' does not exist; {among}{did_you_mean(name, listed)}")

    def clauses(self) -> None:
        known = [clause.id for clause in contract.clauses()]
        for index, clause in enumerate(self.data["clauses"]):
            if clause not in known:
                near = did_you_mean(clause, known)
                message = f"expected the id of a clause of the contract, such as 'CMP-01', found '{clause}'{near}"
                self.tell(("clauses", index), message)

    def reserved_names(self) -> None:
        for section in ("parameters", "draws"):
            for name in self.data.get(section, {}):
                if name in RESERVED:
                    self.tell(
                        (section, name), f"expected another name than '{name}', which means something", at_key=True
                    )
        for name in self.data.get("draws", {}):
            if name in self.data.get("parameters", {}):
                self.tell(("draws", name), f"expected another name than '{name}', which is a parameter", at_key=True)

    def static_templates(self) -> None:
        """Workflows and agents are made before the timeline begins: they can use draws, and nothing of runs."""
        for section in ("workflows", "agents"):
            for place, name in templates.names(self.data.get(section, {})):
                if not self.names.is_static(name):
                    self._unknown_name((section, *place), name, self.names.static())

    def timeline(self) -> None:
        for index, entry in enumerate(self.data["timeline"]):
            self._entry(entry, ("timeline", index))

    def _entry(self, entry: Mapping[str, Any], place: Place) -> None:
        word = word_of(entry)
        if "when" in entry:
            self._condition(entry["when"], (*place, "when"))
        if word == "all":
            # What happens at the same time cannot count on what the others make.
            before = self.names.copy()
            made: list[Names] = []
            for index, part in enumerate(entry["all"]):
                self.names = before.copy()
                self._entry(part, (*place, "all", index))
                made.append(self.names)
            self.names = before.joined(made)
        elif word == "wait":
            self._condition(entry["wait"], (*place, "wait"))
        else:
            self._act(word, entry[word], (*place, word))

    def _act(self, word: str, written: Any, place: Place) -> None:
        arguments = long_arguments(word, written, self.workflows)

        def at(name: str) -> Place:
            return (*place, name) if isinstance(written, Mapping) else place

        if word == "rest":
            self._matchers(arguments, place)
        self._templates(written, place)
        if word == "execute":
            self._execute(arguments, place, at)
        elif word in ("cancel", "retry", "answer"):
            early = word == "cancel" and arguments.get("via") == "message"
            run = self._run(arguments["run"], at("run"), early=early)
            for name in ("from", "step"):
                if run is not None and name in arguments:
                    self._step(run, arguments[name], at(name))
        elif word in ("hold", "release"):
            self._agent(arguments["agent"], at("agent"))
        elif word == "duplicate":
            self._matchers(arguments, place)

    def _execute(self, arguments: Mapping[str, Any], place: Place, at: Any) -> None:
        workflow = arguments.get("workflow")
        if workflow is None:
            count = len(self.workflows)
            near = f"there are {count}: {', '.join(map(repr, self.workflows))}" if count else "there is none"
            self.tell(place, f"expected 'workflow', since there is not just one; {near}")
        elif templates.whole_name(workflow) is None and workflow not in self.workflows:
            self.unknown(at("workflow"), "workflow", workflow, self.workflows)
            workflow = None
        name = arguments["as"]
        if name in RESERVED or name in self.data.get("parameters", {}) or name in self.data.get("draws", {}):
            self.tell(at("as"), f"expected another name than '{name}', which means something else already")
        elif name in self.names.runs:
            self.tell(at("as"), f"expected a name of its own for this run, found '{name}', which another has ('as')")
        self.names.runs[name] = Run(workflow, arguments.get("count"))

    def expectations(self) -> None:
        expect: Mapping[str, Any] = self.data.get("expect", {})
        self.names.bound |= self.names.ever_bound
        for mode, listed in expect.items():
            for index, condition in enumerate(listed):
                self._condition(condition, ("expect", mode, index))
        asks = any(word_of(entry) in ("rest", "wait") or "when" in entry for entry in self.data["timeline"])
        if not asks and not any(expect.values()):
            self.tell(
                ("expect",), "expected an expectation, found none: nothing but the checkers could fail this scenario"
            )

    def unused(self) -> None:
        """A name that nothing uses is most likely a name that was meant to be used and is spelt otherwise."""
        used = self.parts.names_used()
        for section in ("parameters", "draws"):
            for name in self.data.get(section, {}):
                if name not in used and self.parts.is_own((section, name)) and name in self.parts.own_names(section):
                    self.tell(
                        (section, name), f"'{{{{{name}}}}}' is used nowhere{did_you_mean(name, used)}", at_key=True
                    )

    def _condition(self, condition: Mapping[str, Any], place: Place) -> None:
        for word in ("all", "any"):
            for index, part in enumerate(condition.get(word, ())):
                self._condition(part, (*place, word, index))
        if "not" in condition:
            self._condition(condition["not"], (*place, "not"))
        if any(word in condition for word in ("all", "any", "not")):
            return
        self._matchers(condition, place)
        if "message" in condition:
            self._matchers(condition["message"], (*place, "message"))
        self._templates(condition, place)
        about = condition.get("update", condition)
        inner = (*place, "update") if "update" in condition else place
        if "run" in about:
            run = self._run(about["run"], (*inner, "run"))
            if run is not None:
                self._of_run(run, about, inner)
        if "agent" in condition:
            self._agent(condition["agent"], (*place, "agent"))

    def _of_run(self, run: Run, about: Mapping[str, Any], place: Place) -> None:
        if "step" in about:
            self._step(run, about["step"], (*place, "step"))
        for index, step in enumerate(about.get("steps", ())):
            self._step(run, step, (*place, "steps", index))
        branches = self.names.branches_of(run)
        branch = about.get("branch")
        if branch is not None and branches is not None and branch not in branches and not _is_open(branch):
            self.unknown((*place, "branch"), "branch", branch, branches)

    def _run(self, name: Any, place: Place, *, early: bool = False) -> Run | None:
        if _is_open(name):
            return None
        run = self.names.run(name)
        if run is None and name in self.names.made_by_harness:
            if early:
                return self.names.made_by_harness[name]
            self.tell(place, f"run '{name}' is made later; only a cancel with 'via: message' can come before its run")
            return None
        if run is None:
            known = self.names.run_names()
            if known:
                self.unknown(place, "run", name, known)
            else:
                self.tell(place, f"run '{name}' does not exist: no 'execute' stands before this")
        return run

    def _step(self, run: Run, step: Any, place: Place) -> None:
        steps = self.names.steps_of(run)
        if steps is not None and step not in steps and not _is_open(step):
            self.unknown(place, f"step of workflow '{run.workflow}'", step, steps)

    def _agent(self, name: str, place: Place) -> None:
        if name not in self.agents and not _is_open(name):
            self.unknown(place, "agent", name, self.agents)

    def _matchers(self, about: Mapping[str, Any], place: Place) -> None:
        for path, matcher in _matchers_in(about):
            for inner, message in matchers.mistakes(matcher, (*place, *path)):
                self.tell(inner, message)
            for inner, name in matchers.bound_names(matcher):
                if self.names.is_taken(name):
                    self.tell(
                        (*place, *path, *inner), f"expected another name than '{name}', which means something else"
                    )
                self.names.bind(name)

    def _templates(self, value: Any, place: Place) -> None:
        for inner, name in templates.names(value):
            if not self.names.is_known(name):
                self._unknown_name((*place, *inner), name, self.names.all())

    def _unknown_name(self, place: Place, name: str, known: Iterable[str]) -> None:
        listed = list(known)
        if name in self.names.ever_bound_anywhere:
            self.tell(place, f"'{{{{{name}}}}}' is used before anything binds it")
        else:
            self.tell(place, f"nothing that is called '{{{{{name}}}}}' can be used here{did_you_mean(name, listed)}")


def _matchers_in(about: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    if "agent" not in about and "topic" not in about and "rest" not in about.keys() - {"rest"}:
        pass
    for key in _MATCHERS:
        if key in about:
            yield (key,), about[key]
    for key in _MATCHERS_BY_NAME:
        for name, matcher in (about.get(key) or {}).items() if key != "headers" or "topic" in about else ():
            yield (key, name), matcher
    for index, matcher in enumerate(about.get("inputs", ())):
        yield ("inputs", index), matcher


def _is_open(name: Any) -> bool:
    """Whether a name has a template left, so that nobody knows yet what it is."""
    return isinstance(name, str) and any(True for _ in templates.names(name))
