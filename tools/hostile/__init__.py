"""Hostile clients against a real server."""
