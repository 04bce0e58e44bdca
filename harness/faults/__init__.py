"""Fault points: every moment at which something takes effect outside of a process, and what can be done to it there.

Words: a *crossing* is one request of a process that is about to take effect (or has just done so) in Kafka, in PostgreSQL
or at an agent; a *boundary* is the kind of such a request; a *fault point* picks one crossing out of a run: the nth of a
role's crossings of one boundary, counted from the moment at which the fault was armed. `docs/fault-points.md` tells the rest.
"""
