"""An executor that can be put under test, as its subject file describes it, and its running processes.

>>> with Subject.load(path).start(stack, counts={"consumer": 3}) as running:
...     running.role("consumer")[0].kill()
...     running.role("consumer").add()

Nothing here knows in which language the subject is written.
"""

from harness.document import Document, Mistake, MistakesFound, read_document
from harness.subject.binding import RUN_COLUMNS, STEP_COLUMNS, TOPICS, Binding
from harness.subject.description import (
    ROLES,
    STEP_TYPES,
    Command,
    Description,
    HttpReady,
    KafkaGroupReady,
    KnownFailure,
    LogReady,
    Ready,
    RoleDescription,
    RoleName,
)
from harness.subject.errors import NoSuchRole, NotReady, ProcessDied, SubjectError
from harness.subject.process import RoleProcess
from harness.subject.running import RunningRole, RunningSubject
from harness.subject.subject import Subject

__all__ = [
    "ROLES",
    "RUN_COLUMNS",
    "STEP_COLUMNS",
    "STEP_TYPES",
    "TOPICS",
    "Binding",
    "Command",
    "Description",
    "Document",
    "HttpReady",
    "KafkaGroupReady",
    "KnownFailure",
    "LogReady",
    "Mistake",
    "MistakesFound",
    "NoSuchRole",
    "NotReady",
    "ProcessDied",
    "Ready",
    "RoleDescription",
    "RoleName",
    "RoleProcess",
    "RunningRole",
    "RunningSubject",
    "Subject",
    "SubjectError",
    "read_document",
]
