"""Agents that the harness plays: scripted, several on one port, with a ledger of every call."""

from harness.agents.envelope import Breach, Envelope, read_envelope
from harness.agents.ledger import Call, Ledger
from harness.agents.samples import SAMPLES
from harness.agents.script import (
    Action,
    Body,
    Echo,
    Fail,
    Hang,
    Held,
    HttpStatus,
    Ok,
    Reset,
    RpcError,
    Script,
    Slow,
    Steps,
    always,
)
from harness.agents.server import AgentServer, CallListener

__all__ = [
    "SAMPLES",
    "Action",
    "AgentServer",
    "Body",
    "Breach",
    "Call",
    "CallListener",
    "Echo",
    "Envelope",
    "Fail",
    "Hang",
    "Held",
    "HttpStatus",
    "Ledger",
    "Ok",
    "Reset",
    "RpcError",
    "Script",
    "Slow",
    "Steps",
    "always",
    "read_envelope",
]
