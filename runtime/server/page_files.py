"""The page's files, out of the package, under a policy that lets nothing else in."""

from __future__ import annotations

from importlib.resources import files

from starlette.responses import Response

from exaone4_gguf.runtime.server.errors import Problem

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FILES = (
    "index.html",
    "style.css",
    "theme.js",
    "app.js",
    "chat.js",
    "dom.js",
    "markdown.js",
    "stream.js",
    "view.js",
    "icon.svg",
)

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Only the page's own files run, and no text can become a part of them: innerHTML itself is out of order."""


def page_file(name: str) -> Response:
    """One of the files.

    Raises:
        Problem: there is none of that name.
    """
    if name not in FILES:
        raise Problem(404, "there is no such file", code="unknown_url")
    content = files(__package__).joinpath("page", name).read_bytes()
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])
