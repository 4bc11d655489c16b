"""The address that the page is served on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError, UsageError

# Every address of this machine, and the name by which its own browser reaches it
WILDCARDS = {"0.0.0.0": "localhost", "::": "[::1]"}
CHECKED_BY_GRADIO = "127.0.0.1"  # where gradio too looks whether a port is free
MAX_PORT = 65535
OTHER_PORT = "choose another with --port or GRADIO_SERVER_PORT."


@dataclass(frozen=True, slots=True)
class Address:
    """A name or address of this machine, and a port of it that is free."""

    host: str
    port: int

    @property
    def url_host(self) -> str:
        """The host as it is written in a URL: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def url(self) -> str:
        """URL for a browser on this machine."""
        return f"http://{WILDCARDS.get(self.host, self.url_host)}:{self.port}"


def find_address(port: int | None = None) -> Address:
    """The address that the settings name, at `port` or else the first free one of those they name.

    Raises UsageError for settings that name none, and SerdemoError where no port can be served on.
    """
    host = settings.server_name().removeprefix("[").removesuffix("]")
    ports = [port] if port is not None else _ports(*settings.server_ports())
    for candidate in ports:
        try:
            return Address(host, _bind(CHECKED_BY_GRADIO, _bind(host, candidate)))
        except (socket.gaierror, UnicodeError) as problem:
            raise UsageError(
                f"GRADIO_SERVER_NAME is {host!r}, a name without an address: set it to 127.0.0.1 for"
                " this machine alone, or to 0.0.0.0 for all that reach it."
            ) from problem
        except PermissionError as problem:
            raise SerdemoError(
                f"This user may not serve on port {candidate}: {OTHER_PORT}"
            ) from problem
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise UsageError(
                    f"GRADIO_SERVER_NAME is {host!r}, which is no address of this machine: set it to"
                    " 127.0.0.1 for this machine alone, or to 0.0.0.0 for all that reach it."
                ) from problem
    raise in_use(ports)


def in_use(ports: Sequence[int]) -> SerdemoError:
    """The error that no port of these is free."""
    if len(ports) == 1:
        return SerdemoError(f"Port {ports[0]} is in use: {OTHER_PORT}")
    return SerdemoError(f"The ports {ports[0]} to {ports[-1]} are in use: {OTHER_PORT}")


def _ports(first: str, count: str) -> range:
    """The ports to try: 0 is any that is free."""
    if not (first.isdecimal() and int(first) <= MAX_PORT):
        raise UsageError(
            f"GRADIO_SERVER_PORT is {first!r}: set it to a number from 0 to {MAX_PORT}."
        )
    if not (count.isdecimal() and int(count) > 0):
        raise UsageError(f"GRADIO_NUM_PORTS is {count!r}: set it to a number from 1.")
    start = int(first)
    return range(start, min(start + int(count), MAX_PORT + 1)) if start else range(1)


def _bind(host: str, port: int) -> int:
    """The port, or a free one for 0, once the host's addresses could be bound to it for a moment.

    Raises OSError where none could, or the port is in use at one of them.
    """
    with ExitStack() as stack:
        unbound, bound = None, False
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                if os.name == "posix":  # elsewhere it would take a port in use
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address[0], port, *address[2:]))
                port, bound = listener.getsockname()[1], True
            except OSError as problem:
                if problem.errno in (errno.EADDRINUSE, errno.EACCES):
                    raise
                unbound = problem  # such as an IPv6 address where IPv6 is switched off
        if unbound and not bound:
            raise unbound
    return port
