"""The bridge: takes agent tasks from Kafka, calls the agents over HTTP and publishes their results (contract, section 5)."""
