"""The owner's settings: one table, and values that cannot be."""

from __future__ import annotations

import inspect
import re

import pytest

from serdemo.schema import settings
from serdemo.schema.errors import UsageError

# Set by a Space or by a launcher of several processes, not by the owner.
BY_OTHERS = {
    *("SPACE_ID", "SPACES_ZERO_GPU"),
    *("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK"),
}
OWN = ("SERDEMO_TRAINING", "SERDEMO_IMPORT", "SERDEMO_PLACES", "SERDEMO_CONTACT")


def test_the_table_has_every_variable_that_is_read() -> None:
    read = set(re.findall(r'"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', inspect.getsource(settings)))
    listed = [one.name for one in settings.OWNER_SETTINGS]
    assert len(listed) == len(set(listed))
    assert read == {*listed, *BY_OTHERS}
    for one in settings.OWNER_SETTINGS:
        assert one.default and one.meaning and not {"|", "\n"} & {*one.default, *one.meaning}


def test_defaults_are_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    defaults = {one.name: one.default for one in settings.OWNER_SETTINGS}
    assert (defaults["SERDEMO_TRAINING"], settings.visitors_may_train()) == ("off", False)
    assert (defaults["SERDEMO_IMPORT"], settings.visitors_may_import()) == ("off", False)
    assert defaults["SERDEMO_PLACES"] == str(settings.live_places())
    assert settings.contact() == ""
    settings.check()


def test_values_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in ((" On ", True), ("1", True), ("TRUE", True), ("no", False), ("", False)):
        monkeypatch.setenv("SERDEMO_TRAINING", text)
        assert settings.visitors_may_train() is expected
    monkeypatch.setenv("SERDEMO_PLACES", " 8 ")
    assert settings.live_places() == 8
    monkeypatch.setenv("SERDEMO_CONTACT", "Zoë’s lab, lab@example.org ")
    assert settings.contact() == "Zoë’s lab, lab@example.org"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SERDEMO_TRAINING", "maybe", "set it to on or off"),
        ("SERDEMO_IMPORT", "2", "set it to on or off"),
        *(("SERDEMO_PLACES", text, "from 1 to 10000") for text in ("0", "-1", "1.5", "many", "²", "9" * 5000)),
        ("SERDEMO_CONTACT", "two\nlines", "name who runs the page"),
        ("SERDEMO_CONTACT", "x" * 201, "name who runs the page"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_one_sentence(
    name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=remedy) as raised:
        settings.check()
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_a_default_gives_way_to_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for before, after in ((None, True), ("off", False), ("on", True)):
        monkeypatch.delenv("SERDEMO_TRAINING", raising=False)
        if before is not None:
            monkeypatch.setenv("SERDEMO_TRAINING", before)
        settings.set_defaults(SERDEMO_TRAINING="on")
        assert settings.visitors_may_train() is after
