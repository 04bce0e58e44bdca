"""Side by side with the engines that a user would pick instead, in one run on one machine.

A :class:`~benchmarks.contender.Contender` does a :class:`~benchmarks.workload.Workload`; what was seen of it is a
:class:`~benchmarks.measurement.Measurement`. `python -m benchmarks --help`, or `nox -s bench`.
"""
