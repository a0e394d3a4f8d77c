"""Sends images as the course's workload generators did, counts each one once, and reports."""
