"""Joins the group and does nothing at all."""

from tests.mutants.impostors import wire

if __name__ == "__main__":
    for _ in wire.requests():
        pass
