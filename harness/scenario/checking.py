"""What the schema of scenario files cannot say: whether everything that is named exists, and is there in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import contract
from harness.document import Mistake, Place, did_you_mean
from harness.scenario import templates
from harness.scenario.acts import word_of
from harness.scenario.definitions import definition_mistakes
from harness.scenario.draws import draw_mistakes
from harness.scenario.names import RESERVED
from harness.scenario.parts import Parts
from harness.scenario.walk import Tell, Walk


def mistakes_of(parts: Parts) -> list[Mistake]:
    """Every mistake in a file that fits its schema, with parameters filled in."""
    mistakes: list[Mistake] = []

    def tell(place: Iterable[str | int], message: str, *, at_key: bool = False) -> None:
        mistakes.append(parts.mistake(tuple(place), message, at_key=at_key))

    walk = Walk(parts.data, tell)
    _clauses(parts, tell)
    _reserved_names(parts, tell)
    for place, message, at_key in definition_mistakes(parts.data):
        tell(place, message, at_key=at_key)
    for place, message in draw_mistakes(parts.data.get("draws", {})):
        tell(("draws", *place), message)
    walk.before_the_timeline()
    walk.timeline()
    walk.expectations()
    _something_is_expected(parts, tell)
    _unused(parts, tell)
    return mistakes


def _clauses(parts: Parts, tell: Tell) -> None:
    known = [clause.id for clause in contract.clauses()]
    for index, clause in enumerate(parts.data["clauses"]):
        if clause not in known:
            area, _, number = clause.partition("-")
            padded = f"{area.upper()}-{number:0>2}"
            near = f"; did you mean '{padded}'?" if padded in known else did_you_mean(clause, known)
            tell(
                ("clauses", index),
                f"expected the id of a clause of the contract, such as 'CMP-01', found '{clause}'{near}",
            )


def _reserved_names(parts: Parts, tell: Tell) -> None:
    for section in ("parameters", "draws"):
        for name in parts.data.get(section, {}):
            if name in RESERVED:
                tell(
                    (section, name), f"expected another name than '{name}', which means something already", at_key=True
                )
    for name in parts.data.get("draws", {}):
        if name in parts.data.get("parameters", {}):
            tell(("draws", name), f"expected another name than '{name}', which is a parameter", at_key=True)


def _something_is_expected(parts: Parts, tell: Tell) -> None:
    expected = any(parts.data.get("expect", {}).values())
    asked = any(word_of(entry) in ("rest", "wait") or "when" in entry for entry in parts.data["timeline"])
    if not expected and not asked:
        tell(
            ("expect",),
            "expected at least one expectation, found none: nothing could fail this scenario but the checkers",
        )


def _unused(parts: Parts, tell: Tell) -> None:
    """A name that nothing uses is most likely spelt otherwise where it is used."""
    own = parts.own.data
    variants: Mapping[str, Mapping[str, object]] = own.get("variants", {})
    places: list[Place] = [(section, name) for section in ("parameters", "draws") for name in own.get(section, {})]
    declared = set(parts.data.get("parameters", {}))
    places += [("variants", variant, name) for variant, values in variants.items() for name in declared & set(values)]
    used = {name.partition(".")[0] for _, name in templates.names(parts.written)}
    for place in places:
        if place[-1] not in used:
            tell(place, f"'{{{{{place[-1]}}}}}' is used nowhere", at_key=True)
