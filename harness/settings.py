"""The one reader of the environment on the harness's side."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs

CACHE_DIRECTORY_VARIABLE = "PLUMBLINE_CACHE_DIR"


def cache_directory() -> Path:
    """Where downloads are kept between starts.

    ``PLUMBLINE_CACHE_DIR`` when it is set and not empty, else the user's cache directory of the platform.
    The directory need not exist yet.
    """
    chosen = os.environ.get(CACHE_DIRECTORY_VARIABLE, "")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return platformdirs.user_cache_path("plumbline")


API_URL_VARIABLE = "PLUMBLINE_API_URL"
DEFAULT_API_URL = "http://127.0.0.1:8000"
DEFAULT_KAFKA_IMAGE = "apache/kafka:4.1.0"
DEFAULT_POSTGRES_IMAGE = "postgres:16-alpine"
_HANDED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "JAVA_HOME",
    "GOPATH",
    "NODE_PATH",
    "VIRTUAL_ENV",
    "DOCKER_HOST",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
)


def handed_on(further: Iterable[str] = ()) -> dict[str, str]:
    """The variables of our environment that a subject's processes get, so that its programs are found and can run.

    Nothing else of it reaches them: a subject file says all that makes a difference. ``further`` names the ones that
    the subject asks for.
    """
    return {name: os.environ[name] for name in (*_HANDED_ON, *further) if name in os.environ}


def api_url() -> str:
    """Where the commands that speak to an API find it: ``PLUMBLINE_API_URL``, else port 8000 of the loopback."""
    return (os.environ.get(API_URL_VARIABLE, "").strip() or DEFAULT_API_URL).rstrip("/")


def external_stack() -> tuple[str, str]:
    """The addresses of a stack that somebody else runs: ``DATABASE_URL`` and ``KAFKA_BROKERS``.

    Raises:
        LookupError: one of them is not set; says which.
    """
    missing = [name for name in ("DATABASE_URL", "KAFKA_BROKERS") if not os.environ.get(name, "").strip()]
    if missing:
        raise LookupError(
            f"an external stack is known by DATABASE_URL and KAFKA_BROKERS; {' and '.join(missing)} not set"
        )
    return os.environ["DATABASE_URL"].strip(), os.environ["KAFKA_BROKERS"].strip()


def container_images() -> tuple[str, str]:
    """The images of Kafka and of PostgreSQL: ``KAFKA_IMAGE`` and ``POSTGRES_IMAGE``, as docker-compose.yml reads them."""
    return (
        os.environ.get("KAFKA_IMAGE", "").strip() or DEFAULT_KAFKA_IMAGE,
        os.environ.get("POSTGRES_IMAGE", "").strip() or DEFAULT_POSTGRES_IMAGE,
    )
