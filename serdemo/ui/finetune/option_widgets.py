"""Options as widgets: what a dataclass declares is what the page asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from serdemo.schema.errors import SerdemoError
from serdemo.schema.options import Spec, Value, specs


def widget(spec: Spec, value: Value) -> gr.components.Component:
    """A widget for one option, with `value` filled in."""
    label = spec.name.replace("_", " ").capitalize()
    shared: dict[str, Any] = {"label": label, "info": spec.help, "value": value}
    shared["interactive"] = True  # which gradio does not see of what is laid out later
    if spec.kind is bool:
        return gr.Checkbox(**shared)
    if spec.choices:
        return gr.Radio(list(spec.choices), **shared)
    if spec.kind is str:
        return gr.Textbox(**shared, max_lines=1)
    # Its range is checked by the option itself, which says so in a sentence.
    return gr.Number(**shared, precision=0 if spec.kind is int else None)


def parse_value(spec: Spec, value: Any) -> Value:
    """A widget's value as the option's own type; raises UsageError when it is not one."""
    if spec.kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    return spec.check(value if value is not None else "")


def recipe_options(recipe: str, without: Sequence[str]) -> list[tuple[Spec, Value]]:
    """The options of a recipe with their defaults, those that matter most first."""
    from serdemo.training import recipes
    from serdemo.training.options import TrainOptions

    kind = recipes.get(recipe)
    declared = [spec for group in (*kind.groups, TrainOptions) for spec in specs(group)]
    declared.sort(key=lambda spec: spec.advanced)
    return [
        (spec, kind.defaults.get(spec.name, spec.default))
        for spec in declared
        if spec.name not in without
    ]


def lay_out_options(
    recipe: str, changed: gr.State, values: Mapping[str, Value], without: Sequence[str]
) -> None:
    """A widget for each option of a recipe; `changed` holds what differs from the defaults, by recipe, at
    first the `values`."""
    for spec, default in recipe_options(recipe, without):
        field = widget(spec, values.get(spec.name, default))

        def on_change(value: Any, changed: dict[str, Any], spec: Any = spec) -> dict[str, Any]:
            try:
                values = {**changed.get(recipe, {}), spec.name: parse_value(spec, value)}
            except SerdemoError as problem:
                gr.Warning(str(problem))
                return changed
            return {**changed, recipe: values}

        field.input(  # type: ignore[attr-defined]
            on_change, [field, changed], changed, show_progress="hidden", api_visibility="private"
        )


def preselected_recipe() -> str:
    """`head` where there is no GPU, and the checkpoint whose encoder it takes; else `supervised`."""
    from serdemo.nn.checkpoint_files import ENCODER_CHECKPOINT, bundled_checkpoint
    from serdemo.nn.device import pick_device

    try:
        bundled_checkpoint(ENCODER_CHECKPOINT)
    except SerdemoError:
        return "supervised"
    return "head" if pick_device("auto").type == "cpu" else "supervised"


def recipe_choices(local: bool) -> list[tuple[str, str]]:
    """The summary and name of every recipe; for a visitor who is not `local`, without those that need
    a path on this machine.

    Called when a visitor comes, as the page starts without torch.
    """
    from serdemo.nn.description import PATH_OPTIONS
    from serdemo.training import recipes

    def needs_path(name: str) -> bool:
        declared = (spec for group in recipes.get(name).groups for spec in specs(group))
        return any(spec.name in PATH_OPTIONS and not spec.advanced for spec in declared)

    names = [name for name in recipes.RECIPES if local or not needs_path(name)]
    return [(recipes.get(name).summary, name) for name in names]
