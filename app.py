"""The page, for `python app.py` and for a Hugging Face Space."""

from serdemo.exits import one_sentence
from serdemo.libraries import Loading

with one_sentence():
    loading = Loading("serdemo.predict") if __name__ == "__main__" else None

    from serdemo import ui

    demo = ui.default_page()
    if loading:
        loading.wait()  # a page that cannot answer is not served
        ui.launch(page=demo)
