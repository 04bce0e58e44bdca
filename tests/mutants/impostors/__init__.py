"""Programs that pretend to be an execution consumer. They use nothing of the system, and speak Kafka and SQL directly."""
