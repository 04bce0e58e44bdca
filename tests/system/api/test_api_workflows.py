"""/workflows: creating, changing, listing and deleting definitions."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

Definition = Callable[..., dict[str, Any]]
WORKFLOWS = "/api/v1/workflows"


def test_a_created_workflow_is_given_back_as_it_was_sent(client: Any, definition: Definition) -> None:
    sent = definition("a", "b") | {"description": "two steps"}
    answer = client.post(WORKFLOWS, json=sent, headers={"X-User": "Zoë"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{WORKFLOWS}/{answer.json['id']}"
    read = client.get(answer.headers["Location"]).json
    assert {name: read[name] for name in sent} == sent
    assert (read["version"], read["status"], read["created_by"]) == (1, "active", "Zoë")
    assert read["workflow_id"] == f"wf-{sent['name']}-1"


def test_whole_numbers_beyond_64_bits_stay_exact(client: Any, definition: Definition) -> None:
    sent = definition()
    sent["steps"]["greet"]["input_mapping"] = {"n": 2**70, "m": -(10**300)}
    created = client.post(WORKFLOWS, json=sent).json
    assert client.get(f"{WORKFLOWS}/{created['id']}").json["steps"] == sent["steps"]


def test_every_mistake_of_a_definition_is_named_with_its_pointer(client: Any, definition: Definition) -> None:
    sent = definition("first", "second")
    sent["steps"]["first"]["next_step"] = "secnd"
    answer = client.post(WORKFLOWS, json=sent)
    assert answer.status_code == 422
    mistakes = {mistake["pointer"]: mistake for mistake in answer.json["errors"]}
    assert "secnd" in mistakes["/steps/first/next_step"]["message"]
    assert "second" in mistakes["/steps/first/next_step"]["suggestion"]
    assert client.get(WORKFLOWS, query_string={"name": sent["name"]}).json["total"] == 0


@pytest.mark.parametrize("body", [{}, {"name": "x"}, {"name": "", "start_step": "a", "steps": {}}, {"steps": []}])
def test_a_definition_that_lacks_what_it_must_have_is_refused(client: Any, body: dict[str, Any]) -> None:
    answer = client.post(WORKFLOWS, json=body)
    assert answer.status_code == 422
    assert answer.json["errors"]


def test_a_taken_name_is_refused_and_named(client: Any, workflow: dict[str, Any], definition: Definition) -> None:
    answer = client.post(WORKFLOWS, json=definition(name=workflow["name"]))
    assert answer.status_code == 409
    assert workflow["name"] in answer.json["detail"]
    assert answer.json["workflow_definition_id"] == workflow["id"]


def test_of_creations_with_one_name_at_once_exactly_one_succeeds(served: Any, definition: Definition) -> None:
    body, statuses, gate = definition(), [], threading.Barrier(6)

    def create() -> None:
        client = served.client()
        gate.wait()
        statuses.append(client.post(WORKFLOWS, json=body).status_code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]


def test_put_makes_the_next_version_and_keeps_the_one_before(
    client: Any, workflow: dict[str, Any], definition: Definition
) -> None:
    place = f"{WORKFLOWS}/{workflow['id']}"
    changed = client.put(place, json=definition("only", name=workflow["name"]), headers={"X-User": "ada"})
    assert changed.status_code == 200
    assert (changed.json["version"], changed.json["start_step"], changed.json["updated_by"]) == (2, "only", "ada")
    versions = client.get(f"{place}/versions").json
    assert [(entry["version"], entry["start_step"]) for entry in versions["items"]] == [(2, "only"), (1, "greet")]
    assert versions["total"] == 2


def test_puts_at_once_make_one_version_each(served: Any, workflow: dict[str, Any], definition: Definition) -> None:
    place, found = f"{WORKFLOWS}/{workflow['id']}", []

    def change() -> None:
        found.append(served.client().put(place, json=definition(name=workflow["name"])).json["version"])

    threads = [threading.Thread(target=change) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [2, 3, 4, 5, 6]
    assert served.client().get(f"{place}/versions").json["total"] == 6


def test_put_to_a_name_of_another_workflow_is_refused(
    client: Any, workflow: dict[str, Any], definition: Definition
) -> None:
    other = client.post(WORKFLOWS, json=definition()).json
    answer = client.put(f"{WORKFLOWS}/{other['id']}", json=definition(name=workflow["name"]))
    assert answer.status_code == 409
    assert client.get(f"{WORKFLOWS}/{other['id']}").json["version"] == 1


def test_a_version_of_a_row_that_others_wrote_is_not_lost_by_put(
    served: Any, client: Any, definition: Definition
) -> None:
    body, definition_id = definition("theirs"), str(uuid.uuid4())
    served.rows(
        "INSERT INTO workflow_definitions (id, name, workflow_data) VALUES (cast(:id AS uuid), :name, cast(:data AS jsonb))",
        id=definition_id,
        name=body["name"],
        data=json.dumps(body),
    )
    assert client.put(f"{WORKFLOWS}/{definition_id}", json=definition("ours")).status_code == 200
    versions = client.get(f"{WORKFLOWS}/{definition_id}/versions").json["items"]
    assert [entry["start_step"] for entry in versions] == ["ours", "theirs"]


def test_a_deleted_workflow_is_gone_and_its_name_is_free(
    client: Any, workflow: dict[str, Any], definition: Definition
) -> None:
    place = f"{WORKFLOWS}/{workflow['id']}"
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert client.put(place, json=definition()).status_code == 404
    assert client.delete(place).status_code == 404
    assert client.post(f"{place}/execute", json={}).status_code == 404
    assert client.get(f"{place}/versions").status_code == 404
    assert client.get(WORKFLOWS, query_string={"name": workflow["name"]}).json["items"] == []
    assert client.post(WORKFLOWS, json=definition(name=workflow["name"])).status_code == 201


def test_an_inactive_workflow_is_not_executed(served: Any, client: Any, workflow: dict[str, Any]) -> None:
    served.rows("UPDATE workflow_definitions SET status = 'inactive' WHERE id = cast(:id AS uuid)", id=workflow["id"])
    answer = client.post(f"{WORKFLOWS}/{workflow['id']}/execute", json={})
    assert answer.status_code == 409
    assert "inactive" in answer.json["detail"]


def test_pages_of_workflows_hold_each_once(client: Any, definition: Definition) -> None:
    created = {client.post(WORKFLOWS, json=definition()).json["id"] for _ in range(5)}
    seen: list[str] = []
    page, pages = 1, 1
    while page <= pages:
        answer = client.get(WORKFLOWS, query_string={"page": page, "page_size": 2}).json
        seen += [entry["id"] for entry in answer["items"]]
        page, pages = page + 1, answer["total_pages"]
    assert len(seen) == len(set(seen)) == answer["total"]
    assert created <= set(seen)
