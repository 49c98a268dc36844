"""A model in a process of its own, and on other machines."""
