"""The oracle: what the contract says must come out, recomputed from a run's plan, input and recorded outputs.

Written from the clauses REF-*, CND-*, PAR-*, CON-*, LOP-* and FJN-*; it shares nothing with any executor.
"""
