"""Hypothesis strategies for workflow definitions over the whole format, their inputs, and agents' behaviour.

What is generated is plain JSON by the contract (sections 1 and 4), whatever executes it; nothing here knows an executor.

Every generated definition is legal: what it refers to can have run. Most references resolve when the steps that they
name completed; about one in fourteen leads nowhere, as a reference in earnest may. Agents answer with one shape, so that
references into outputs can be drawn before anything runs, and with values that depend on what they were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.engine.agents import INPUT_PATHS, MISSING_PATHS, OUTPUT_PATHS, Behaviour

Json = Any

# Ids that look like something else: reference syntax, path syntax, other words of the format, Unicode, whitespace.
ODD_IDS = (
    "a.b", "x", "x.output", "x.output.output", "loop", "workflow", "item", "a/b", "a[0]", "p:left", "%2F", "~1", "$",
    "${x}", "{", "}", "$.x", "output_data", "ä", "日本語", "🦊", "e\u0301", " ", "two words", "it's", '"', "\\", "\n",
    "true", "not", "0", "-1", "null", "then", "a" * 200,
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What a definition may contain. Composites that are open when `most_steps` are there are still given their steps.

    `order_matters` allows what makes an outcome depend on the order in which results arrive: a loop that stops at a
    failure while a limit holds further iterations back. `time_outs` gives branches time-outs of 5 to 60 seconds.
    """

    most_steps: int = 14
    deepest: int = 4
    longest_chain: int = 4
    odd_ids: bool = True
    order_matters: bool = False
    time_outs: bool = False
    missing_paths: bool = True


# scalars and literals

scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, 2.0, "", "a", "ä", "${", "$5", "$.x", "${foo}"])
)
literals: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["k", "ü", "${workflow.input}"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Json]:
    """The input_data of a run: an object that has every one of INPUT_PATHS and none of MISSING_PATHS."""
    return {
        "number": draw(st.integers(-3, 3)),
        "text": draw(st.sampled_from(["", "a", "hello", "${x.output}", "ß🦊"])),
        "flag": draw(st.booleans()),
        "items": draw(st.lists(scalars, min_size=1, max_size=4)),
        "nested": {"list": [draw(scalars), {"x": draw(scalars)}], "none": None},
    }


# definitions


@dataclass
class _Draft:
    """A definition while it is drawn."""

    draw: st.DrawFn
    options: Options
    ids: list[str]
    steps: dict[str, dict[str, Json]] = field(default_factory=dict)

    def room(self) -> int:
        return self.options.most_steps - len(self.steps)

    def new_id(self) -> str:
        return self.ids.pop(0) if self.ids else f"more{len(self.steps)}"


@dataclass(frozen=True)
class _Scope:
    """What a step may refer to: steps that ended before it, and whether it stands in a loop."""

    ended: tuple[str, ...] = ()
    in_loop: bool = False
    depth: int = 0

    def after(self, ids: tuple[str, ...]) -> _Scope:
        return _Scope(self.ended + ids, self.in_loop, self.depth)

    def below(self, *, in_loop: bool = False) -> _Scope:
        return _Scope(self.ended, self.in_loop or in_loop, self.depth + 1)


@st.composite
def definitions(draw: st.DrawFn, options: Options = Options()) -> dict[str, Json]:
    """A legal workflow definition with every step type, nested, in the contract's JSON."""
    draft = _Draft(draw, options, draw(_step_ids(options)))
    scope = _Scope()
    chain: list[str] = []
    for _ in range(draw(st.integers(1, options.longest_chain))):
        if draft.room() < 1:
            break
        step_id, exposed = _step(draft, scope)
        chain.append(step_id)
        scope = scope.after(exposed)
    for step_id, following in zip(chain, [*chain[1:], None], strict=True):
        if following is not None or draw(st.booleans()):
            draft.steps[step_id]["next_step"] = following
    # The order in which steps are written down means nothing.
    order = draw(st.permutations(sorted(draft.steps)))
    return {"name": "generated", "start_step": chain[0], "steps": {step_id: draft.steps[step_id] for step_id in order}}


def _step_ids(options: Options) -> st.SearchStrategy[list[str]]:
    plain = [f"s{number}" for number in range(options.most_steps)]
    if not options.odd_ids:
        return st.just(plain)
    return st.lists(st.sampled_from(ODD_IDS), unique=True, max_size=6).map(lambda odd: odd + plain)


def _step(draft: _Draft, scope: _Scope) -> tuple[str, tuple[str, ...]]:
    """Draw a step with all that is in it; returns its id and the ids that steps after it may refer to."""
    step_id = draft.new_id()
    step: dict[str, Json] = {"id": step_id}
    draft.steps[step_id] = step
    kinds = ["agent"]
    if scope.depth < draft.options.deepest and draft.room() >= 2:
        kinds = ["agent", "agent", "parallel", "conditional", "loop", "fork_join"]
    kind = draft.draw(st.sampled_from(kinds))
    if kind != "agent" or draft.draw(st.booleans()):
        step["type"] = kind
    if kind == "agent" or draft.draw(st.integers(0, 3)) == 0:
        mapping = draft.draw(_mappings(draft, scope))
        if mapping is not None:
            step["input_mapping"] = mapping
    inner = _FILLERS[kind](draft, scope, step)
    return step_id, (step_id, *inner)


