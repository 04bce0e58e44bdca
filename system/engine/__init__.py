"""The pure engine: definitions, references, conditions, and `decide(state, event, now) -> (state, decisions)`.

Nothing here reads a clock, draws a random number or touches the world; equal arguments give equal answers.
"""
