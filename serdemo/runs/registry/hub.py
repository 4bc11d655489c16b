"""Push checkpoints to the Hugging Face hub (private by default), and pull them from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
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
from serdemo.nn.checkpoint_files import DESCRIPTION, INDEX, WEIGHTS, is_weights
from serdemo.nn.description import read_description
from serdemo.nn.transformers_files import CONFIG, LABEL_MAP, PICKLES
from serdemo.runs.registry.entry import PREFIXES, files_of, is_checkpoint_file
from serdemo.runs.registry.eval_results import EVAL_RESULTS, eval_results
from serdemo.runs.registry.store import Registry, default_registry, slugify
from serdemo.schema import proxies, settings
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path, write_json

MAX_PULL_BYTES = 8_000_000_000  # the largest encoders that people fine-tune, in 32 bits
STATUS_REASONS = {
    401: "the token is not valid: set HF_TOKEN to one that is",
    402: "the account's storage for private models is full",
    403: "this token may not do that there: it needs the right to write to this model",
    413: "the model is larger than the hub takes",
    429: "there were too many requests: try again in some minutes",
}
# The bases of the library's own errors, among them those of the connection
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    *HfHubHTTPError.__bases__,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A pushed checkpoint: the URL of the model's page, the commit, and whether it is private."""

    url: str
    commit: str
    private: bool


def push(folder: Path, repo: str, *, public: bool = False, force: bool = False) -> Pushed:
    """Upload a checkpoint's files to the model repository `repo` (OWNER/NAME), created if missing.

    Raises UsageError without a token (HF_TOKEN or `hf auth login`), for a repository whose visibility differs
    from `public`, and without `force` for one that holds a model; SerdemoError for what the hub refuses.
    """
    description = read_description(folder)
    with _hub_errors(repo):
        if not (token := get_token()):
            raise UsageError(
                f"Pushing to {repo} needs a token of the hub that may write: set HF_TOKEN to one."
            )
        api = HfApi(token=token)
        names, present = files_of(folder), dict[str, int]()
        try:
            info = api.model_info(repo)
            _refuse_unconfirmed(info, repo, public, force)
            present = _files(info)
        except RepositoryNotFoundError:
            api.create_repo(repo, private=not public, repo_type="model")
        source = recovered_path(folder)
        # Weights in other files would be read in place of these.
        stale = [name for name in present if is_weights(name) and name not in names]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(name, source / name) for name in names),
            *(CommitOperationDelete(name) for name in stale),
        ]
        if results := eval_results(folder, f"{api.endpoint}/{repo}"):
            operations.append(CommitOperationAdd(EVAL_RESULTS, results.encode()))
        message = f"{description.name}, by serdemo {__version__}"
        commit = api.create_commit(repo, operations, commit_message=message)
        return Pushed(f"{api.endpoint}/{repo}", commit.oid, not public)


def pull(
    repo: str,
    folder: Path,
    revision: str | None = None,
    *,
    max_bytes: int = MAX_PULL_BYTES,
    own_token: bool = True,
    label_map: Mapping[str, str] | None = None,
) -> str:
    """Download the files of a checkpoint from `repo` into `folder`; returns their commit.

    `revision` is a commit, tag or branch; without `own_token` only public repositories are found. The
    `label_map` of a model of transformers is kept beside it. Raises SerdemoError for a repository without
    a model that serdemo reads, or with one larger than `max_bytes`.
    """
    with _hub_errors(repo):
        api = HfApi(token=(own_token and get_token()) or False)
        info = api.model_info(repo, revision=revision, files_metadata=True)
        commit = info.sha or revision or "main"
        sizes = {name: n for name, n in _files(info).items() if is_checkpoint_file(name)}
        _refuse_incomplete(repo, _files(info).keys())
        if sum(sizes.values()) > max_bytes:
            raise SerdemoError(f"{repo} is larger than {max_bytes / 1e6:.0f} MB.")
        for name in sizes:
            api.hf_hub_download(repo, name, revision=commit, local_dir=folder)
        if label_map:
            write_json(folder / LABEL_MAP, dict(label_map))
        return commit


def _refuse_incomplete(repo: str, names: Collection[str]) -> None:
    """Raise SerdemoError where a repository lacks a description or weights."""
    described = DESCRIPTION in names or CONFIG in names
    if described and (WEIGHTS in names or INDEX in names):
        return
    if CONFIG in names and any(Path(name).match(kind) for name in names for kind in PICKLES):
        raise SerdemoError(
            f"{repo} holds its weights as a pickle, which may run code, and is not downloaded: convert them"
            f" to {WEIGHTS}, or choose a model that has it."
        )
    lacking = WEIGHTS if described else f"{DESCRIPTION} (of serdemo) or {CONFIG} (of transformers)"
    raise SerdemoError(f"{repo} holds no model that serdemo reads: it has no {lacking}.")


def resolve_checkpoint(
    name: str, registry: Registry | None = None, label_map: Mapping[str, str] | None = None
) -> Path:
    """The folder of a checkpoint named by its key in the registry (by default that of SERDEMO_RUNS), or as
    OWNER/NAME on the hub, from where it is downloaded into the registry once, with its `label_map`. Any
    other name is that of a folder.

    Raises what `pull` and `Registry.add` raise.
    """
    registry = registry or default_registry()
    folders = {entry.key: entry.folder for entry in registry.entries()}
    local_name = slugify(name.replace("/", "--"))
    if folder := folders.get(name) or folders.get(f"{PREFIXES['imported']}{local_name}"):
        return folder
    # A path in or below an existing folder is the misspelt name of a file, not of a repository.
    if name.count("/") != 1 or "\\" in name or Path(name).parent.is_dir():
        return Path(name)

    def fill(folder: Path) -> None:
        pull(name, folder, label_map=label_map)

    return registry.add(local_name, fill).folder


def _files(info: ModelInfo) -> dict[str, int]:
    """Sizes in bytes of a repository's files by name, 0 where unknown."""
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def _refuse_unconfirmed(info: ModelInfo, repo: str, public: bool, force: bool) -> None:
    if not info.private and not public:
        raise UsageError(f"{repo} is public: add --public to push there, or name another.")
    if info.private and public:
        raise UsageError(f"{repo} is private: push without --public, or make it public first.")
    if not force and any(name == DESCRIPTION or is_weights(name) for name in _files(info)):
        raise UsageError(
            f"{repo} holds a model already: add --force to put this one in its place (the hub keeps"
            " the earlier one in its history)."
        )


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of the hub's library into sentences, and keep it from writing to the terminal."""
    logging.set_verbosity_error()
    disable_progress_bars()
    if fault := proxies.unusable():
        raise fault
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
        reason = STATUS_REASONS.get(status or 0, f"it answered {status}; try again later")
        raise SerdemoError(f"The hub refused the request for {repo}: {reason}.") from problem
    except CONNECTION_ERRORS as problem:
        if type(problem).__module__ == "builtins" and not isinstance(problem, ConnectionError):
            raise  # an error of the disk, not of the hub
        raise SerdemoError(
            f"The hub at {settings.hub_url()} could not be reached or broke off: check the"
            " connection, then try again."
        ) from problem
