"""The address that a visitor's limits are counted by."""

from __future__ import annotations

from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import Scope


def visitor_of(scope: Scope) -> str:
    """Address of whoever sent a request: that of its connection or, where a proxy of a private network has
    forwarded it, the last public one that the proxies have added.

    What a visitor writes into the header stands before what the proxies add.
    """
    peer = (scope.get("client") or ("",))[0]
    if is_private(peer):
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
        for address in reversed([part.strip() for part in forwarded.split(",")]):
            if not is_private(address):
                return address
    return peer


def is_private(address: str) -> bool:
    """Whether an address is of no public network; what is no address counts as one."""
    try:
        return not ip_address(address).is_global
    except ValueError:
        return True
