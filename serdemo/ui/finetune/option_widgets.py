"""Options as widgets: what a dataclass declares is what the page asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from serdemo.schema.errors import SerdemoError
from serdemo.schema.options import Options, Spec, Value, specs


def widget(spec: Spec, value: Value) -> gr.components.Component:
    """A widget that asks for one option, beginning with `value`."""
    told: dict[str, Any] = {"label": words(spec.name), "info": spec.help, "value": value}
    told["interactive"] = True  # which gradio does not see of what is laid out later
    if spec.kind is bool:
        return gr.Checkbox(**told)
    if spec.choices:
        return gr.Radio(list(spec.choices), **told)
    if spec.kind is str:
        return gr.Textbox(**told, max_lines=1)
    # Its range is checked by the option itself, which says so in a sentence.
    return gr.Number(**told, precision=0 if spec.kind is int else None)


def words(name: str) -> str:
    """An option's name as a person reads it."""
    return name.replace("_", " ").capitalize()


def listed(
    groups: Sequence[type[Options]], presets: Mapping[str, Value], without: Sequence[str]
) -> list[tuple[Spec, Value]]:
    """The options of several groups with where they begin, those that matter most first."""
    found = [spec for group in groups for spec in specs(group) if spec.name not in without]
    found.sort(key=lambda spec: spec.advanced)
    return [(spec, presets.get(spec.name, spec.default)) for spec in found]


def of_recipe(name: str, more: gr.State, without: Sequence[str]) -> None:
    """A widget for each option of a recipe; what is changed is kept in `more`, by recipe."""
    from serdemo.training import recipes
    from serdemo.training.options import TrainOptions

    kind = recipes.get(name)
    for spec, value in listed((*kind.groups, TrainOptions), kind.defaults, without):
        asked = widget(spec, value)

        def on_change(value: Any, kept: dict[str, Any], spec: Any = spec) -> dict[str, Any]:
            try:
                found = {**kept.get(name, {}), spec.name: given(spec, value)}
            except SerdemoError as problem:
                gr.Warning(str(problem))
                return kept
            return {**kept, name: found}

        asked.input(  # type: ignore[attr-defined]
            on_change, [asked, more], more, show_progress="hidden", api_visibility="private"
        )


def recipes_told(here: bool) -> list[tuple[str, str]]:
    """Every recipe by its sentence; but for whoever sits `here` without those that need a place.

    Asked for by a visitor, as the page is not to wait for torch.
    """
    from serdemo.nn.description import PATH_OPTIONS
    from serdemo.training import recipes

    def needs_place(name: str) -> bool:
        told = (spec for group in recipes.get(name).groups for spec in specs(group))
        return any(spec.name in PATH_OPTIONS and not spec.advanced for spec in told)

    names = [name for name in recipes.RECIPES if here or not needs_place(name)]
    return [(recipes.get(name).summary, name) for name in names]


def given(spec: Spec, value: Any) -> Value:
    """What a widget says as the option's own type; raises UsageError when it is not one."""
    if spec.kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    return spec.check(value if value is not None else "")