def _agent(draft: _Draft, _scope: _Scope, step: dict[str, Json]) -> tuple[str, ...]:
    step["agent_name"] = f"agent-{draft.draw(st.integers(1, 3))}"
    if draft.draw(st.integers(0, 9)) == 0:
        # Fields of other types are ignored, whatever is in them, as serializers of typed models write them.
        step |= {"parallel_steps": None, "loop_config": 7, "fork_join_config": {}, "condition": []}
    return ()


def _sequence(draft: _Draft, scope: _Scope, longest: int) -> tuple[list[str], tuple[str, ...]]:
    ids: list[str] = []
    exposed: tuple[str, ...] = ()
    for _ in range(draft.draw(st.integers(1, max(1, min(longest, draft.room()))))):
        step_id, shown = _step(draft, scope.after(exposed))
        ids.append(step_id)
        exposed += shown
        if draft.room() < 1:
            break
    return ids, exposed


def _parallel(draft: _Draft, scope: _Scope, step: dict[str, Json]) -> tuple[str, ...]:
    children = [_step(draft, scope.below()), _step(draft, scope.below())]
    while draft.room() > 0 and draft.draw(st.integers(0, 2)) == 0:
        children.append(_step(draft, scope.below()))
    step["parallel_steps"] = [child for child, _ in children]
    if draft.draw(st.booleans()):
        step["max_parallelism"] = draft.draw(st.sampled_from([1, 2, 3, None]))
    return tuple(shown for _, exposed in children for shown in exposed)


def _conditional(draft: _Draft, scope: _Scope, step: dict[str, Json]) -> tuple[str, ...]:
    step["condition"] = {"expression": draft.draw(conditions(_operands(draft, scope)))}
    given = draft.draw(st.sampled_from([("if_true_step",), ("if_false_step",), ("if_true_step", "if_false_step")]))
    exposed: tuple[str, ...] = ()
    for name in given:
        if draft.room() < 1 and exposed:
            break
        step[name], shown = _step(draft, scope.below())
        exposed += shown
    return exposed


def _loop(draft: _Draft, scope: _Scope, step: dict[str, Json]) -> tuple[str, ...]:
    draw = draft.draw
    config: dict[str, Json] = {"collection": draw(_collections(draft, scope))}
    mode = draw(st.sampled_from(["sequential", "parallel", None]))
    on_error = draw(st.sampled_from(["stop", "continue", "collect", None]))
    limit = draw(st.sampled_from([1, 2, 3, None]))
    if mode == "parallel" and on_error in ("stop", None) and not draft.options.order_matters:
        limit = None
    optional = {"execution_mode": mode, "on_error": on_error, "max_parallelism": limit}
    config |= {name: value for name, value in optional.items() if value is not None or draw(st.booleans())}
    if draw(st.integers(0, 2)) == 0:
        config["max_iterations"] = draw(st.integers(1, 3))
    config["loop_body"], _ = _sequence(draft, scope.below(in_loop=True), 3)
    step["loop_config"] = config
    # Each iteration has outputs of its own: from outside only the loop's output can be meant.
    return ()


def _fork_join(draft: _Draft, scope: _Scope, step: dict[str, Json]) -> tuple[str, ...]:
    draw = draft.draw
    names = draw(
        st.lists(st.sampled_from(["left", "lef", "right", "a/b", "x:y", "ü", "]"]), min_size=2, max_size=3, unique=True)
    )
    branches: dict[str, Json] = {}
    exposed: tuple[str, ...] = ()
    for name in names:
        if draft.room() < 1 and len(branches) >= 2:
            break
        ids, shown = _sequence(draft, scope.below(), 2)
        branches[name] = {"steps": ids}
        exposed += shown
        if draft.options.time_outs and draw(st.booleans()):
            branches[name]["timeout_seconds"] = draw(st.sampled_from([5, 10.5, 60]))
    policy = draw(st.sampled_from(["all", "any", "majority", "n_of_m"]))
    config: dict[str, Json] = {"branches": branches, "join_policy": policy}
    if policy == "n_of_m":
        config["n_required"] = draw(st.integers(1, len(branches)))
    if draft.options.time_outs and draw(st.booleans()):
        config["branch_timeout_seconds"] = draw(st.sampled_from([7, 30, None]))
    step["fork_join_config"] = config
    return exposed


_FILLERS: dict[str, Callable[[_Draft, _Scope, dict[str, Json]], tuple[str, ...]]] = {
    "agent": _agent,
    "parallel": _parallel,
    "conditional": _conditional,
    "loop": _loop,
    "fork_join": _fork_join,
}


# references


def _can_be_braced(step_id: str) -> bool:
    return not (set("{}") & set(step_id)) and not step_id.startswith(("workflow.input", "loop."))


