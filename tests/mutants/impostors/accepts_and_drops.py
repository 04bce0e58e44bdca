"""Sets the run RUNNING, commits the offset, and forgets it."""

from tests.mutants.impostors import wire

if __name__ == "__main__":
    rows = wire.database()
    for request in wire.requests():
        wire.write_run(rows, request, "RUNNING")
