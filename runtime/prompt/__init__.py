"""Messages to a prompt: what callers bring, brought into the form that the file's template takes."""
