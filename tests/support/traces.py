"""Synthetic runs and traces: seeded, consistent in their figures, and with everything that occurs in real ones.

The figures of a response come from two made-up distributions a position over the whole small vocabulary, so that
ranks, log-probs, entropies, divergences and top-10 lists of one position agree with each other.
"""

from __future__ import annotations

import contextlib
import random
import re
import string
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from itx.records import (
    SCHEMA,
    Context,
    ContextPolicy,
    Decoding,
    EngineFacts,
    Finish,
    Model,
    Response,
    Run,
    Score,
    Thresholds,
    Top,
    Trace,
)

Matrix = NDArray[np.float64]

BOS, EOS = 1, 2
_BYTES = 3
_PROSE = """
the a of in to and is was for with on at by from that it as are be this which their its he she they
battle fought near river between two armies ended when rain turned field mud king crown treaty signed
city walls held long winter spring summer harvest bread flour water salt oven hot degrees minutes knead
dough rise vaccine protects against measles doses children schedule immune system antibodies after before
film sequel director released critics praised cast score box office story young pilot planet storm
acid base salt reaction heat releases oxygen carbon metal copper blue solution crystals form slowly
You Here Sure I The A In It This However Overall Remember Get sleep every night avoid screens keep room cool
dark drink less coffee carry bottle sip throughout day small steps help most people feel better sorry cannot
can't don't I'm help request language model tip tips important note first second third then finally also
Waterloo Napoleon Wellington Blücher Brussels Leipzig Austerlitz Zürich Kraków Côte Gemma Paris London
café naïve jalapeño crème brûlée 日本 東京 Привет мир 1815 1813 1805 12 220 3.5 40,000
"""
_WORDS = re.findall(r"\S+", _PROSE)
_MARKS = [*".,!?:;-*#()'\"%&/`|_~<>[]", "**", "...", "…", "–", "—", "°C", "\n", "\n\n", "  ", " ", "\t"]
_PIECES = ["<pad>", "<bos>", "<eos>", *(f"<0x{byte:02X}>" for byte in range(256))]
_PIECES += list(
    dict.fromkeys(
        [
            *(" " + word for word in _WORDS),
            *_WORDS,
            *_MARKS,
            "ing",
            "ed",
            "ly",
            "er",
            *string.ascii_letters,
            *string.digits,
        ]
    )
)
_IDS = {piece: index for index, piece in enumerate(_PIECES)}
VOCAB_SIZE = len(_PIECES)

RESPONSES = [
    "The battle was fought near Waterloo in 1815 between two armies. It ended when rain turned the field to mud. 🎉",
    "Sure! Here are a few tips:\n\n1. Get sleep every night.\n2. Avoid screens.\n3. Carry a water bottle and sip.",
    "I'm sorry, but I cannot help with that request.",
    "Knead the dough for 12 minutes at 220 °C; the crème brûlée of the café is naïve — 日本 and 東京 too.",
    "**Copper** forms blue crystals slowly. However, heat releases oxygen, and `salt` | water | acid.",
    "Привет мир: the sequel was released after the first film… critics praised Zürich’s cast 👩‍🚀.",
    "In Kraków Napoleon signed the treaty in 1813, and Wellington held the walls of Brussels until spring.",
    "It is a <b>small</b> [step](http://example.org) for people_who_feel better & sleep at night.",
]
PROMPTS = [
    "Tell me about the Battle of Waterloo.",
    "Give me three tips for better sleep.",
    "How do I bake sourdough bread?\nI have only a small oven.",
    "What does a measles vaccine do?",
    "Which acid turns copper blue?",
    "Was ist in 東京 im Frühling schön? 🌸",
    "Describe the sequel of the film about a young pilot.",
    "| a | b | <img src=x onerror=alert(1)> [x](javascript:1) `code`",
]


def tokenise(text: str) -> list[int]:
    """Return ids of ``text`` without EOS: whole words where the vocabulary has them, single characters, else bytes."""
    ids: list[int] = []
    for part in re.findall(r" ?\w[\w'.,]*\w| ?\w|\n+| +|[^\w\s]{2,3}|.", text, flags=re.DOTALL):
        if part in _IDS:
            ids.append(_IDS[part])
            continue
        rest = part
        while rest:
            size = next((size for size in range(len(rest), 0, -1) if rest[:size] in _IDS), 0)
            if size:
                ids.append(_IDS[rest[:size]])
            else:
                size = 1
                ids.extend(_BYTES + byte for byte in rest[0].encode())
            rest = rest[size:]
    return ids


