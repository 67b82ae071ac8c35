"""Making one run of several: shards of one list of prompts, or runs of other prompts by the same models.

Lines are copied byte for byte, and every line of a prompt, also one that a later line replaced. The runs that are
merged stay as they are.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from itx.errors import RunError, UsageError
from itx.records import Floor, Mark, Record, Run
from itx.runs.description import (
    find_data_differences,
    find_differences,
    read_description,
    sync_folder,
    write_description,
)
from itx.runs.lines import BORROW, FACTS, MARKS, TRACES, VERIFY, Head, decode, refuse_line
from itx.runs.lock import FolderLock
from itx.runs.refusal import refuse_writing
from itx.runs.sharding import fingerprint_pairs, gather

Shape = TypeVar("Shape")
_HEAD = msgspec.json.Decoder(Head)
_MARK = msgspec.json.Decoder(Mark)


class _Id(Record, frozen=True, kw_only=True):
    id: str


_ID = msgspec.json.Decoder(_Id)


class _Lines(NamedTuple):
    """Where the lines of one prompt are: offset and size of each; what was asked; whether the last was stopped."""

    prompt_id: str
    asked: str | None
    places: list[tuple[int, int]]
    cancelled: bool


class _Part(NamedTuple):
    folder: Path
    run: Run
    prompts: list[_Lines]

    def __str__(self) -> str:
        return f"{self.folder}{f' (shard {self.run.shard})' if self.run.shard else ''}"


def merge_runs(folders: Sequence[Path], out: Path) -> Run:
    """Write one run of several into ``out``, a new or empty folder, whole or not at all; return its description.

    Shards are brought into the order of their list, other runs into the order given. Raises UsageError for fewer than
    two runs; RunError where runs differ in what figures depend on, have a prompt in common, lack prompts, are being
    written, end within a line, or are not all the shards of one list.
    """
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("itx merge needs two runs or more, each once.", "itx merge RUN RUN… --out RUN")
    _check_target(out)
    with ExitStack() as stack:
        for folder in folders:
            read_description(folder)
            if os.access(folder, os.W_OK):
                stack.callback(FolderLock(folder).release)
        parts = [_Part(folder, read_description(folder), list(_list_prompts(folder))) for folder in folders]
        _check_alike(parts)
        _check_apart(parts)
        sharded = any(part.run.shard is not None for part in parts)
        if sharded:
            parts = _order_shards(parts)
        run = _describe(parts)
        _write(parts, run, out, sharded)
    return run


def _check_target(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already.", "Name a new or empty folder with --out.")


def _list_prompts(folder: Path) -> Iterator[_Lines]:
    """Yield the prompts of a run in the order in which they first occur. Raises RunError for a broken or torn line."""
    found: dict[str, _Lines] = {}
    offset = 0
    for number, line in enumerate(_read_lines(folder / TRACES), 1):
        try:
            head = decode(_HEAD, line)
        except ValueError as error:
            raise refuse_line(folder, number, str(error)) from error
        places = found[head.prompt_id].places if head.prompt_id in found else []
        places.append((offset, len(line)))
        found[head.prompt_id] = _Lines(head.prompt_id, head.asked, places, head.cancelled)
        offset += len(line)
    yield from found.values()


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield whole lines; none where there is no such file. Raises RunError where it ends within one."""
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    raise RunError(
                        f"{path} ends within a line: its writer was stopped.",
                        f"Give the command that recorded {path.parent} again; it goes on from there.",
                    )
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(path.parent))}") from error


