"""Values drawn from a JSON Schema: the part of 2020-12 that inputs are described with.

hypothesis-jsonschema would know more of the language, but reaches into Hypothesis' insides: its last release (0.23.1) fails
with current ones on every schema of an object. What is not understood here is refused when the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from harness.document import did_you_mean

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    Simple = Callable[[str, Mapping[str, Any]], SearchStrategy[Any]]

_ANNOTATIONS: Final = ("$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples")
_UNDERSTOOD: Final = (
    "type", "enum", "const", "anyOf", "oneOf", "$ref", "properties", "required", "additionalProperties", "minProperties",
    "maxProperties", "items", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip
_TYPE_OF: Final = {
    "properties": "object", "required": "object", "items": "array", "minItems": "array", "minLength": "string",
    "pattern": "string", "minimum": "number", "maximum": "number",
}  # fmt: skip
_MOST_ENTRIES: Final = 5


def of_schema(schema: Any, simple: Simple) -> SearchStrategy[Any]:
    """A strategy for values that the schema allows; `simple` gives the strategies of a name and its arguments.

    Raises:
        ValueError: the schema is none, or uses what is not understood.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "".join(f"/{part}" for part in error.absolute_path)
        raise ValueError(f"at '{place}' of the schema: {error.message}") from error
    drawn = _Drawing(schema, simple)
    return drawn.of(schema).filter(Draft202012Validator(schema).is_valid)


class _Drawing:
    def __init__(self, root: Any, simple: Simple) -> None:
        self._root = root
        self._simple = simple
        self._targets: dict[str, SearchStrategy[Any]] = {}

    def of(self, schema: Any) -> SearchStrategy[Any]:
        """Values that the schema most likely allows; the whole is judged by a validator in the end."""
        from hypothesis import strategies as st

        if isinstance(schema, bool):
            return self._simple("json", {}) if schema else st.nothing()
        for keyword in schema:
            if keyword not in _UNDERSTOOD and keyword not in _ANNOTATIONS:
                known = ", ".join(_UNDERSTOOD)
                near = did_you_mean(keyword, _UNDERSTOOD)
                raise ValueError(f"the keyword '{keyword}' is not understood; expected one of {known}{near}")
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "$ref" in schema:
            return self._of_reference(schema["$ref"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                shared = {key: value for key, value in schema.items() if key != choice}
                return st.one_of(
                    [
                        self.of({**shared, **part}) if isinstance(part, dict) else self.of(part)
                        for part in schema[choice]
                    ]
                )
        return self._of_types(schema)

    def _of_reference(self, reference: str) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        name = reference.removeprefix("#/$defs/")
        definitions = self._root.get("$defs", {})
        if name not in definitions:
            raise ValueError(
                f"the reference '{reference}' leads nowhere; expected '#/$defs/...'{did_you_mean(name, definitions)}"
            )
        if name not in self._targets:
            # Noted before it is made, so that a schema may hold itself.
            made: list[SearchStrategy[Any]] = []
            self._targets[name] = st.deferred(lambda: made[0])
            made.append(self.of(definitions[name]))
        return self._targets[name]

    def _of_types(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        written = schema.get("type") or next((kind for key, kind in _TYPE_OF.items() if key in schema), None)
        if written is None:
            return self._simple("json", {})
        kinds = [written] if isinstance(written, str) else written
        by_kind: dict[str, Callable[[], SearchStrategy[Any]]] = {
            "null": st.none,
            "boolean": st.booleans,
            "integer": lambda: self._of_integers(schema),
            "number": lambda: self._of_numbers(schema),
            "string": lambda: self._of_texts(schema),
            "array": lambda: self._of_lists(schema),
            "object": lambda: self._of_objects(schema),
        }
        return st.one_of([by_kind[kind]() for kind in kinds])

    def _of_integers(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        bounds = {}
        for key, bound, exclusive, step in (
            ("min_value", "minimum", "exclusiveMinimum", 1),
            ("max_value", "maximum", "exclusiveMaximum", -1),
        ):
            limits = [schema[bound]] if bound in schema else []
            limits += [schema[exclusive] + step] if exclusive in schema else []
            if limits:
                limit = max(limits) if step > 0 else min(limits)
                bounds[key] = -(-limit // 1) if step > 0 else limit // 1
        return self._simple("integers", {key: int(value) for key, value in bounds.items()})

    def _of_numbers(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        bounds = {}
        if least := [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]:
            bounds["min_value"] = max(least)
        if most := [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]:
            bounds["max_value"] = min(most)
        return self._simple("floats", bounds)

    def _of_texts(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        sizes = {
            key: schema[name] for key, name in (("min_size", "minLength"), ("max_size", "maxLength")) if name in schema
        }
        if "pattern" in schema:
            return self._simple("regex", {"pattern": schema["pattern"]})
        return self._simple("text", sizes)

    def _of_lists(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, _MOST_ENTRIES))
        elements = self.of(schema.get("items", True))
        sizes = {"min_size": least, "max_size": most, "unique": schema.get("uniqueItems", False)}
        return self._simple("lists", {"elements": elements, **sizes})

    def _of_objects(self, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        properties: Mapping[str, Any] = schema.get("properties", {})
        further = schema.get("additionalProperties", True)
        required = schema.get("required", ())
        always = {name: self.of(properties.get(name, further)) for name in required}
        perhaps = {name: self.of(part) for name, part in properties.items() if name not in required}
        named = st.fixed_dictionaries(always, optional=perhaps)
        if further is False or (further is True and properties):
            return named
        least = max(0, schema.get("minProperties", 0) - len(always))
        most = schema.get("maxProperties", max(least, _MOST_ENTRIES))
        sizes = {"min_size": least, "max_size": max(least, most - len(always) - len(perhaps))}
        others = self._simple("dictionaries", {"keys": {"text": {"max_size": 10}}, "values": self.of(further), **sizes})
        return st.builds(lambda one, other: {**other, **one}, named, others)
