"""Everything from nothing: `python3 bootstrap.py -s tests` makes an environment with nox and runs nox in it.

Needs Python 3.11 or newer and nothing else; works where the system's Python refuses installs, and where Debian left
venv's half out. Arguments go to nox as they are.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".nox" / ".bootstrap"
REQUIREMENTS = ["nox[uv]==2026.10.20"]


def run(*command: object) -> bool:
    """Run a command, its output on standard error; whether it succeeded."""
    return subprocess.run([str(part) for part in command], stdout=sys.stderr, check=False).returncode == 0


def create_environment(target: Path) -> None:
    """An environment with pip, by venv, or by virtualenv where venv is not whole."""
    shutil.rmtree(target, ignore_errors=True)
    quiet = subprocess.run([sys.executable, "-m", "venv", str(target)], capture_output=True, text=True, check=False)
    if quiet.returncode == 0:
        return
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        # An install into a folder of its own touches nothing of the system, so that no Python refuses it.
        if not run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "virtualenv>=20.26,<22"):
            sys.exit(f"Neither venv nor pip works with {sys.executable}; venv said:\n{quiet.stdout}{quiet.stderr}")
        search_path = {**os.environ, "PYTHONPATH": folder}
        command = [sys.executable, "-m", "virtualenv", "--quiet", str(target)]
        if subprocess.run(command, env=search_path, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit("virtualenv could not make an environment; its message stands above")


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - said in words, where an older Python would fail on syntax
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try python3.11, 3.12 or 3.13.")
    mark = ENVIRONMENT / "requirements"
    python = ENVIRONMENT / "bin" / "python"
    wanted = "\n".join(REQUIREMENTS)
    if not (python.exists() and mark.exists() and mark.read_text() == wanted):
        print("Setting up nox ...", file=sys.stderr)
        create_environment(ENVIRONMENT)
        if not run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS):
            sys.exit("nox could not be installed; pip's message stands above. Is a package index within reach?")
        mark.write_text(wanted)
    # uv and nox stand beside that Python; found first there, nothing else of the machine matters.
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    os.chdir(ROOT)
    os.execve(python, [str(python), "-m", "nox", *sys.argv[1:]], {**os.environ, "PATH": path})


if __name__ == "__main__":
    main()
