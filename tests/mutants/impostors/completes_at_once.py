"""Writes COMPLETED at once and calls no agent."""

from tests.mutants.impostors import wire

if __name__ == "__main__":
    rows = wire.database()
    for request in wire.requests():
        wire.write_run(rows, request, "COMPLETED")
