"""Headers that keep a browser from doing more with the page than it needs."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.schema import settings

# gradio's page runs scripts of its own text, and makes functions of those of components. Nothing is
# loaded from, or sent to, any other address.
CONTENT = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "worker-src": "'self' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
SPACE_FRAMES = "https://huggingface.co https://*.huggingface.co https://*.hf.space"
OFF = "accelerometer camera display-capture geolocation gyroscope hid magnetometer midi payment serial usb"
FILE = "/gradio_api/file="
FILE_CONTENT = "default-src 'none'; sandbox"  # an uploaded page runs nothing


def security_headers() -> dict[str, str]:
    """The headers of every response, by name."""
    frames = f"'self' {SPACE_FRAMES}" if settings.on_space() else "'self'"
    content = {**CONTENT, "frame-ancestors": frames}
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in content.items()),
        "Permissions-Policy": ", ".join(
            ["microphone=(self)", *(f"{name}=()" for name in OFF.split())]
        ),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Isolated from other sites, the models in the browser get more threads than one.
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    }


class SecurityHeaders:
    """ASGI middleware that adds them; files of visitors are saved by a browser, and never shown."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = security_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_file = FILE in scope["path"]

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.headers)
                if is_file:
                    headers["Content-Security-Policy"] = FILE_CONTENT
                    disposition = headers.get("content-disposition", "attachment")
                    headers["Content-Disposition"] = disposition.replace("inline", "attachment", 1)
            await send(message)

        await self.app(scope, receive, protected)
