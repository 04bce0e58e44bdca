"""Whole runs: the outcome is the contract's, whatever the order of arrival, and no disorder breaks an invariant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.engine.interpretation import interpret
from tests.engine.simulation import Simulation, key_of
from tests.engine.strategies import Case, Options, cases

SEEDS = st.integers(0, 2**32)


@given(cases(), SEEDS)
def test_the_outcome_is_what_the_contract_says(case: Case, seed: int) -> None:
    """Statuses, inputs and outputs of every step are those of the plain interpretation."""
    simulation = Simulation(case, seed)
    simulation.start()
    simulation.run_to_end()
    status, executions = interpret(case.definition, case.input_data, case.behaviour, wording=simulation.wording())
    assert simulation.executions() == executions
    assert simulation.state.status == status


@given(cases(), SEEDS, SEEDS)
def test_the_order_of_results_leaves_no_trace(case: Case, one_seed: int, other_seed: int) -> None:
    """Two orders of delivery give equal statuses, inputs, outputs and messages."""
    outcomes = []
    for seed in (one_seed, other_seed):
        simulation = Simulation(case, seed, checked=False)
        simulation.start()
        simulation.run_to_end()
        outcomes.append(simulation.outcome())
    assert outcomes[0] == outcomes[1]


@given(cases(), SEEDS, st.integers(1, 4))
def test_deaths_and_copies_change_no_outcome(case: Case, seed: int, period: int) -> None:
    """A run that is read back from its rows again and again, and hears things twice, ends as one that is not."""
    calm = Simulation(case, seed, checked=False)
    calm.start()
    calm.run_to_end()
    troubled = Simulation(case, seed + 1)
    troubled.start()
    count = 0
    while troubled.state.status == "RUNNING":
        troubled.answer_any()
        count += 1
        if count % period == 0:
            troubled.die()
            troubled.repeat_any()
    assert troubled.outcome() == calm.outcome()


@given(cases(Options(order_matters=True, time_outs=True), rounds=2), SEEDS, st.integers(0, 80))
def test_no_disorder_breaks_an_invariant_and_every_run_ends(case: Case, seed: int, events: int) -> None:
    """Duplicates, late and foreign results, cancellations, retries, time-outs, deaths and clocks that jump."""
    simulation = Simulation(case, seed)
    simulation.start()
    simulation.live(events)
    assert simulation.state.status in ("COMPLETED", "FAILED", "CANCELLED")


@given(cases(rounds=1), SEEDS)
def test_a_retry_goes_on_from_what_is_completed(case: Case, seed: int) -> None:
    """After a failure and a retry the outcome is the interpretation's in which COMPLETED steps count on."""
    simulation = Simulation(case, seed)
    simulation.start()
    simulation.run_to_end()
    if simulation.state.status == "FAILED":
        before = simulation.executions()
        simulation.retry()
        simulation.run_to_end()
        status, executions = interpret(
            case.definition, case.input_data, case.behaviour, 1, before, simulation.wording()
        )
        assert simulation.executions() == executions
        assert simulation.state.status == status


@given(cases(), SEEDS, st.integers(0, 12), st.booleans())
def test_a_cancelled_run_can_be_retried(case: Case, seed: int, answers: int, counted: bool) -> None:
    """After a cancellation at any point and a retry the outcome is the interpretation's in which COMPLETED counts on."""
    simulation = Simulation(case, seed)
    simulation.start()
    for _ in range(answers):
        if simulation.state.status == "RUNNING":
            simulation.answer_any()
    if simulation.state.status == "RUNNING":
        simulation.cancel()
        before = simulation.executions()
        simulation.retry(counted=counted)
        simulation.run_to_end()
        status, executions = interpret(
            case.definition, case.input_data, case.behaviour, 1, before, simulation.wording()
        )
        ran = {key: execution for key, execution in simulation.executions().items() if execution.status != "CANCELLED"}
        assert ran == executions
        assert simulation.state.status == status


@given(cases(rounds=1), SEEDS, st.data())
def test_resume_from_step_runs_it_and_what_follows_again(case: Case, seed: int, data: st.DataObject) -> None:
    """What lies before the step keeps its outputs; the step and all after it run as new attempts."""
    simulation = Simulation(case, seed)
    simulation.start()
    simulation.run_to_end()
    if simulation.state.status == "FAILED":
        definition = simulation.state.definition
        assert definition is not None
        reached = [step_id for step_id in definition.chain if any(k[0][0] == step_id for k in simulation.executions())]
        resumed = data.draw(st.sampled_from(reached))
        again = set(definition.chain[definition.chain.index(resumed) :])
        before = {key: execution for key, execution in simulation.executions().items() if key[0][0] not in again}
        old_tasks = set(simulation.tasks)
        simulation.retry(resumed)
        simulation.run_to_end()
        status, executions = interpret(
            case.definition, case.input_data, case.behaviour, 1, before, simulation.wording()
        )
        assert simulation.executions() == executions
        assert simulation.state.status == status
        for record in simulation.state.steps.values():
            if key_of(simulation.state, record)[0][0] in again:
                assert record.task_id not in old_tasks
