"""What fails made smaller: one engine, and what it tries on generated cases and on scenario files. Nothing here runs anything."""

from harness.shrinking.cases import smaller_cases
from harness.shrinking.documents import OF_PROCESSES, Leeway, document_of, smaller_documents
from harness.shrinking.engine import Smallest, shrink

__all__ = ["OF_PROCESSES", "Leeway", "Smallest", "document_of", "shrink", "smaller_cases", "smaller_documents"]
