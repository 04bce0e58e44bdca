"""A real Kafka and a real PostgreSQL for the system under test, and the faults that can be done to them.

- :class:`EmbeddedStack` starts both as child processes, on a machine with nothing but Python.
- :class:`ExternalStack` is one that somebody else runs, known by its addresses.
- :class:`Warden` ends what is left when this process dies, and can watch over further processes.
"""

from harness.stack.embedded import EmbeddedStack
from harness.stack.errors import (
    CacheNotWritable,
    DataDirectoryUnusable,
    DownloadFailed,
    LockUnreadable,
    NoJavaRuntime,
    NoNetwork,
    NoServerBinaries,
    NoSpace,
    NotInOurHands,
    NotReadyInTime,
    NotRunning,
    PortTaken,
    ServerDied,
    StackError,
)
from harness.stack.external import ExternalStack
from harness.stack.progress import ProgressDisplay, SilentProgress, progress_to
from harness.stack.stack import Part, Stack
from harness.stack.warden import Warden

__all__ = [
    "CacheNotWritable",
    "DataDirectoryUnusable",
    "DownloadFailed",
    "EmbeddedStack",
    "ExternalStack",
    "LockUnreadable",
    "NoJavaRuntime",
    "NoNetwork",
    "NoServerBinaries",
    "NoSpace",
    "NotInOurHands",
    "NotReadyInTime",
    "NotRunning",
    "Part",
    "PortTaken",
    "ProgressDisplay",
    "ServerDied",
    "SilentProgress",
    "Stack",
    "StackError",
    "Warden",
    "progress_to",
]
