"""A walk through a scenario from its top: every name in it must stand for something that is there by then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from harness.document import Place, did_you_mean
from harness.scenario import templates
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.matcher_mistakes import bound_names, matcher_mistakes
from harness.scenario.names import Names, Run

_MATCHERS: Final = ("error", "input", "output", "status", "answer", "key")
_ASKED_OF_REST: Final = ("status", "answer")


class Tell(Protocol):
    """How a mistake is told: its place, its message, whether the key is at fault."""

    def __call__(self, place: Iterable[str | int], message: str, *, at_key: bool = False) -> None: ...


class Walk:
    """Goes through `data`, which fit the schema, and tells the mistakes."""

    def __init__(self, data: Mapping[str, Any], tell: Tell) -> None:
        self._data = data
        self._tell = tell
        self._workflows: Mapping[str, Any] = data.get("workflows", {})
        self._agents: Mapping[str, Any] = data.get("agents", {})
        self._names = Names(data)

    def before_the_timeline(self) -> None:
        """Workflows and agents are made first: they can use draws, and nothing of runs."""
        for place, name in templates.names({"guarantee": self._data["guarantee"]}):
            self._unknown_template(place, name, ())
        for section in ("workflows", "agents"):
            for place, name in templates.names(self._data.get(section, {})):
                if not self._names.is_static(name):
                    self._unknown_template((section, *place), name, self._names.static())

    def timeline(self) -> None:
        """The acts in their order."""
        for index, entry in enumerate(self._data["timeline"]):
            self._entry(entry, ("timeline", index))

    def expectations(self) -> None:
        """What is expected, when all has been done and everything that is ever bound may be bound."""
        self._names.bind_all()
        for mode, listed in self._data.get("expect", {}).items():
            for index, condition in enumerate(listed):
                self._condition(condition, ("expect", mode, index))

    def _entry(self, entry: Mapping[str, Any], place: Place) -> None:
        word = word_of(entry)
        if "when" in entry:
            self._condition(entry["when"], (*place, "when"))
        if word == "all":
            # What happens at the same time cannot count on what the others make.
            before, after = self._names, []
            for index, part in enumerate(entry["all"]):
                self._names = before.copy()
                self._entry(part, (*place, "all", index))
                after.append(self._names)
            self._names = before.joined(after)
        elif word == "wait":
            self._condition(entry["wait"], (*place, "wait"))
        else:
            self._act(word, entry[word], (*place, word))

    def _act(self, word: str, written: Any, place: Place) -> None:
        arguments = long_arguments(word, written, self._workflows)
        if word == "rest":
            # What its answer binds can be used from here on, and not in the request itself.
            self._templates({key: value for key, value in written.items() if key not in _ASKED_OF_REST}, place)
            if "raw" in written and "body" in written:
                self._tell((*place, "raw"), "expected one of 'body' and 'raw', found both", at_key=True)
        if word in ("rest", "duplicate"):
            self._matchers(arguments, place)
        self._templates(written, place)
        if word == "execute":
            self._execute(arguments, written, place)
        elif word in ("cancel", "retry", "answer"):
            early = word == "cancel" and arguments.get("via") == "message"
            run = self._run(arguments["run"], _at(written, place, "run"), early=early)
            for name in ("from", "step"):
                if run is not None and name in arguments:
                    self._step(run, arguments[name], _at(written, place, name))
        elif word in ("hold", "release"):
            self._agent(arguments["agent"], place)

    def _execute(self, arguments: Mapping[str, Any], written: Any, place: Place) -> None:
        workflow = arguments.get("workflow")
        if workflow is None:
            found = ", ".join(map(repr, self._workflows)) or "none"
            self._tell(place, f"expected 'workflow', since there is not just one workflow, found {found}")
        elif not _is_open(workflow) and workflow not in self._workflows:
            self._unknown(_at(written, place, "workflow"), "workflow", workflow, self._workflows)
            workflow = None
        name = arguments["as"]
        if name in self._names.runs:
            self._tell(
                _at(written, place, "as"), f"expected a name of its own ('as'), found '{name}', as another run has"
            )
        elif self._names.is_taken(name):
            self._tell(_at(written, place, "as"), f"expected another name than '{name}', which means something already")
        self._names.runs[name] = Run(workflow, arguments.get("count"))

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
        about, inner = (condition["update"], (*place, "update")) if "update" in condition else (condition, place)
        if "run" in about:
            run = self._run(about["run"], (*inner, "run"))
            if run is not None:
                self._of_run(run, about, inner)
        if "agent" in condition:
            self._agent(condition["agent"], (*place, "agent"))

    def _of_run(self, run: Run, about: Mapping[str, Any], place: Place) -> None:
        if "step" in about:
            self._step(run, about["step"], (*place, "step"))
        for index, step in enumerate(_listed(about, "steps")):
            self._step(run, step, (*place, "steps", index))
        branches = self._names.branches_of(run)
        branch = about.get("branch")
        if branch is not None and branches is not None and branch not in branches and not _is_open(branch):
            self._unknown((*place, "branch"), "branch", branch, branches, of=f" of workflow '{run.workflow}'")

    def _run(self, name: Any, place: Place, *, early: bool = False) -> Run | None:
        """The run of that name; None, and a mistake told, when there is none. A name still open is let pass."""
        if _is_open(name):
            return None
        run = self._names.run(name)
        if run is not None:
            if name in self._names.runs and isinstance(run.count, str):
                self._tell(
                    place, f"expected one of the runs, such as '{name}-1', found '{name}': their number is drawn"
                )
            return run
        if name in self._names.made_by_harness:
            if early:
                return self._names.made_by_harness[name]
            self._tell(place, f"run '{name}' is made later; only a cancel with 'via: message' can come before its run")
        elif self._names.runs:
            self._unknown(place, "run", name, self._names.run_names())
        else:
            self._tell(place, f"run '{name}' does not exist: expected an 'execute' before this, found none")
        return None

    def _step(self, run: Run, step: Any, place: Place) -> None:
        steps = self._names.steps_of(run)
        if steps is not None and step not in steps and not _is_open(step):
            self._unknown(place, "step", step, steps, of=f" of workflow '{run.workflow}'")

    def _agent(self, name: str, place: Place) -> None:
        if name not in self._agents and not _is_open(name):
            self._unknown(place, "agent", name, self._agents)

    def _matchers(self, about: Mapping[str, Any], place: Place) -> None:
        for path, matcher in _matchers_in(about):
            for inner, message in matcher_mistakes(matcher, (*place, *path)):
                self._tell(inner, message)
            for inner, name in bound_names(matcher):
                if self._names.is_taken(name):
                    message = f"expected another name than '{name}', which means something already"
                    self._tell((*place, *path, *inner), message)
                self._names.bound.add(name)

    def _templates(self, value: Any, place: Place) -> None:
        for inner, name in templates.names(value):
            if not self._names.is_known(name):
                self._unknown_template((*place, *inner), name, self._names.all())

    def _unknown(self, place: Place, what: str, name: object, known: Iterable[str], of: str = "") -> None:
        listed = list(known)
        among = f"expected one of {', '.join(map(repr, listed))}" if listed else "there is none at all"
        self._tell(place, f"{what} '{name}'{of} does not exist; {among}{did_you_mean(name, listed)}")

    def _unknown_template(self, place: Place, name: str, known: Iterable[str]) -> None:
        if name.partition(".")[0] in self._names.ever_bound:
            self._tell(place, f"'{{{{{name}}}}}' is used here before anything binds it")
        else:
            near = did_you_mean(name, [*known, *self._data.get("parameters", {})])
            self._tell(place, f"'{{{{{name}}}}}' stands for nothing that is known here{near}")


def _at(written: Any, place: Place, name: str) -> Place:
    """The place of an argument, or of the text that stands for it."""
    return (*place, name) if isinstance(written, Mapping) else place


def _matchers_in(about: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """(place, matcher) of every matcher in a condition, in its `message`, or in the arguments of an act."""
    for key in _MATCHERS:
        if key in about:
            yield (key,), about[key]
    of_message, of_table = ("row", "where", "headers"), ("row", "where")
    for key in of_message if "topic" in about else of_table if "table" in about else ("row",):
        yield from (((key, name), matcher) for name, matcher in about.get(key, {}).items())
    if "inputs" in about and not _is_open(about["inputs"]):
        yield ("inputs",), about["inputs"]


def _listed(about: Mapping[str, Any], key: str) -> list[Any]:
    """A list, or nothing as long as a template stands for it."""
    listed = about.get(key)
    return listed if isinstance(listed, list) else []


def _is_open(name: Any) -> bool:
    """Whether a name has a template left, so that nobody knows yet what it is."""
    return isinstance(name, str) and any(True for _ in templates.names(name))
