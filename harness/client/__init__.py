"""A client of the contract's REST API (section 3), of whatever executor serves it."""

from harness.client.client import ApiClient
from harness.client.errors import ApiError, ApiRefused, ApiUnreachable, Mistake
from harness.client.shapes import TERMINAL, Accepted, Agent, AgentHealth, LogEntry, Page, Run, Step, Workflow

__all__ = [
    "TERMINAL",
    "Accepted",
    "Agent",
    "AgentHealth",
    "ApiClient",
    "ApiError",
    "ApiRefused",
    "ApiUnreachable",
    "LogEntry",
    "Mistake",
    "Page",
    "Run",
    "Step",
    "Workflow",
]
