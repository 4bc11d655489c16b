"""Endpoints for programs: named, typed calls beside the page, and the same as MCP tools."""

from __future__ import annotations

from serdemo.ui.api import endpoints, live
from serdemo.ui.api.mcp import begin_mcp as begin_mcp
from serdemo.ui.api.mcp import require_mcp as require_mcp
from serdemo.ui.shell.page import Page


def build(page: Page) -> None:
    """Add all endpoints to the page that is being laid out."""
    functions = endpoints.Endpoints(page)
    endpoints.build(functions)
    live.build(functions)
