"""Whatever comes in on any topic, the loop goes on and what is behind it is worked in."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.profiles import bounded

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Bench, Member

# Surrogates and U+0000 included; numbers beyond every type; NaN and infinities, which are no JSON.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**80), 10**80)
    | st.floats()
    | TEXTS
    | st.sampled_from(["${a.output.x}", "${workflow.input.x}", "$.a.output_data", "0001-01-01T00:00:00+23:59"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
BYTES = st.binary(max_size=20) | st.sampled_from([b"", b"null", b"1e999", b"[" * 3000, b'{"a":' * 1500])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            if isinstance(container[key], dict | list):
                waiting.append(container[key])
    return found


@st.composite
def spoiled(draw: st.DrawFn, sound: dict[str, Any]) -> bytes:
    """A sound message with one to three places changed, or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(BYTES)
    message = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(message)))
        if isinstance(container, dict) and draw(st.booleans()):
            del container[key]
            if not places(message):
                break
        else:
            container[key] = draw(VALUES)
    return json.dumps(message).encode()


@bounded(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_message_stops_the_loop_or_what_is_behind_it(
    bench: Bench, say: SimpleNamespace, data: st.DataObject
) -> None:
    with bench.temporary_member() as member:
        take_spoiled(bench, say, member, data)


def take_spoiled(bench: Bench, say: SimpleNamespace, member: Member, data: st.DataObject) -> None:
    running, behind = say.new_run_id(), say.new_run_id()
    member.take((say.REQUESTS, say.request(running, say.forked(60))))
    task = member.tasks(running)[0]
    sound = {
        say.REQUESTS: [
            say.request(say.new_run_id(), say.plan("a", "b")),
            say.request(say.new_run_id(), say.forked(60)),
        ],
        say.CANCELLATIONS: [say.cancellation(say.new_run_id())],
        say.RESULTS: [say.result(task), say.result(task, error="no")],
    }
    topics = data.draw(st.lists(st.sampled_from(sorted(sound)), min_size=1, max_size=8))
    messages = [(topic, data.draw(spoiled(data.draw(st.sampled_from(sound[topic]))))) for topic in topics]
    member.take(*messages, (say.REQUESTS, say.request(behind)))
    assert bench.rows.status(behind) == "RUNNING"
    read = {topic: topics.count(topic) + 2 * (topic == say.REQUESTS) for topic in {*topics, say.REQUESTS}}
    assert member.subscription.committed == {(topic, 0): count for topic, count in read.items()}
    for topic in sound:
        for letter in member.letters(topic):
            assert letter.value in [value for _, value in messages]
            assert dict(letter.headers)["reason"]
    for row in bench.rows.execute("SELECT status, error_message FROM workflow_runs"):
        assert (row["error_message"] is not None) == (row["status"] == "FAILED")
        assert "could not go on" not in (row["error_message"] or "")
