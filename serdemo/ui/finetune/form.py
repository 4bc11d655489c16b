"""The form of Fine-tune: its widgets, and the training request that is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gradio as gr

from serdemo.data.corpora.folder_levels import LevelUnclearError
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import UsageError
from serdemo.ui.finetune import option_widgets, start_models
from serdemo.ui.finetune.new_run import build_request
from serdemo.ui.shell import permissions, zerogpu

FOLDER, ZIP = "A folder or table of clips on this computer", "A zip of a folder of clips"
OWN_WIDGETS = ("budget_minutes", "init_from")  # options that are not among "More options"

LEVEL_OPTIONS = re.compile(r"(?:(?:emotion|speaker)_level=\d+&?)+")

Updates = dict[Any, Any]  # of components, as gradio takes them from a handler


class Form:
    """The widgets of the form, laid out where it is created, and states that go with it.

    `time` is in minutes, or in seconds of a GPU where one is lent (`is_lent`). `uploaded` holds the folder
    that a zip was unpacked to, `options` the further options by recipe, `local` whether the visitor sits at
    this machine. `status` shows what Check and Start answer.
    """

    def __init__(self, is_lent: bool) -> None:
        self.is_lent = is_lent
        self.options, self.uploaded = gr.State({}), gr.State("")
        self.local = gr.State(False)
        self.corpora = gr.CheckboxGroup([], label="Train on the corpora found here", visible=False)
        self.folder = gr.Textbox(
            label=FOLDER,
            info="Folders named after emotions inside, or a CSV with path, speaker, emotion.",
            max_lines=1,
            visible=False,
            elem_id="finetune-folder",
        )
        self.archive = gr.File(
            label=ZIP, file_types=[".zip"], type="filepath", height=150, elem_id="finetune-zip"
        )
        self.level = gr.Radio([], visible=False, elem_id="finetune-level")
        self.recipe = gr.Radio(
            ["supervised"],
            value=None,  # until the page is loaded
            label="How",
            info="The first is for a machine without a GPU, the second trains a whole network; the others do"
            " what papers describe.",
            elem_id="finetune-recipe",
        )
        self.start = gr.Radio(
            [start_models.SHIPPED],
            value=start_models.SHIPPED,
            label="Begin with",
            elem_id="finetune-start-from",
        )
        self.hub = gr.Textbox(
            label="Or a model of the Hugging Face hub",
            info="It is fetched when you press Check or Start.",
            placeholder="OWNER/NAME",
            max_lines=1,
            elem_id="finetune-hub",
        )
        self.time = _time_slider(is_lent)
        with gr.Accordion("More options", open=False, elem_id="finetune-options"):
            # Once a visit and for each choice, as a hundred widgets are dear; one at a time: gradio's table of
            # events may not change while a page reads it.
            @gr.render(
                inputs=[self.recipe, self.local, self.options],
                triggers=[self.recipe.change],
                concurrency_limit=1,
            )
            def lay_out_options(name: str, local: bool, changed: dict[str, Any]) -> None:
                without = hidden_options(local)
                option_widgets.lay_out_options(name, self.options, changed.get(name, {}), without)

        self.check = gr.Button("Check", elem_id="finetune-check")
        self.submit = gr.Button("Start", variant="primary", elem_id="finetune-start")
        self.status = gr.HTML("", apply_default_css=False, elem_id="finetune-told")

    @property
    def inputs(self) -> set[gr.blocks.Block]:
        """The components that a request is read from."""
        return {
            *(self.corpora, self.folder, self.uploaded, self.level, self.recipe),
            *(self.start, self.hub, self.time, self.options),
        }

    @property
    def loaded_widgets(self) -> list[gr.blocks.Block]:
        """The widgets that `loaded` sets."""
        return [
            *(self.recipe, self.local, self.corpora),
            *(self.folder, self.archive, self.hub),
        ]

    def loaded(self, owner: str | None, available: list[tuple[str, str]]) -> Updates:
        """The form as a user finds it: the corpora at hand, and folders only for a local one."""
        local = owner is None
        folder = f"Or {FOLDER[0].lower()}{FOLDER[1:]}" if available else FOLDER
        archive = f"Or {ZIP[0].lower()}{ZIP[1:]}" if available or local else ZIP
        return {
            self.recipe: gr.Radio(
                option_widgets.recipe_choices(local), value=option_widgets.preselected_recipe()
            ),
            self.local: local,
            self.corpora: gr.CheckboxGroup(available, value=[], visible=bool(available)),
            self.folder: gr.Textbox(label=folder, visible=local),
            self.archive: gr.File(label=archive),
            self.hub: gr.Textbox(visible=permissions.may_import(owner)),
        }

    def level_choice(self, values: Mapping[Any, Any], problem: LevelUnclearError) -> gr.Radio:
        """The question which level of a folder names the emotions or speakers, as `problem` describes.

        A choice is the options of the folder, with those chosen before.
        """
        before = f"{chosen}&" if (chosen := values.get(self.level)) else ""
        choices = [(text, f"{before}{problem.option}={n}") for text, n in problem.choices]
        kind = problem.option.removesuffix("_level")
        if kind == "speaker":
            choices.append(("none of them", f"{before}{problem.option}=0"))
        label = f"Which folders are named after the {kind}s?"
        return gr.Radio(choices, value=None, label=label, visible=True)

    def forget_level(self) -> gr.Radio:
        """The question taken back, as for another folder."""
        return gr.Radio([], value=None, visible=False)

    def minutes(self, values: Mapping[Any, Any]) -> float:
        """Minutes to train; of a GPU's seconds, those that are not for scoring."""
        time = float(values[self.time])
        return zerogpu.training_s(time) / 60 if self.is_lent else time

    def request(
        self, values: Mapping[Any, Any], jobs: JobQueue, owner: str | None
    ) -> TrainingRequest:
        """The request that is filled in; raises SerdemoError where its first checkpoint is gone."""
        start = start_models.folder(values[self.start], jobs, owner)
        # A visitor names no folder of this machine.
        typed = (values[self.folder] or "") if owner is None else ""
        # Before the page is loaded none is chosen.
        recipe = values[self.recipe] or option_widgets.preselected_recipe()
        options = values[self.options].get(recipe, {})
        without = hidden_options(owner is None)
        return build_request(
            recipe,
            values[self.corpora],
            _with_options(values[self.uploaded] or typed, values.get(self.level)),
            start,
            self.minutes(values),
            {name: value for name, value in options.items() if name not in without},
            confined=owner is not None or bool(values[self.uploaded]),
        )


def hidden_options(local: bool) -> tuple[str, ...]:
    """The options that "More options" leaves out: those with a widget of their own, and for a visitor who is
    not `local` those that name a path on this machine, or a repository that its token opens."""
    from serdemo.nn.description import PATH_OPTIONS

    return OWN_WIDGETS if local else (*OWN_WIDGETS, *PATH_OPTIONS)


def _with_options(folder: str, options: str | None) -> str:
    """A folder as an item of `--corpus`, with the levels that a visitor chose."""
    if not folder.strip() or not options:
        return folder
    if not LEVEL_OPTIONS.fullmatch(options):  # a page names no file by it
        raise UsageError("Choose one of the levels that are offered.")
    return f"{folder.strip()}{'&' if '?' in folder else '?'}{options}"


def _time_slider(lent: bool) -> gr.Slider:
    if not lent:
        return gr.Slider(1, 120, value=5, step=1, label="Minutes to train")
    return gr.Slider(
        zerogpu.MIN_S,
        zerogpu.MAX_S,
        value=zerogpu.DEFAULT_S,
        step=10,
        label="Seconds of a GPU to borrow",
        info="Hugging Face lends you 2 minutes a day, 5 if you have an account and log in there.",
    )
