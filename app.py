"""The page, for `python app.py`."""

from serdemo.cli.exits import exit_on_error
from serdemo.schema.libraries import ImportProbe

with exit_on_error():
    probe = ImportProbe("serdemo.inference.predictor") if __name__ == "__main__" else None

    from serdemo import ui

    demo = ui.default_page()
    if probe:
        probe.wait()  # a page that cannot answer is not served
        ui.launch(page=demo)
