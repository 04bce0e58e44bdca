"""The statements of the outbox and of advisory locks, carried out on tables in memory."""

from __future__ import annotations

from datetime import timedelta

from system.simulation.database.answers import Answer, Parameters
from system.simulation.database.tables import Blocked, Transaction


def new_entry(tx: Transaction, given: Parameters) -> int:
    entry_id = tx.database["outbox"].fresh_id()
    values = {"id": entry_id, "owner": given["owner"], "messages": given["messages"], "created_at": given["now()"]}
    tx.insert("outbox", entry_id, values)
    return entry_id


def insert_entry(tx: Transaction, given: Parameters) -> Answer:
    return ("id",), [(new_entry(tx, given),)], 1


def adopt(tx: Transaction, given: Parameters) -> Answer:
    before = given["now()"] - timedelta(seconds=given["takeover_seconds"])
    only = None if given["only"] is None else set(given["only"])
    taken = []
    for entry_id, entry in sorted(tx.all("outbox")):
        if entry["owner"] == given["mine"] or (only is not None and entry_id not in only):
            continue
        if not (entry["created_at"] < before or tx.try_lock(("owner", entry["owner"]))):
            continue
        if tx.is_held_by_another("outbox", entry_id):
            continue
        tx.hold("outbox", entry_id)
        taken.append((entry_id, entry))
        if len(taken) == given["limit"]:
            break
    for entry_id, entry in taken:
        tx.put("outbox", entry_id, {**entry, "owner": given["mine"], "created_at": given["now()"]})
    return ("id", "messages"), [(entry_id, entry["messages"]) for entry_id, entry in taken], len(taken)


def others(tx: Transaction, given: Parameters) -> Answer:
    kept = [(entry_id, tx.get("outbox", entry_id)) for entry_id in given["ids"]]
    return ("id",), [(i,) for i, entry in kept if entry is not None and entry["owner"] != given["mine"]], 0


def remove(tx: Transaction, given: Parameters) -> Answer:
    held = [entry_id for entry_id in given["ids"] if tx.get("outbox", entry_id) is not None]
    held = [entry_id for entry_id in held if tx.hold("outbox", entry_id) is not None]
    for entry_id in held:
        tx.put("outbox", entry_id, None)
    return (), (), len(held)


def lock_owner(tx: Transaction, given: Parameters) -> Answer:
    key = ("owner", given["owner"])
    holder = tx.database.advisory.get(key)
    if holder is not None and holder is not tx.session:
        raise Blocked(holder)
    tx.database.advisory[key] = tx.session
    tx.session.locks[key] = 1
    return ("pg_advisory_lock",), [("",)], 1


def unlock_owner(tx: Transaction, given: Parameters) -> Answer:
    key = ("owner", given["owner"])
    held = tx.session.locks.pop(key, None) is not None
    if held:
        del tx.database.advisory[key]
        tx.session.told()
    return ("pg_advisory_unlock",), [(held,)], 1


def try_slot(tx: Transaction, given: Parameters) -> Answer:
    key = ("slot", given["group_id"], given["number"])
    free = tx.database.advisory.setdefault(key, tx.session) is tx.session
    if free:
        tx.session.locks[key] = tx.session.locks.get(key, 0) + 1
    return ("pg_try_advisory_lock",), [(free,)], 1
