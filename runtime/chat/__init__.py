"""A model that chats: what it can do, an answer of it, and what local and remote ones share."""
