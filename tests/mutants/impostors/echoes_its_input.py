"""Writes every step of the chain as COMPLETED with its input as output, tells of it, and calls no agent."""

from __future__ import annotations

from tests.mutants.impostors import wire

_LONGEST_CHAIN = 1000

if __name__ == "__main__":
    rows, kafka = wire.database(), wire.producer()
    for request in wire.requests():
        run_id, plan = request["run_id"], request["workflow_plan"]
        steps, step_id = wire.object_or_empty(plan.get("steps")), str(plan.get("start_step"))
        wire.write_run(rows, request, "RUNNING")
        for _ in range(_LONGEST_CHAIN):
            step = steps.get(step_id)
            if not isinstance(step, dict) or not isinstance(step.get("id"), str):
                break
            wire.write_step(rows, run_id, step, request.get("input_data"))
            for status in ("RUNNING", "COMPLETED"):
                kafka.send(wire.UPDATES, key=run_id.encode(), value=wire.update(run_id, step["id"], status))
            step_id = str(step.get("next_step"))
        wire.write_run(rows, request, "COMPLETED")
