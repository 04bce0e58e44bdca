"""TCP proxies that understand just enough of Kafka's and PostgreSQL's protocols to know what takes effect when."""
