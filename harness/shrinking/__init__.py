"""What fails made smaller: what is tried on generated cases. Nothing here runs anything."""

from harness.shrinking.cases import smaller_cases

__all__ = ["smaller_cases"]
