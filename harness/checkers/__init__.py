"""Checkers: pure functions from history to findings. All of them run on every scenario."""
