"""Calls that are no JSON: what real models write, and how it is read."""
