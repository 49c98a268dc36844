"""The runtime's events over the OpenAI protocol, and a page to chat on.

    request -> guard (host, origin, key, size) -> bodies (fields, types) -> asking (one stream of events per choice)
            -> engine (a fair queue, one thread that owns the model) -> chat_answers, text_answers -> JSON or SSE

No chat logic is here: what a message, a tool, an option means is the runtime's.
"""
