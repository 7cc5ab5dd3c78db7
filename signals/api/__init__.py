"""The signals' part of the REST API."""
