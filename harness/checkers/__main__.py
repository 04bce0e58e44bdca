"""``python -m harness.checkers reference``: print the reference of the checkers."""

from __future__ import annotations

import sys

from harness.checkers import CHECKERS
from harness.checkers.reference import reference


def main(arguments: list[str]) -> int:
    """0 when the reference was printed, 2 for any other command line."""
    if arguments != ["reference"]:
        sys.stderr.write("usage: python -m harness.checkers reference\n")
        return 2
    sys.stdout.write(reference(CHECKERS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
