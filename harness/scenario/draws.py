"""Draws: Hypothesis strategies by name, as a scenario file writes them.

All that is drawn is JSON that every part of the family can hold: no NaN, no infinity, whole numbers that a double holds
exactly, no lone surrogates, and no U+0000, which PostgreSQL refuses (unless an `alphabet` asks for it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MOST_INTEGER: Final = 2**53
"""Whole numbers between minus this and this are exact as doubles."""

Place = tuple[str | int, ...]


def strategy(draws: Mapping[str, Any]) -> SearchStrategy[dict[str, Any]]:
    """A strategy for a mapping of every draw's name to a value.

    Raises:
        ValueError: a strategy's arguments contradict each other.
    """
    from hypothesis import strategies as st

    return st.fixed_dictionaries({name: strategy_of(written) for name, written in draws.items()})


def strategy_of(written: Any) -> SearchStrategy[Any]:
    """The strategy that one entry of a file names; a strategy is taken as it is."""
    if not isinstance(written, (str, Mapping)):
        made: SearchStrategy[Any] = written
        return made
    if isinstance(written, str):
        written = {written: {}}
    ((name, arguments),) = written.items()
    return _STRATEGIES[name](arguments)


def draw_mistakes(draws: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """(place, message) of every draw that can give no value."""
    if not draws:
        return
    from hypothesis.errors import HypothesisException

    for name, written in draws.items():
        try:
            drawn = strategy_of(written)
            drawn.validate()
            if drawn.is_empty:
                yield (name,), "no value can be drawn so: nothing fits"
        except (HypothesisException, ValueError, TypeError) as error:
            yield (name,), f"no value can be drawn so: {' '.join(str(error).split())}"


def _integers(arguments: Mapping[str, Any]) -> SearchStrategy[int]:
    from hypothesis import strategies as st

    least, most = arguments.get("min_value"), arguments.get("max_value")
    least = min(-MOST_INTEGER, most if most is not None else 0) if least is None else least
    most = max(MOST_INTEGER, least) if most is None else most
    return st.integers(least, most)


def _floats(arguments: Mapping[str, Any]) -> SearchStrategy[float]:
    from hypothesis import strategies as st

    return st.floats(**arguments, allow_nan=False, allow_infinity=False)


def _text(arguments: Mapping[str, Any]) -> SearchStrategy[str]:
    from hypothesis import strategies as st

    sizes = {key: value for key, value in arguments.items() if key != "alphabet"}
    return st.text(arguments.get("alphabet") or _characters(), **sizes)


def _characters() -> SearchStrategy[str]:
    from hypothesis import strategies as st

    return st.characters(codec="utf-8", exclude_characters="\0")


def _lists(arguments: Mapping[str, Any]) -> SearchStrategy[list[Any]]:
    from hypothesis import strategies as st

    sizes = {key: value for key, value in arguments.items() if key in ("min_size", "max_size")}
    unique_by = _canonical if arguments.get("unique") else None
    return st.lists(strategy_of(arguments["elements"]), unique_by=unique_by, **sizes)


def _dictionaries(arguments: Mapping[str, Any]) -> SearchStrategy[dict[str, Any]]:
    from hypothesis import strategies as st

    sizes = {key: value for key, value in arguments.items() if key in ("min_size", "max_size")}
    keys = strategy_of(arguments["keys"]).map(lambda key: key if isinstance(key, str) else _canonical(key))
    return st.dictionaries(keys, strategy_of(arguments["values"]), **sizes)


def _json(arguments: Mapping[str, Any]) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    scalars = st.none() | st.booleans() | _integers({}) | _floats({}) | _text({})
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_text({"max_size": 10}), inner, max_size=5),
        max_leaves=arguments.get("max_leaves", 10),
    )


def _schema(schema: Any) -> SearchStrategy[Any]:
    from harness.scenario.schema_draws import of_schema

    return of_schema(
        schema, lambda name, arguments: _regex(arguments) if name == "regex" else _STRATEGIES[name](arguments)
    )


def _regex(arguments: Mapping[str, Any]) -> SearchStrategy[str]:
    from hypothesis import strategies as st

    return st.from_regex(arguments["pattern"], alphabet=_characters())


def _values(_: Any) -> SearchStrategy[Any]:
    from harness.generation import values

    return values()


def _workflows(arguments: Mapping[str, Any]) -> SearchStrategy[Any]:
    from harness.generation import Size, workflows

    return workflows(Size(**arguments))


def _invalid_workflows(arguments: Mapping[str, Any]) -> SearchStrategy[Any]:
    from harness.generation import Size
    from harness.generation.invalid import WAYS, invalid_workflows

    ways = arguments.get("ways")
    if ways is not None and (unknown := [way for way in ways if way not in WAYS]):
        raise ValueError(f"expected some of {', '.join(map(repr, WAYS))}, found {unknown[0]!r}")
    size = Size(**{key: value for key, value in arguments.items() if key == "most_steps"})
    return invalid_workflows(size, tuple(ways) if ways is not None else None).map(vars)


def _canonical(value: Any) -> str:
    import json

    return json.dumps(value, sort_keys=True)


def _simple(name: str) -> Callable[[Any], SearchStrategy[Any]]:
    def made(_: Any) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        made_by: Callable[[], SearchStrategy[Any]] = getattr(st, name)
        return made_by()

    return made


def _of_value(name: str) -> Callable[[Any], SearchStrategy[Any]]:
    def made(value: Any) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        made_by: Callable[[Any], SearchStrategy[Any]] = getattr(st, name)
        return made_by(value)

    return made


def _one_of(parts: Any) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    return st.one_of([strategy_of(part) for part in parts])


_STRATEGIES: Final[Mapping[str, Callable[[Any], SearchStrategy[Any]]]] = {
    "integers": _integers,
    "floats": _floats,
    "text": _text,
    "booleans": _simple("booleans"),
    "none": _simple("none"),
    "just": _of_value("just"),
    "sampled_from": _of_value("sampled_from"),
    "one_of": _one_of,
    "lists": _lists,
    "dictionaries": _dictionaries,
    "fixed_dictionaries": strategy,
    "json": _json,
    "schema": _schema,
    "values": _values,
    "workflows": _workflows,
    "invalid_workflows": _invalid_workflows,
}