def _references(draft: _Draft, scope: _Scope, *, whole: bool) -> st.SearchStrategy[str]:
    """Text of references that are legal in a scope; `whole` allows the quick start's syntax, which stands alone."""
    missing = MISSING_PATHS[:2] if draft.options.missing_paths else ()
    # About one in fourteen leads nowhere.
    paths_in, paths_out = [*INPUT_PATHS * 3, *missing], [*OUTPUT_PATHS * 3, *missing]
    forms = [st.sampled_from(paths_in).map(lambda path: f"${{workflow.input{path}}}")]
    braced = [step_id for step_id in scope.ended if _can_be_braced(step_id)]
    if braced:
        forms.append(st.builds(lambda i, p: f"${{{i}.output{p}}}", st.sampled_from(braced), st.sampled_from(paths_out)))
    if scope.in_loop:
        forms.append(st.sampled_from(["item", "index", "total", "is_first", "is_last"]).map(lambda v: f"${{loop.{v}}}"))
    if whole:
        forms.append(st.sampled_from(paths_in).map(lambda path: f"$.workflow_input{path}"))
        bare = [step_id for step_id in scope.ended if not step_id.startswith("workflow_input")]
        if bare:
            forms.append(
                st.builds(lambda i, p: f"$.{i}.output_data{p}", st.sampled_from(bare), st.sampled_from(paths_out))
            )
    return st.one_of(forms)


def _mappings(draft: _Draft, scope: _Scope) -> st.SearchStrategy[dict[str, Json] | None]:
    whole = _references(draft, scope, whole=True)
    embedded = _references(draft, scope, whole=False)
    texts = st.builds(
        lambda a, r, b: f"{a}{r}{b}",
        st.sampled_from(["", "x ", "$.", "${"]),
        embedded,
        st.sampled_from([" y", "$", "}"]),
    )
    leaves = st.one_of(whole, whole, texts, literals)
    values = st.one_of(
        leaves, st.lists(leaves, max_size=2), st.dictionaries(st.sampled_from(["k", "$"]), leaves, max_size=2)
    )
    return st.none() | st.dictionaries(st.sampled_from(["a", "b", "ü"]), values, max_size=2)


def _collections(draft: _Draft, scope: _Scope) -> st.SearchStrategy[Json]:
    lists = ["${workflow.input.items}", "$.workflow_input.nested.list"]
    lists += [f"${{{step_id}.output.items}}" for step_id in scope.ended if _can_be_braced(step_id)]
    literal = st.lists(st.one_of(scalars, _references(draft, scope, whole=True)), max_size=3)
    mistaken = [_references(draft, scope, whole=True)] if draft.options.missing_paths else []
    return st.one_of(st.sampled_from(lists), st.sampled_from(lists), literal, *mistaken)


# conditions


def _operands(draft: _Draft, scope: _Scope) -> st.SearchStrategy[str]:
    literal = st.sampled_from(
        ["0", "1", "-2", "0.5", "1e1", '"a"', "'hello'", "true", "false", "null", "[]", "[1, 'a']"]
    )
    return st.one_of(_references(draft, scope, whole=False), literal)


_OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains"])


@st.composite
def conditions(draw: st.DrawFn, operands: st.SearchStrategy[str], deepest: int = 3) -> str:
    """An expression of the contract's grammar over the given operands, in text."""
    shapes = ["comparison", "comparison", "value"]
    if deepest:
        shapes += ["and", "or", "not", "parentheses"]
    shape = draw(st.sampled_from(shapes))
    inner = conditions(operands, deepest - 1)
    if shape == "value":
        return _measured(draw, operands)
    if shape == "comparison":
        return f"{_measured(draw, operands)} {draw(_OPERATORS)} {_measured(draw, operands)}"
    if shape == "not":
        return f"not {draw(inner)}"
    if shape == "parentheses":
        return f"({draw(inner)})"
    return f"{draw(inner)} {shape} {draw(inner)}"


def _measured(draw: st.DrawFn, operands: st.SearchStrategy[str]) -> str:
    operand = draw(operands)
    return f"len({operand})" if draw(st.integers(0, 3)) == 0 else operand


# agents


@st.composite
def behaviours(draw: st.DrawFn, definition: Mapping[str, Json], rounds: int = 1) -> Behaviour:
    """Agents for a definition: most steps succeed, some fail, some fail for some inputs only."""
    ids = sorted(definition["steps"])
    some = st.frozensets(st.sampled_from(ids), max_size=2)
    return Behaviour(
        seed=draw(st.integers(0, 1000)),
        failing=draw(st.dictionaries(st.sampled_from(ids), st.integers(1, rounds), max_size=1)),
        picky=draw(some),
        silent=draw(st.frozensets(st.sampled_from(ids), max_size=1)),
        rounds=rounds,
    )


@dataclass(frozen=True)
class Case:
    """A definition with an input and with agents for its steps."""

    definition: dict[str, Json]
    input_data: dict[str, Json]
    behaviour: Behaviour


@st.composite
def cases(draw: st.DrawFn, options: Options = Options(), rounds: int = 1) -> Case:
    """A whole case. Agents that fail come to their senses after `rounds` retries."""
    definition = draw(definitions(options))
    return Case(definition, draw(inputs()), draw(behaviours(definition, rounds)))
