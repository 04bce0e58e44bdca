"""A real Kafka and a real PostgreSQL for the system under test, and the faults that can be done to them.

- :class:`EmbeddedStack` starts both as child processes, on a machine with nothing but Python.
- :class:`ContainerStack` starts both in containers, on a Docker engine of this machine.
- :class:`ExternalStack` is one that somebody else runs, known by its addresses; :class:`GuestStack` is such a one on which
  a session leaves nothing behind.
- :class:`Warden` ends what is left when this process dies, and can watch over further processes.
"""

from harness.stack.containers import ContainerStack
from harness.stack.embedded import EmbeddedStack
from harness.stack.errors import (
    CacheNotWritable,
    DataDirectoryUnusable,
    DownloadFailed,
    LockUnreadable,
    NamesInUse,
    NoEngine,
    NoImage,
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
from harness.stack.guest import GuestStack
from harness.stack.kafka import QUICK_JVM, STEADY_JVM
from harness.stack.progress import ProgressDisplay, SilentProgress, progress_to
from harness.stack.stack import Part, Stack
from harness.stack.warden import Warden

__all__ = [
    "QUICK_JVM",
    "STEADY_JVM",
    "CacheNotWritable",
    "ContainerStack",
    "DataDirectoryUnusable",
    "DownloadFailed",
    "EmbeddedStack",
    "ExternalStack",
    "GuestStack",
    "LockUnreadable",
    "NamesInUse",
    "NoEngine",
    "NoImage",
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
