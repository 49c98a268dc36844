"""JSON schemas: read, checked, applied to values, and written as grammars."""
