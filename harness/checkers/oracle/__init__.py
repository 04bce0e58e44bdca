"""What may come out of each step of an observed run, recomputed from its plan, its input and the outputs recorded.

Built on `harness.oracle`, which has the contract's references, conditions and composites.
"""
