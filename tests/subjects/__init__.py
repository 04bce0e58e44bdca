"""Subjects that are not the reference as a whole, and what the suite says of them."""
