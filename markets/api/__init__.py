"""The market's part of the REST API."""