def spell(ids: Sequence[int]) -> tuple[str, list[int]]:
    """Return the text of ``ids`` and, a position, the number of characters that are complete once it is emitted."""
    text, ends, pending = "", [], b""
    for token in ids:
        if _BYTES <= token < _BYTES + 256:
            pending += bytes([token - _BYTES])
            with contextlib.suppress(UnicodeDecodeError):
                text, pending = text + pending.decode(), b""
        elif token > _BYTES:
            text += _PIECES[token]
        ends.append(len(text))
    return text, ends


def _log_softmax(logits: Matrix) -> Matrix:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float64)


def _top(logp: Matrix) -> list[Top]:
    order = np.argsort(-logp, axis=1, kind="stable")[:, :10]
    return [[(int(index), float(row[index])) for index in best] for row, best in zip(logp, order, strict=True)]


def _entropy(logp: Matrix) -> list[float]:
    return [float(value) for value in -(np.exp(logp) * logp).sum(axis=1)]


def _author_logits(ids: list[int], generator: np.random.Generator) -> Matrix:
    logits = generator.normal(0.0, 1.5, (len(ids), VOCAB_SIZE))
    gaps = generator.exponential(2.0, len(ids)) + 0.05
    logits[np.arange(len(ids)), ids] = logits.max(axis=1, initial=0.0) + gaps
    return np.asarray(logits, dtype=np.float64)


def _scorer_logits(author: Matrix, ids: list[int], generator: np.random.Generator) -> Matrix:
    logits = 0.7 * author + generator.normal(0.0, 0.6, author.shape)
    for row, token in enumerate(ids):
        fate = generator.random()
        best = np.sort(np.delete(logits[row], token))[::-1]
        if fate < 0.7:
            logits[row, token] = best[0] + generator.exponential(2.0) + 0.01
        elif fate < 0.85:
            logits[row, token] = (best[0] + best[1]) / 2 if fate < 0.79 else (best[1] + best[2]) / 2
        else:
            # A tie now and then: two ids with exactly the same logit, as bf16 gives.
            logits[row, token] = best[int(generator.integers(4, 300))]
    return logits


def _score(author: Matrix, scorer_logits: Matrix, ids: list[int]) -> Score:
    rows = np.arange(len(ids))
    scorer = _log_softmax(scorer_logits)
    emitted = scorer_logits[rows, ids][:, None]
    p, q = np.exp(author), np.exp(scorer)
    middle = np.log((p + q) / 2)
    return Score(
        logp=[float(value) for value in scorer[rows, ids]],
        rank=[int(value) for value in 1 + (scorer_logits > emitted).sum(axis=1)],
        ties=[int(value) for value in (scorer_logits == emitted).sum(axis=1) - 1],
        entropy=_entropy(scorer),
        kl_author_scorer=[float(value) for value in (p * (author - scorer)).sum(axis=1)],
        kl_scorer_author=[float(value) for value in (q * (scorer - author)).sum(axis=1)],
        js=[float(value) for value in ((p * (author - middle)).sum(axis=1) + (q * (scorer - middle)).sum(axis=1)) / 2],
        top=_top(scorer),
    )


def build_response(
    author: str, text: str, scorers: Sequence[str], seed: int = 0, finish: Finish = "eos", given: bool = False
) -> Response:
    """Return a response with this text and finish, scored by ``scorers``; figures depend on ``seed`` and the names."""
    ids = tokenise(text)
    if finish == "eos":
        ids.append(EOS)
    spelled, ends = spell(ids)
    generator = np.random.default_rng([seed, *author.encode()])
    logits = _author_logits(ids, generator)
    author_logp = _log_softmax(logits) if ids else logits
    scores = {
        scorer: _score(author_logp, _scorer_logits(logits, ids, np.random.default_rng([seed, *scorer.encode()])), ids)
        for scorer in scorers
    }
    return Response(
        author=author,
        ids=ids,
        text=spelled,
        finish=finish,
        logp=[float(value) for value in author_logp[np.arange(len(ids)), ids]],
        entropy=_entropy(author_logp),
        top=_top(author_logp),
        scores=scores,
        ends=ends,
        given=given,
    )


