"""Stand-ins for the machine, Kafka and PostgreSQL, under one seeded scheduler with a virtual clock (docs/simulation.md)."""
