"""Checkpoints on the Hugging Face hub: pushed, private unless asked otherwise, and pulled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import logging
from huggingface_hub.utils.tqdm import disable_progress_bars

from serdemo import __version__
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS
from serdemo.runs.registry.archive import MOST_BYTES
from serdemo.runs.registry.entry import FILES, PREFIXES, files_of
from serdemo.runs.registry.store import Registry, slugify
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path

REFUSALS = {
    401: "the token is not valid: set HF_TOKEN to one that is",
    402: "the account's storage for private models is full",
    403: "this token may not do that there: it needs the right to write to this model",
    413: "the model is larger than the hub takes",
    429: "it is asked too often: try again in some minutes",
}
# The first are what its library's own errors derive from, those of the connection too
UNREACHED: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where a checkpoint went: the page of the model, the commit, and who may see it."""

    url: str
    commit: str
    private: bool


def push(folder: Path, repo: str, *, public: bool = False, force: bool = False) -> Pushed:
    """Put a checkpoint's files into the model repository `repo` (OWNER/NAME), made where missing.

    The token is that of HF_TOKEN, or of `hf auth login`. Raises UsageError without a token, for a
    repository that more people see than was asked for, and without `force` for one that holds a
    model already; SerdemoError for what the hub refuses.
    """
    described = checkpoint.describe(folder)
    with _talking(repo):
        api = HfApi(token=_token(repo))
        known = _info(api, repo)
        if known is None:
            api.create_repo(repo, private=not public, repo_type="model")
        else:
            _refuse_unasked(known, repo, public, force)
        place = recovered_path(folder)
        operations = [CommitOperationAdd(name, place / name) for name in files_of(folder)]
        message = f"{described.name}, by serdemo {__version__}"
        told = api.create_commit(repo, operations, commit_message=message)
        return Pushed(f"{api.endpoint}/{repo}", told.oid, not public)


def pull(
    repo: str,
    folder: Path,
    revision: str | None = None,
    *,
    most_bytes: int = MOST_BYTES,
    own_token: bool = True,
) -> str:
    """Fetch the files of a checkpoint from `repo` into `folder`; returns the commit they are of.

    No other file is fetched, whatever else lies there. `revision` is a commit, tag or branch;
    without `own_token` only what all may see is found. Raises SerdemoError for a repository without
    a checkpoint, or one larger than `most_bytes`.
    """
    with _talking(repo):
        api = HfApi(token=(own_token and get_token()) or False)
        info = api.model_info(repo, revision=revision, files_metadata=True)
        commit = info.sha or revision or "main"
        sizes = {one.rfilename: one.size or 0 for one in info.siblings or []}
        sizes = {name: size for name, size in sizes.items() if name in FILES}
        for name in (DESCRIPTION, WEIGHTS):
            if name not in sizes:
                raise SerdemoError(f"{repo} holds no model of serdemo: it has no {name}.")
        if sum(sizes.values()) > most_bytes:
            raise SerdemoError(f"{repo} is larger than {most_bytes / 1e6:.0f} MB.")
        for name in sizes:
            api.hf_hub_download(repo, name, revision=commit, local_dir=folder)
        return commit


def resolve_checkpoint(name: str, store: Registry) -> Path:
    """The folder of a checkpoint that is named otherwise: by its key in the store, or as OWNER/NAME
    on the hub, from where it is fetched once and kept in the store. Any other name is a folder's.

    Raises what `pull` and `Store.take` raise.
    """
    named = {entry.key: entry.folder for entry in store.entries()}
    kept = slugify(name.replace("/", "--"))
    if found := named.get(name) or named.get(f"{PREFIXES['imported']}{kept}"):
        return found
    # What lies in a folder that is there, or deeper, is a file's name misspelt.
    if name.count("/") != 1 or "\\" in name or Path(name).parent.is_dir():
        return Path(name)

    def fill(folder: Path) -> None:
        pull(name, folder)

    return store.take(kept, fill).folder


def _token(repo: str) -> str:
    token = get_token()
    if not token:
        raise UsageError(
            f"Pushing to {repo} needs a token of the hub that may write: set HF_TOKEN to one."
        )
    return token


def _info(api: HfApi, repo: str) -> ModelInfo | None:
    try:
        return api.model_info(repo)
    except RepositoryNotFoundError:
        return None


def _refuse_unasked(known: ModelInfo, repo: str, public: bool, force: bool) -> None:
    if not known.private and not public:
        raise UsageError(f"{repo} is public: add --public to push there, or name another.")
    if known.private and public:
        raise UsageError(f"{repo} is private: push without --public, or make it public first.")
    if not force and {one.rfilename for one in known.siblings or []} & {DESCRIPTION, WEIGHTS}:
        raise UsageError(
            f"{repo} holds a model already: add --force to put this one in its place (the hub keeps"
            " the earlier one in its history)."
        )


@contextmanager
def _talking(repo: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the hub, as one sentence."""
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    except SerdemoError:
        raise
    except HFValidationError as problem:
        raise UsageError(f"{repo!r} is no name on the hub: give OWNER/NAME.") from problem
    except LocalTokenNotFoundError as problem:
        raise UsageError("The hub asks for a token: set HF_TOKEN to one.") from problem
    except OfflineModeIsEnabled as problem:
        raise SerdemoError("HF_HUB_OFFLINE is set: unset it to reach the hub.") from problem
    except GatedRepoError as problem:
        raise SerdemoError(
            f"{repo} is gated: ask for access on its page, and set HF_TOKEN."
        ) from problem
    except RevisionNotFoundError as problem:
        raise SerdemoError(f"{repo} has no such revision.") from problem
    except RepositoryNotFoundError as problem:
        raise SerdemoError(
            f"There is no model {repo} on the hub that can be seen from here: check the name, and for"
            " a private one set HF_TOKEN."
        ) from problem
    except HfHubHTTPError as problem:
        status = getattr(problem.response, "status_code", None)
        why = REFUSALS.get(status or 0, f"it answered {status}; try again later")
        raise SerdemoError(f"The hub did not take part for {repo}: {why}.") from problem
    except UNREACHED as problem:
        if type(problem).__module__ == "builtins" and not isinstance(problem, ConnectionError):
            raise  # of the disk, not of the hub
        where = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        raise SerdemoError(
            f"The hub at {where} could not be reached or broke off: check the connection, then try"
            " again."
        ) from problem
