"""What all endpoints share: their documents, checks of arguments, and failures as sentences."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio.components.api_component import Api
from gradio.events import api
from gradio.utils import get_function_description

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.uploads import FAULT

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

FILE = {"path": "audio.wav", "url": "audio.wav", "meta": {"_type": "gradio.FileData"}}
EXAMPLES: dict[str, Any] = {"files": [FILE], "a": "compact"}  # in the code that the API page shows


def answered(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make an endpoint whose failures reach the program as one sentence; nothing else leaves."""

    @functools.wraps(function)
    def endpoint(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return function(*args, **options)
        except SerdemoError as problem:
            raise gr.Error(str(problem), print_exception=False) from problem
        except Exception as problem:  # which the page logs
            raise gr.Error(FAULT, print_exception=False) from problem

    # gradio reads types from the signature, where `annotations` of __future__ leaves their names.
    endpoint.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return endpoint


def require(name: str, value: Any, kind: type) -> None:
    """Raise UsageError for an argument of another type."""
    if type(value) is not kind:
        raise UsageError(f"`{name}` must be of type {kind.__name__}: see the API page.")


def publish(page: Page, function: Callable[..., Any], **options: Any) -> None:
    """Make a function an endpoint of the page that is being laid out, documented by its docstring."""
    api(function, **options)
    endpoint = page.fns[max(page.fns)]
    _, described, _ = get_function_description(function)
    names = [name for name in described if name != "request"]
    for block, name in zip(endpoint.inputs, names, strict=True):
        assert isinstance(block, Api)
        block.label = name
        block._api_info["additional_description"] = described[name]
        if example := EXAMPLES.get(name):
            block.example_payload = partial(copy, example)  # type: ignore[method-assign]
