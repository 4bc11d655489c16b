"""The app where nearly nothing can be written, behind a company's proxy."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_served_whatever_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "gradio").touch()  # as unfit as a folder of another user, for root too
    gone = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "TZ": "No/Where"}
    surroundings = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        **{"TMPDIR": str(tmp_path), "GRADIO_SERVER_PORT": "0", "GRADIO_SERVER_NAME": "127.0.0.1"},
        **{"HTTP_PROXY": "http://127.0.0.1:9", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        **{"PYTHONUNBUFFERED": "1", "GRADIO_TEMP_DIR": ""},
    }
    app = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**surroundings, **gone},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert app.stdout is not None
        line = app.stdout.readline()
        assert line.startswith("* Running on local URL:  http://127.0.0.1:"), (
            line + app.stdout.read()
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(line.split()[-1], timeout=60) as page:
            assert b"serdemo" in page.read()
        folders = sorted(tmp_path.glob("serdemo-uploads-*"))
        assert len(folders) == 1
        assert folders[0].stat().st_mode & 0o777 == 0o700
        app.terminate()  # as a service or a container is ended
        output, _ = app.communicate(timeout=60)
        assert app.returncode == 0, output
        assert "Traceback" not in output
        assert not folders[0].exists()
    finally:
        app.kill()
        app.wait()
