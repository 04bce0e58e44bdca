"""The commands that `plumbline up` prints to try the executor with; they work as they stand, in one shell."""

from __future__ import annotations

_MEMBER = "python3 -c 'import json, sys; print(json.load(sys.stdin){path})'"
_JSON = "-H 'Content-Type: application/json'"


def quick_start(api_url: str) -> str:
    """A shell script: create a workflow, execute it, look at the run and its steps, cancel another run."""
    workflow_id = _MEMBER.format(path='["items"][0]["id"]')
    run_id = _MEMBER.format(path='["run_id"]')
    return f"""\
API={api_url}/api/v1

# Create a workflow of one step, and take its id
curl -sS -w '\\n' -X POST $API/workflows {_JSON} -d '{{
  "name": "greeting", "start_step": "greet",
  "steps": {{"greet": {{"id": "greet", "type": "agent", "agent_name": "echo-agent", "next_step": null,
    "input_mapping": {{"text": "$.workflow_input.message", "delay_seconds": "$.workflow_input.delay_seconds"}}}}}}}}'
WORKFLOW=$(curl -sS "$API/workflows?name=greeting" | {workflow_id})

# Execute it, and take the run's id
RUN=$(curl -sS -X POST $API/workflows/$WORKFLOW/execute {_JSON} \\
  -d '{{"input_data": {{"message": "hello", "delay_seconds": 0}}}}' | {run_id})

# Look at the run, and at its steps
curl -sS -w '\\n' $API/runs/$RUN
curl -sS -w '\\n' $API/runs/$RUN/steps

# Cancel a run that would take a minute
RUN=$(curl -sS -X POST $API/workflows/$WORKFLOW/execute {_JSON} \\
  -d '{{"input_data": {{"message": "slow", "delay_seconds": 60}}}}' | {run_id})
curl -sS -w '\\n' -X POST $API/runs/$RUN/cancel {_JSON} -d '{{"reason": "trying it out"}}'
"""
