"""Build the sequential executor: python -m tests.subjects.sequential"""

import sys

from harness.stack import StackError
from tests.subjects.sequential.building import BuildFailed, build

if __name__ == "__main__":
    try:
        print(f"{build()} is ready.")
    except (StackError, BuildFailed) as error:
        sys.exit(str(error))
