"""A model's text to events: thoughts, content and calls, as they come."""