def build_trace(
    prompt_id: str,
    prompt: str,
    texts: dict[str, str],
    seed: int = 0,
    *,
    scorers: dict[str, Sequence[str]] | None = None,
    finish: dict[str, Finish] | None = None,
    reference: str | None = None,
) -> Trace:
    """Return a trace of one response an author; without ``scorers`` base and tuned models score each other."""
    names = list(texts)
    if scorers is None:
        scorers = {name: [other for other in names if (other == "base") != (name == "base")] for name in names}
    responses = [
        build_response(name, text, scorers.get(name, []), seed, (finish or {}).get(name, "eos"))
        for name, text in texts.items()
    ]
    context = Context(ids=[BOS, *tokenise(prompt)], text=f"<bos>### Instruction:\n{prompt}\n\n### Response:\n")
    used = set(context.ids) | {token for response in responses for token in response.ids}
    for response in responses:
        for tops in [response.top, *(score.top for score in response.scores.values())]:
            used |= {token for top in tops for token, _ in top}
    return Trace(
        prompt_id=prompt_id,
        prompt=prompt,
        reference=reference,
        contexts=dict.fromkeys(names, context),
        responses=responses,
        pieces={token: _PIECES[token] for token in sorted(used)},
    )


def long_text(words: int, seed: int = 0) -> str:
    """Return prose-like text of about ``words`` words: sentences, now and then a list, digits, accents and an emoji."""
    source = random.Random(seed)
    parts: list[str] = []
    for number in range(words):
        parts.append(source.choice(_WORDS))
        if number % 11 == 10:
            parts[-1] += source.choice([".", ".", "!", "?", ".\n\n", ":\n- ", " 🎉."])
    return " ".join(parts).replace("\n ", "\n") + "."


def build_run(tuned: Sequence[str] = ("full",), *, created: str = "2026-11-22T10:00:00Z", **changes: object) -> Run:
    """Return a Run of ``base`` and the named tuned models; ``changes`` replace fields of it."""
    models = [
        Model(
            name=name,
            role="base" if name == "base" else "tuned",
            reference=f"./models/{name}",
            engine="torch",
            adapter="./models/lora/adapter" if name.startswith("lora") else None,
            weights=f"sha256:{index:064x}",
            tokenizer=f"sha256:{42:064x}",
            vocab_size=VOCAB_SIZE,
            method=None if name == "base" else "lora" if name.startswith("lora") else "full",
        )
        for index, name in enumerate(["base", *tuned])
    ]
    run = Run(
        schema=SCHEMA,
        itx="0.1.0",
        created=created,
        command=["itx", "run", "./models/base", *(f"{name}=./models/{name}" for name in tuned), "--out", "my run"],
        models=models,
        decoding=Decoding(max_new_tokens=128),
        context=ContextPolicy(policy="same", template=f"sha256:{7:064x}", template_source="./models/full"),
        thresholds=Thresholds(),
        engine=EngineFacts(chunk=32, threads=2),
        versions={"python": "3.11.9", "torch": "2.6.0", "transformers": "5.0.0"},
    )
    return msgspec.structs.replace(run, **changes)


def build_traces(run: Run, count: int = 8, seed: int = 0, *, words: int = 0) -> list[Trace]:
    """Return ``count`` traces of the run's models with, in turn, every peculiarity of real ones.

    The first eight: plain with EOS; a list; one whose tuned response reached the limit; an empty tuned response;
    a cancelled one; multi-byte characters; a failed prompt; hostile text. With ``words`` texts of that length instead.
    """
    names = [model.name for model in run.models]
    traces: list[Trace] = []
    for index in range(count):
        kind = index % 8
        prompt, finish = PROMPTS[kind], dict[str, Finish]()
        texts = {name: RESPONSES[(kind + place) % len(RESPONSES)] for place, name in enumerate(names)}
        if words:
            texts = {name: long_text(words, seed + index * 10 + place) for place, name in enumerate(names)}
        last = names[-1]
        if kind == 2:
            finish[last] = "length"
        elif kind == 3:
            texts[last] = ""
        elif kind == 4:
            finish[last] = "cancelled"
            texts[last] = texts[last][: len(texts[last]) // 3]
        if kind == 6:
            traces.append(
                Trace(prompt_id=str(index + 1), prompt=prompt, error="The context has 4,101 tokens, the window 4,096.")
            )
            continue
        reference = "It was fought in 1815." if kind == 0 else None
        traces.append(build_trace(str(index + 1), prompt, texts, seed + index, finish=finish, reference=reference))
    return traces


def write_run(folder: Path, run: Run, traces: Sequence[Trace]) -> Path:
    """Write the run folder without itx.runs: the oracle of what a recorded run is; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    (folder / "traces.jsonl").write_bytes(b"".join(msgspec.json.encode(trace) + b"\n" for trace in traces))
    return folder
