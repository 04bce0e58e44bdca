"""Liars that the harness must catch, and legal oddities that it must let pass.

A *mutant* is the reference with one behaviour wrong in a known way; an *impostor* does not execute at all; a *variant*
behaves unusually within the contract. `python -m tests.mutants NAME ROLE` runs a role of a mutant or variant, and
`nox -s mutants` has the suite judge all of them.
"""
