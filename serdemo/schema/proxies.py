"""Proxies that the surroundings name, in HTTP_PROXY, HTTPS_PROXY and ALL_PROXY or the system's settings."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.request import getproxies, getproxies_environment

from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import set_variables

SCHEMES = ("http", "https", "all")


def bypass(hosts: Iterable[str]) -> None:
    """Let no request of this process to these hosts go through a proxy; all others do as before."""
    proxies = getproxies()  # those of the system where the environment names none
    named = {f"{scheme}_proxy": proxies[scheme] for scheme in SCHEMES if proxies.get(scheme)}
    if not named:
        return
    excepted = [host.strip() for host in proxies.get("no", "").split(",") if host.strip()]
    no_proxy = ",".join(dict.fromkeys([*excepted, *hosts]))
    if not getproxies_environment():
        set_variables(**named)  # once a variable is set, the system's are not read any more
    set_variables(NO_PROXY=no_proxy, no_proxy=no_proxy)


def unusable() -> SerdemoError | None:
    """The error that no request can be made through the proxies named; None where all is well."""
    import httpx

    try:
        httpx.Client(verify=False).close()  # nothing is asked for
    except ImportError:
        return SerdemoError(
            "This machine's proxy is a SOCKS proxy, which needs one more library:"
            " python -m pip install socksio"
        )
    except (ValueError, httpx.InvalidURL) as problem:
        return SerdemoError(
            f"This machine's proxy settings cannot be used ({problem}): correct HTTP_PROXY,"
            " HTTPS_PROXY, ALL_PROXY or NO_PROXY, whichever is set."
        )
    return None
