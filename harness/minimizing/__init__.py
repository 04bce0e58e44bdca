"""What failed once, tried again on the subject itself, made smaller, and written as a scenario file."""

from harness.minimizing.afterwards import shrink_failures
from harness.minimizing.minimize import Minimized, minimize
from harness.minimizing.sources import Failing, UnusableSource, read_source

__all__ = ["Failing", "Minimized", "UnusableSource", "minimize", "read_source", "shrink_failures"]
