"""What the server counts, in the text form that Prometheus reads.

The form: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

from exaone4_gguf.runtime.events import Usage

COUNTERS = {
    "requests_total": "Requests by route and status.",
    "requests_cancelled_total": "Requests whose client hung up before the end.",
    "requests_timed_out_total": "Requests that took longer than --timeout.",
    "prompt_tokens_total": "Tokens of prompts, cached ones included.",
    "prompt_tokens_cached_total": "Tokens of prompts that were in the cache already.",
    "prompt_seconds_total": "Time spent on evaluating prompts.",
    "completion_tokens_total": "Tokens generated.",
    "reasoning_tokens_total": "Tokens generated as thoughts.",
    "drafted_tokens_total": "Tokens evaluated on a guess (--draft, --lookup).",
    "accepted_tokens_total": "Guesses that were right.",
    "completion_seconds_total": "Time spent on generating.",
}
GAUGES = {
    "requests_running": "Requests that are being answered.",
    "requests_waiting": "Requests in the queue.",
    "prompt_tokens_per_second": "The rate of the last prompt's evaluation.",
    "completion_tokens_per_second": "The rate of the last generation.",
    "model_ready": "Whether the model is loaded.",
}
_PREFIX = "exaone4_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters and gauges; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Count."""
        key = ",".join(f'{label}="{text}"' for label, text in labels.items())
        with self._lock:
            self._values[name][key] = self._values[name].get(key, 0) + value

    def set(self, name: str, value: float) -> None:
        """Say how it stands."""
        with self._lock:
            self._values[name][""] = value

    def add_usage(self, usage: Usage) -> None:
        """What one answer took."""
        self.add("prompt_tokens_total", usage.prompt_tokens)
        self.add("prompt_tokens_cached_total", usage.cached_tokens)
        self.add("prompt_seconds_total", usage.prompt_seconds)
        self.add("completion_tokens_total", usage.completion_tokens)
        self.add("reasoning_tokens_total", usage.reasoning_tokens)
        self.add("completion_seconds_total", usage.seconds)
        self.add("drafted_tokens_total", usage.drafted_tokens)
        self.add("accepted_tokens_total", usage.accepted_tokens)
        if usage.prompt_seconds > 0:
            evaluated = usage.prompt_tokens - usage.cached_tokens
            self.set("prompt_tokens_per_second", evaluated / usage.prompt_seconds)
        self.set("completion_tokens_per_second", usage.tokens_per_second)

    def text(self, now: Mapping[str, float]) -> str:
        """All of them; ``now`` are gauges that are read rather than set."""
        with self._lock:
            values = {name: dict(found) for name, found in self._values.items()}
        values |= {name: {"": value} for name, value in now.items()}
        lines = []
        for kind, names in (("counter", COUNTERS), ("gauge", GAUGES)):
            for name, what in names.items():
                lines += [f"# HELP {_PREFIX}{name} {what}", f"# TYPE {_PREFIX}{name} {kind}"]
                found = values.get(name) or {"": 0}
                lines += [f"{_PREFIX}{name}{f'{{{key}}}' if key else ''} {value}" for key, value in found.items()]
        return "\n".join(lines) + "\n"
