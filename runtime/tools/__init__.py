"""Tools: from Python functions or JSON schemas, and called."""
