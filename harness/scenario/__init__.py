"""Scenario files: read, checked and expanded into scenarios. Pure: nothing is started here."""
