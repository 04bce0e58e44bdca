"""The reference executor: API, execution consumer and bridge around a pure engine."""
