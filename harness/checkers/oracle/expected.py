"""What may come out of each step of a run, recomputed from its plan, its input and the outputs that were recorded.

The contract's columns do not say which iteration a row is of, and retries leave several rows of a step. So every question
is answered with the set of answers that what was recorded allows, and with None where they are too many or unknown: a
checker accuses only what none of the answers allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.oracle import conditions
from harness.oracle.composites import MOST_CANDIDATES, Ended, distinct, fork_join_end, loop_end, parallel_end
from harness.oracle.plan import Plan
from harness.oracle.references import NotJudged, Reference, Unresolvable, references_in, resolve, unresolvable_in
from harness.oracle.values import MISSING, canonical

Context = tuple[tuple[str, int], ...]
"""Where a step runs: (loop, position) of each loop around it, outermost first."""

_MOST_CONTEXTS = 3000
_ATTEMPTS_AT_WORK = 200_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """How executions of an agent step ended that had one input and one end: rows, or results that rows may have come from;
    `times` counts them."""

    step: str
    input_key: str
    status: str
    output: Any
    times: int = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a step's input may be; `unresolvable` has the texts of references that may have led to nothing."""

    values: tuple[Any, ...]
    unresolvable: frozenset[str]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(canonical(value) for value in self.values)


class Oracle:
    """Answers about one run. `composites` are outputs in rows of composite steps: an executor may have further fields
    in them, and what is wrong with them is judged where they are written, not again in every step that uses them."""

    def __init__(
        self,
        plan: Plan,
        given: Any,
        recorded: Iterable[Recorded],
        composites: Mapping[str, list[Any]],
        *,
        was_retried: bool,
        is_complete: bool,
    ) -> None:
        """`is_complete` says that nothing more will be recorded, so that what has no output has none for good."""
        self.plan = plan
        self._is_complete = is_complete
        self._given = given
        self._composites = composites
        self._was_retried = was_retried
        self._of_step: dict[str, list[Recorded]] = {}
        self._of_input: dict[tuple[str, str], list[Recorded]] = {}
        for entry in recorded:
            self._of_step.setdefault(entry.step, []).append(entry)
            self._of_input.setdefault((entry.step, entry.input_key), []).append(entry)
        self._inputs: dict[tuple[str, Context], Inputs | None] = {}
        self._endings: dict[tuple[str, Context], list[Ended] | None] = {}
        self._items: dict[tuple[str, Context], list[Any] | None] = {}
        self._places: dict[str, dict[str, list[Context]] | None] = {}
        self._work = 0
        # An id such as "loop.item" makes a reference readable in two ways.
        self._is_ambiguous = any(step.startswith(("loop.", "workflow.input", "workflow_input")) for step in plan.steps)

    def inputs(self, step: str, context: Context) -> Inputs | None:
        """What the step's input_data may be there."""
        key = (step, context)
        if key not in self._inputs:
            self._inputs[key] = None
            mapping = self.plan.steps[step].get("input_mapping") or {}
            self._inputs[key] = self._resolved(mapping, context)
        return self._inputs[key]

    def places_by_input(self, step: str) -> Mapping[str, list[Context]] | None:
        """Canonical input → the places in which the step may have it; None when a place or an input is not known."""
        if step not in self._places:
            self._places[step] = None
            places = self.contexts(step)
            found: dict[str, list[Context]] = {}
            for place in places or ():
                inputs = self.inputs(step, place)
                if inputs is None:
                    return None
                for key in inputs.keys:
                    found.setdefault(key, []).append(place)
            self._places[step] = None if places is None else found
        return self._places[step]

    def contexts(self, step: str) -> list[Context] | None:
        """Every place in which the step may run; None when a collection is not known."""
        found: list[Context] = [()]
        for loop in self.plan.loops_around(step):
            deeper: list[Context] = []
            for context in found:
                items = self.items(loop, context)
                if items is None or len(deeper) + len(items) > _MOST_CONTEXTS:
                    return None
                deeper += [(*context, (loop, index)) for index in range(len(items))]
            found = deeper
        return found

    def items(self, loop: str, context: Context) -> list[Any] | None:
        """The items that a loop runs for (LOP-09, LOP-14, LOP-16); [] also when its collection cannot be resolved."""
        key = (loop, context)
        if key not in self._items:
            config = self.plan.steps[loop]["loop_config"]
            found = self._resolved(config["collection"], context)
            self._items[key] = None
            if found is not None and not found.values and found.unresolvable:
                self._items[key] = []
            elif found is not None and len(found.keys) == 1 and not found.unresolvable:
                items = found.values[0] if isinstance(found.values[0], list) else []
                self._items[key] = items[: config.get("max_iterations")]
        return self._items[key]

    def truths(self, step: str, context: Context) -> set[tuple[bool, bool]] | None:
        """What a conditional's expression may evaluate to: its truth, and whether it could be evaluated."""
        try:
            node = conditions.parse(self.plan.steps[step]["condition"]["expression"], self.plan.steps)
        except conditions.NotParsed:
            return None
        lookups = self._lookups(conditions.references_of(node), context)
        if lookups is None:
            return None
        return {conditions.evaluate(node, lookup.__getitem__) for lookup in lookups}

    def endings(self, step: str, context: Context) -> list[Ended] | None:
        """How the step may have ended there; [] when nothing is recorded of an end."""
        key = (step, context)
        if key not in self._endings:
            self._endings[key] = None
            kind = self.plan.kind(step)
            found = self._of_agent(step, context) if kind == "agent" else self._of_begun_composite(step, context)
            self._endings[key] = found if found is None or len(found) <= MOST_CANDIDATES else None
        return self._endings[key]

    def outputs(self, step: str, context: Context) -> list[Any] | None:
        """What a reference to the step may find there: outputs, and MISSING."""
        recorded = [] if context else self._composites.get(step, [])
        ended = self.endings(step, context)
        if self._collects(step):
            # The text of an error_message in a failed entry is the executor's own.
            ended = None if ended is None or any("FAILED" in str(end.output) for end in ended) else ended
        if ended is None:
            return None
        found = [*(end.output for end in ended if end.status == "COMPLETED"), *recorded]
        if not found:
            return [MISSING] if self._is_complete else None
        # What follows a step of the chain has never run without its output; a nested one may have had none at first, or not
        # have run at all where nothing is recorded of it.
        may_lack = step in self.plan.slots and (self._was_retried or not self._has_run(step, context, recorded))
        return [*found, MISSING] if may_lack else found

    def _collects(self, step: str) -> bool:
        """Whether a loop that collects errors is in its output, at any depth."""
        inside = [one for one in self.plan.steps if one == step or step in self.plan.above(one)]
        return any(
            self.plan.kind(one) == "loop" and self.plan.steps[one]["loop_config"].get("on_error") == "collect"
            for one in inside
        )

    def _has_run(self, step: str, context: Context, recorded: list[Any]) -> bool:
        """Whether a step is known to have run there: an agent step by its record; a composite by its row, or by a step inside
        it, since one that asks nobody has an end by its parts whether it was begun or not."""
        if recorded:
            return True
        if self.plan.kind(step) == "agent":
            return self._has_run_agent(step, context)
        inside = [one for one in self.plan.agents if step in self.plan.above(one)]
        here = [one for one in inside if not context or len(self.plan.loops_around(one)) == len(context)]
        return any(self._has_run_agent(one, context) for one in here)

    def _has_run_agent(self, step: str, context: Context) -> bool:
        """Within a loop, a record may be another iteration's unless there is one for each place with that input."""
        if not context:
            return bool(self._of_step.get(step))
        inputs = self.inputs(step, context)
        places = self.places_by_input(step)
        if inputs is None or inputs.unresolvable or len(inputs.keys) != 1 or places is None:
            return False
        (key,) = inputs.keys
        return sum(entry.times for entry in self._of_input.get((step, key), ())) >= len(places[key])

    def _of_agent(self, step: str, context: Context) -> list[Ended] | None:
        entries = self._of_step.get(step, [])
        if context:
            inputs = self.inputs(step, context)
            if inputs is None:
                return None
            entries = [entry for key in inputs.keys for entry in self._of_input.get((step, key), ())]
            if inputs.unresolvable:
                # It has failed without an input by which its record could be told from another iteration's (REF-11).
                return distinct([*(Ended(one.status, one.output) for one in entries), Ended("FAILED", None)])
        return distinct(Ended(entry.status, entry.output) for entry in entries)

    def _of_begun_composite(self, step: str, context: Context) -> list[Ended] | None:
        """A composite whose own mapping leads to nothing has failed before any of its parts (CMP-06)."""
        inputs = self.inputs(step, context)
        if inputs is None:
            return None
        if not inputs.values:
            return [Ended("FAILED", None)]
        found = self._of_composite(step, context)
        return found if found is None or not inputs.unresolvable else [*found, Ended("FAILED", None)]

    def _of_composite(self, step: str, context: Context) -> list[Ended] | None:
        match self.plan.kind(step):
            case "parallel":
                return self._of_parallel(step, context)
            case "conditional":
                return self._of_conditional(step, context)
            case "loop":
                return self._of_loop(step, context)
            case _:
                return self._of_fork_join(step, context)

    def _of_parallel(self, step: str, context: Context) -> list[Ended] | None:
        children = self.plan.steps[step]["parallel_steps"]
        return self._combined(
            [self.endings(child, context) for child in children],
            lambda ends: parallel_end(children, ends),
        )

    def _of_conditional(self, step: str, context: Context) -> list[Ended] | None:
        truths = self.truths(step, context)
        if truths is None:
            return None
        found: list[Ended] = []
        for truth, _ in truths:
            branch = self.plan.steps[step].get("if_true_step" if truth else "if_false_step")
            ends = [Ended("COMPLETED", None)] if branch is None else self.endings(branch, context)
            if ends is None:
                return None
            shape = {"condition_result": truth, "branch_taken": "then" if truth else "else", "branch_step_id": branch}
            found += [
                Ended("COMPLETED", {**shape, "branch_output": end.output})
                if end.status == "COMPLETED"
                else Ended("FAILED", None)
                for end in ends
            ]
        return distinct(found)

    def _sequence(self, steps: list[str], context: Context) -> list[tuple[str, Ended]] | None:
        """How a list of steps that run one after another may have ended: the step that ended it, and its end."""
        found: list[tuple[str, Ended]] = []
        for step in steps:
            ends = self.endings(step, context)
            if ends is None:
                return None
            found += [(step, end) for end in ends if end.status != "COMPLETED"]
            completed = [(step, end) for end in ends if end.status == "COMPLETED"]
            if not completed:
                return found
            if step == steps[-1]:
                found += completed
        return found

    def _of_loop(self, step: str, context: Context) -> list[Ended] | None:
        config = self.plan.steps[step]["loop_config"]
        items = self.items(step, context)
        if items is None:
            return None
        if not items and self._has_no_list(config["collection"], context):
            return [Ended("FAILED", None)]
        ways = [
            self._sequence(list(config["loop_body"]), (*context, (step, index)))
            for index in range(min(len(items), _MOST_CONTEXTS))
        ]
        stops = (config.get("on_error") or "stop") == "stop"
        has_stopped = stops and any(way and all(end.status == "FAILED" for _, end in way) for way in ways)
        if has_stopped and any(way is not None and not way for way in ways):
            # What stands behind the iteration that stopped it has not begun, and has no end.
            return [Ended("FAILED", None)]
        return self._combined(ways, lambda ends: loop_end(config, ends))

    def _has_no_list(self, collection: Any, context: Context) -> bool:
        """Whether a loop's collection is known to lead to nothing, or to no list, so that the loop fails (LOP-14)."""
        found = self._resolved(collection, context)
        return found is not None and not any(isinstance(value, list) for value in found.values)

    def _of_fork_join(self, step: str, context: Context) -> list[Ended] | None:
        config = self.plan.steps[step]["fork_join_config"]
        names = list(config["branches"])
        ways: list[list[Ended] | None] = []
        for name in names:
            branch = config["branches"][name]
            ended = self._sequence(list(branch["steps"]), context)
            has_time_out = self.plan.time_out(step, name) is not None
            # Of a branch of which no end can be told nothing is said, least of all that only its time-out can have ended it.
            ends = [end for _, end in ended] if ended else None
            ways.append([*ends, Ended("FAILED", None)] if ends is not None and has_time_out else ends)
        return self._combined(ways, lambda ends: fork_join_end(config, ends))

    def _combined(self, ways: list[Any], end: Any) -> list[Ended] | None:
        """One end for each combination of the parts' ends."""
        if any(way is None for way in ways):
            return None
        number = 1
        for way in ways:
            number *= len(way)
        if number > MOST_CANDIDATES:
            return None
        return distinct(end(combination) for combination in itertools.product(*ways))

    def _resolved(self, template: Any, context: Context) -> Inputs | None:
        lookups = self._lookups(list(references_in(template, self.plan.steps)), context)
        if lookups is None:
            return None
        values: dict[str, Any] = {}
        unresolvable: set[str] = set()
        for lookup in lookups:
            try:
                value = resolve(template, self.plan.steps, lookup.__getitem__)
                values[canonical(value)] = value
            except Unresolvable:
                # Fields of an object have no order, so that any of several may be told of.
                unresolvable |= unresolvable_in(template, self.plan.steps, lookup.__getitem__)
            except NotJudged:
                return None
        return Inputs(tuple(values.values()), frozenset(unresolvable))

    def _lookups(self, found: list[Reference], context: Context) -> list[dict[Reference, Any]] | None:
        """Every assignment of values to the sources of these references."""
        self._work += 1
        if self._is_ambiguous or self._work > _ATTEMPTS_AT_WORK:
            return None
        fixed: dict[Reference, Any] = {}
        names = list(dict.fromkeys(reference.name for reference in found if reference.source == "step"))
        choices: list[list[Any]] = []
        for name in names:
            # A step that is referred to stands in the same loops as this one, or in the outer ones of them (REF-18, REF-22).
            depth = len(self.plan.loops_around(name))
            outputs = self.outputs(name, context[:depth]) if depth <= len(context) else None
            if outputs is None:
                return None
            choices.append(outputs)
        for reference in found:
            if reference.source == "input":
                fixed[reference] = self._given
            elif reference.source == "loop":
                value = self._loop_word(reference.name, context)
                if value is None:
                    return None
                fixed[reference] = value[0]
        number = 1
        for choice in choices:
            number *= len(choice)
        if number > MOST_CANDIDATES:
            return None
        return [
            {**fixed, **{found_: values[names.index(found_.name)] for found_ in found if found_.source == "step"}}
            for values in itertools.product(*choices)
        ]

    def _loop_word(self, word: str, context: Context) -> tuple[Any] | None:
        """The value of ${loop.<word>}, in a tuple; None when it is not known (REF-13, REF-14)."""
        if not context:
            return (MISSING,)
        loop, index = context[-1]
        items = self.items(loop, context[:-1])
        if items is None or index >= len(items):
            return None
        total = len(items)
        return (
            {
                "item": items[index],
                "index": index,
                "total": total,
                "is_first": index == 0,
                "is_last": index == total - 1,
            }[word],
        )
