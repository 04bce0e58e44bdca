"""Carries scenarios out on a running subject and says what came of each."""

from harness.runner.bench import Bench
from harness.runner.run import history_path, known_failure, run, whats_lacking

__all__ = ["Bench", "history_path", "known_failure", "run", "whats_lacking"]
