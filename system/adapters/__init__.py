"""Adapters of the ports to Kafka, PostgreSQL and the machine."""