def _check_alike(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        one, other = (replace(each.run, shard=None) for each in (first, part))
        differences = find_differences(one, other) or find_data_differences(other.data, one.data)
        if differences:
            raise RunError(
                f"{part.folder} was recorded otherwise than {first.folder}: {'; '.join(differences)}.",
                "Runs are merged where models, decoding, context, thresholds and tuning data agree.",
            )


def _check_apart(parts: Sequence[_Part]) -> None:
    seen: dict[str, _Part] = {}
    for part in parts:
        for prompt in part.prompts:
            if prompt.prompt_id in seen:
                raise RunError(
                    f"{seen[prompt.prompt_id]} and {part} both have the prompt {prompt.prompt_id!r}.",
                    "Merge runs of different prompts, or give prompts ids of their own and record them again.",
                )
            seen[prompt.prompt_id] = part


def _order_shards(parts: Sequence[_Part]) -> list[_Part]:
    """Return the shards in their order, having checked that they are all of one list, and whole."""
    shards = [part.run.shard for part in parts if part.run.shard is not None]
    first = shards[0]
    if len(shards) < len(parts) or any((each.count, each.list) != (first.count, first.list) for each in shards):
        raise RunError(
            f"These are not shards of one list of prompts: {'; '.join(map(str, parts))}.",
            "Record the parts with one file and one N in --shard I/N.",
        )
    by_number = {part.run.shard.number: part for part in parts if part.run.shard is not None}
    missing = [number for number in range(1, first.count + 1) if number not in by_number]
    if missing or len(by_number) < len(parts):
        twice = "" if missing else " (one of them is there twice)"
        lacking = f": shard {', '.join(map(str, missing))} is missing" if missing else twice
        raise RunError(
            f"{len(parts)} of {first.count} shards are not the whole list{lacking}.",
            "Record each of them with --shard I/N, and merge them all.",
        )
    ordered = [by_number[number] for number in range(1, first.count + 1)]
    for number, part in enumerate(ordered, 1):
        wanted = len(range(number, first.prompts + 1, first.count))
        done = sum(not prompt.cancelled for prompt in part.prompts)
        if done < wanted:
            raise RunError(
                f"{part} has {done} of its {wanted} prompts.", "Give its command again; it goes on from there."
            )
    try:
        prompts = gather([part.prompts for part in ordered])
    except ValueError as error:
        raise RunError(f"The shards do not make one list: {error} prompts.", "Record them again.") from error
    if fingerprint_pairs((prompt.prompt_id, prompt.asked) for prompt in prompts) != first.list:
        raise RunError(
            "The shards' prompts are not those of the list that they name: a traces.jsonl was changed.",
            "Record the shards again.",
        )
    return ordered


def _describe(parts: Sequence[_Part]) -> Run:
    """Return the description of the merged run: the first's, with what the others' checks found, too."""
    runs = [part.run for part in parts]
    warnings = list(dict.fromkeys(warning for run in runs for warning in run.warnings))
    for package in sorted({name for run in runs for name in run.versions}):
        versions = list(dict.fromkeys(run.versions.get(package, "none") for run in runs))
        if len(versions) > 1:
            warnings.append(f"The runs that were merged had different versions of {package}: {', '.join(versions)}.")
    return replace(
        runs[0],
        created=min(run.created for run in runs),
        warnings=warnings,
        floors=_find_floors(runs),
        shard=None,
        merged=[command for run in runs for command in (run.merged or [run.command])],
    )


def _find_floors(runs: Sequence[Run]) -> list[Floor]:
    """Return, of noise floors measured alike, the highest."""
    found: dict[tuple[str, str, str | None, str | None], Floor] = {}
    for floor in (floor for run in runs for floor in run.floors):
        key = (floor.model, floor.dtype, floor.engine, floor.quantization)
        if key not in found or floor.kl_mean > found[key].kl_mean:
            found[key] = floor
    return list(found.values())


def _write(parts: Sequence[_Part], run: Run, out: Path, sharded: bool) -> None:
    new = out.parent / f".{out.name}.merging"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            _write_file(new / TRACES, _take_traces(parts, sharded))
            for name, lines in (
                (BORROW, _chain(parts, BORROW)),
                (VERIFY, _chain(parts, VERIFY)),
                (MARKS, _sort_marks(parts)),
                (FACTS, _take_facts(parts, sharded)),
            ):
                if any((part.folder / name).exists() for part in parts):
                    _write_file(new / name, lines)
            write_description(new, run)
            new.replace(out)
            sync_folder(out.parent)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    except OSError as error:
        raise refuse_writing(out, error) from error


def _write_file(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _take_traces(parts: Sequence[_Part], sharded: bool) -> Iterator[bytes]:
    """Yield every line, those of a prompt together, prompts in the order of the list."""
    with ExitStack() as stack:
        files = [stack.enter_context((part.folder / TRACES).open("rb")) for part in parts]
        lists = [[(file, prompt) for prompt in part.prompts] for file, part in zip(files, parts, strict=True)]
        for file, prompt in gather(lists) if sharded else [pair for each in lists for pair in each]:
            for offset, size in prompt.places:
                file.seek(offset)
                yield file.read(size)


def _chain(parts: Sequence[_Part], name: str) -> Iterator[bytes]:
    for part in parts:
        yield from _read_lines(part.folder / name)


def _sort_marks(parts: Sequence[_Part]) -> list[bytes]:
    """Return all judgements by their time: the last one of a span counts."""
    return sorted(_chain(parts, MARKS), key=lambda line: _read(_MARK.decode, line, MARKS).time)


def _take_facts(parts: Sequence[_Part], sharded: bool) -> list[bytes]:
    """Return the lines of all facts, those of one together, in the order of their list.

    Raises RunError where a shard lacks facts, or two runs say different things of one.
    """
    lists = [_list_facts(part.folder) for part in parts]
    try:
        ids = gather([list(each) for each in lists]) if sharded else [name for each in lists for name in each]
    except ValueError as error:
        raise RunError(
            f"Some shards lack facts: they have {error}.", "Give their commands again, with --facts."
        ) from error
    merged: dict[str, list[bytes]] = {}
    for name in ids:
        for each in lists:
            if name not in each or merged.get(name) == each[name]:
                continue
            if name in merged:
                raise RunError(
                    f"Two of the runs say different things of the fact {name!r}.",
                    "Ask for facts in one of the runs only, or in each for facts with ids of their own.",
                )
            merged[name] = each[name]
    return [line for lines in merged.values() for line in lines]


def _list_facts(folder: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for line in _read_lines(folder / FACTS):
        found.setdefault(_read(_ID.decode, line, FACTS).id, []).append(line)
    return found


def _read(read: Callable[[bytes], Shape], line: bytes, name: str) -> Shape:
    try:
        return read(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"A line of {name} cannot be read: {error}.", "itx open names the file and the line.") from error
