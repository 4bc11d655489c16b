"""The endpoints as MCP tools, which gradio serves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:
    from mcp.types import ImageContent, TextContent

    from serdemo.ui.shell.page import Page

TOOLS = ("/predict", "/embed", "/compare", "/models")
MISSING = 'MCP needs the package mcp: install it with `pip install "serdemo[mcp]"`.'


def require_mcp() -> None:
    """Raise SerdemoError where the package `mcp` is missing."""
    if find_spec("mcp") is None:
        raise SerdemoError(MISSING)


def begin_mcp(page: Page, url: str) -> None:
    """Offer those endpoints of a page that are tools for an agent, and print the address; they answer in
    JSON. gradio itself offers all endpoints, and writes results in Python's own form."""
    if server := page.mcp_server_obj:
        tools = server.tool_to_endpoint.items()
        server.tool_to_endpoint = {tool: name for tool, name in tools if name in TOOLS}
        server.postprocess_output_data = json_contents  # type: ignore[method-assign]
        print(f"* MCP server for agents: {url.rstrip('/')}/gradio_api/mcp/", flush=True)


def json_contents(data: Any, root_url: str) -> list[TextContent | ImageContent]:
    """What a tool returned, as JSON texts."""
    from mcp.types import TextContent

    return [TextContent(type="text", text=json.dumps(result)) for result in data]
