"""The execution consumer: one loop that turns messages into decisions, rows and further messages."""
