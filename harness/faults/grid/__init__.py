"""The grid: every fault point of a workflow, each with every kind of fault, once and again during recovery."""
