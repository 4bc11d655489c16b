"""The page, for `python app.py` and for a Hugging Face Space."""

from serdemo import ui

demo = ui.default_page()

if __name__ == "__main__":
    ui.launch(page=demo)
