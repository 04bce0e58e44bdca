"""Every mutant really differs from the reference: it does something else on a battery of small cases.

The battery needs no Kafka; what a mutant does differently between messages and rows alone is shown on a real
PostgreSQL (`witness_loop`).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator

import pytest

from tests.mutants.catalogue import MUTANTS, VARIANTS
from tests.mutants.mutant import Mutant, Variant
from tests.mutants.patching import applied

Transcript = Callable[[], dict[str, str]]

# What these do differently shows only in processes, with Kafka between them; `nox -s mutants` shows it.
ONLY_IN_PROCESSES = frozenset(
    (
        "outbox-never-swept",
        "accepted-before-durable",
        "request-before-the-row",
        "one-run-at-a-time",
        "hindered-messages-set-aside",
        "log-backwards",
        "delivered-without-an-offset",
    )
)
NEEDS_ROWS = frozenset(
    (
        "one-failure-fails-all", "cancellation-messages-ignored", "task-after-cancellation", "late-result-applied",
        "second-cancellation-counts", "runs-of-the-dead-are-strangers", "completed-steps-again-after-a-death",
        "random-ids-after-a-death", "offset-committed-before-the-rows", "first-of-a-batch-only",
        "copy-of-a-request-starts-again", "last-result-counts", "results-after-the-end-applied",
        "late-results-of-a-branch-applied", "result-by-task-id-alone", "poison-blocks-its-partition", "poison-vanishes",
        "time-outs-die-with-their-process", "tasks-before-the-rows", "updates-before-the-rows", "updates-backwards",
        "updates-of-late-results",
    )
)  # fmt: skip
PURE = [mutant for mutant in MUTANTS if mutant.name not in NEEDS_ROWS | ONLY_IN_PROCESSES]


@pytest.fixture(scope="module")
def witnesses() -> Iterator[dict[str, Transcript]]:
    for role in ("api", "consumer", "bridge"):
        importlib.import_module(f"system.{role}.service")
    from tests.mutants import witness_api, witness_bridge, witness_runs

    logging.disable(logging.CRITICAL)
    yield {
        "api": witness_api.transcript,
        "consumer": witness_runs.transcript,
        "bridge": witness_bridge.transcript,
    }
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def reference(witnesses: dict[str, Transcript]) -> dict[str, dict[str, str]]:
    return {role: transcript() for role, transcript in witnesses.items()}


def test_the_reference_does_the_same_each_time(
    witnesses: dict[str, Transcript], reference: dict[str, dict[str, str]]
) -> None:
    """Otherwise every mutant would differ."""
    for role, transcript in witnesses.items():
        assert transcript() == reference[role]


def test_no_case_of_the_battery_ends_in_a_mistake_of_its_own(reference: dict[str, dict[str, str]]) -> None:
    mistakes = ("TypeError", "AttributeError", "KeyError", "NameError", "AssertionError", "IllegalTransition")
    assert [
        (case, told[:200]) for of in reference.values() for case, told in of.items() if told.startswith(mistakes)
    ] == []


@pytest.mark.parametrize("mutant", PURE, ids=lambda mutant: mutant.name)
def test_a_mutant_does_something_else(
    mutant: Mutant, witnesses: dict[str, Transcript], reference: dict[str, dict[str, str]]
) -> None:
    with applied(mutant.patches):
        different = [role for role in mutant.roles if witnesses[role]() != reference[role]]
    assert different != []


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_decides_as_the_reference_does(
    variant: Variant, witnesses: dict[str, Transcript], reference: dict[str, dict[str, str]]
) -> None:
    with applied(variant.patches):
        assert {role: witnesses[role]() for role in variant.roles} == {role: reference[role] for role in variant.roles}


def test_the_exceptions_are_mutants() -> None:
    assert {mutant.name for mutant in MUTANTS} >= NEEDS_ROWS | ONLY_IN_PROCESSES
