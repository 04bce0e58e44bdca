"""The REST API of the reference: Flask, and an outbox entry for whatever the executor must hear of."""
