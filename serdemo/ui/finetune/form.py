"""What Fine-tune asks for: the widgets of its form, and what is filled in as a wish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from serdemo.runs.queue import JobQueue
from serdemo.runs.request import TrainingRequest
from serdemo.ui.finetune import start_models
from serdemo.ui.finetune.handlers import build_request
from serdemo.ui.finetune.option_widgets import of_recipe
from serdemo.ui.shell import zerogpu

FOLDER, ZIP = "A folder or table of clips on this computer", "A zip of a folder of clips"
ASKED_ABOVE = ("budget_minutes", "init_from")  # what has a widget of its own


@dataclass(frozen=True)
class Form:
    """The widgets. `time` asks for minutes to train, or for seconds of a GPU where one is `lent`;
    `uploaded` holds the folder that a zip became, `more` the further options, `here` whether the
    visitor sits at this machine."""

    named: gr.CheckboxGroup
    folder: gr.Textbox
    archive: gr.File
    recipe: gr.Radio
    start: gr.Radio
    hub: gr.Textbox
    time: gr.Slider
    lent: bool
    more: gr.State
    uploaded: gr.State
    here: gr.State

    @property
    def asked(self) -> list[gr.blocks.Block]:
        """What a wish is made of."""
        return [
            *(self.named, self.folder, self.uploaded, self.recipe),
            *(self.start, self.hub, self.time, self.more),
        ]

    def data(self, corpora: list[tuple[str, str]], here: bool) -> tuple[Any, ...]:
        """The widgets for data as one visitor sees them: `corpora` as titles and names, folders only
        for whoever sits `here`, which comes first."""
        folder = f"Or {FOLDER[0].lower()}{FOLDER[1:]}" if corpora else FOLDER
        archive = f"Or {ZIP[0].lower()}{ZIP[1:]}" if corpora or here else ZIP
        return (
            here,
            gr.CheckboxGroup(corpora, value=[], visible=bool(corpora)),
            gr.Textbox(label=folder, visible=here),
            gr.File(label=archive),
        )

    def minutes(self, asked: Mapping[Any, Any]) -> float:
        """How long to train; of a loan's seconds, those that are not for scoring."""
        given = float(asked[self.time])
        return zerogpu.training_s(given) / 60 if self.lent else given

    def request(
        self, values: Mapping[Any, Any], jobs: JobQueue, owner: str | None
    ) -> TrainingRequest:
        """The request that is filled in; raises SerdemoError where its first checkpoint is gone."""
        start = start_models.folder(values[self.start], jobs, owner)
        # A visitor names no folder of this machine.
        typed = (values[self.folder] or "") if owner is None else ""
        options = values[self.more].get(values[self.recipe], {})
        without = withheld(owner is None)
        return build_request(
            values[self.recipe],
            values[self.named],
            values[self.uploaded] or typed,
            start,
            self.minutes(values),
            {name: value for name, value in options.items() if name not in without},
        )


def withheld(here: bool) -> tuple[str, ...]:
    """The options that "More options" leaves out: those that are asked for above, and to all but
    whoever sits `here` those that name a place on this machine, or on a hub that its token opens."""
    from serdemo.nn.description import PATH_OPTIONS

    return ASKED_ABOVE if here else (*ASKED_ABOVE, *PATH_OPTIONS)


def laid_out(lent: bool) -> Form:
    """The widgets, as far as all see them; `lent` says that a GPU is lent for some seconds."""
    more, uploaded, here = gr.State({}), gr.State(""), gr.State(False)
    named = gr.CheckboxGroup([], label="Train on the corpora found here", visible=False)
    folder = gr.Textbox(
        label=FOLDER,
        info="Folders named after emotions inside, or a CSV with path, speaker, emotion.",
        max_lines=1,
        visible=False,
        elem_id="finetune-folder",
    )
    archive = gr.File(
        label=ZIP,
        file_types=[".zip"],
        type="filepath",
        height=150,
        elem_id="finetune-zip",
    )
    recipe = gr.Radio(
        ["supervised"],
        value="supervised",
        label="How",
        info="The first is the usual way; the others do what papers describe.",
        elem_id="finetune-recipe",
    )
    start = gr.Radio(
        [start_models.SHIPPED],
        value=start_models.SHIPPED,
        label="Begin with",
        elem_id="finetune-start-from",
    )
    hub = gr.Textbox(
        label="Or a model of the Hugging Face hub",
        info="It is fetched when you press Check or Start.",
        placeholder="OWNER/NAME",
        max_lines=1,
        elem_id="finetune-hub",
    )
    if lent:
        time = gr.Slider(
            zerogpu.MIN_S,
            zerogpu.MAX_S,
            value=zerogpu.FIRST_S,
            step=10,
            label="Seconds of a GPU to borrow",
            info="Hugging Face lends you 2 minutes a day, 5 if you have an account and log in there.",
        )
    else:
        time = gr.Slider(1, 120, value=5, step=1, label="Minutes to train")
    with gr.Accordion("More options", open=False):

        @gr.render(inputs=[recipe, here])
        def options(name: str, here: bool) -> None:
            of_recipe(name, more, withheld(here))

    return Form(named, folder, archive, recipe, start, hub, time, lent, more, uploaded, here)
