"""Watches Kafka, rows, REST and agents, and writes what it sees into the histories of the scenarios under way."""

from harness.observer.observer import Observer
from harness.observer.rest import Answer, RestRecorder
from harness.observer.scopes import NONCE_HEADER, Scope, Scopes
from harness.observer.tables import read_table

__all__ = ["NONCE_HEADER", "Answer", "Observer", "RestRecorder", "Scope", "Scopes", "read_table"]
