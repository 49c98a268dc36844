"""The runtime's events over the OpenAI protocol, and a page to chat on."""
