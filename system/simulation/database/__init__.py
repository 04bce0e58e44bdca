"""PostgreSQL's stand-in: tables in memory under the statements of the reference, with READ COMMITTED's semantics."""
