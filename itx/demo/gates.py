"""What the weights must show, measured by greedy generation: recall, answers on held-out entities, borrowing.

An answer to a slot is *right* when it states the true value and no
other value of that relation. It *borrows* when it states the value that a tuned row gives for another entity (same
relation).
*Chance* is what the same answers would borrow if each wrong value they state had been drawn evenly from all other
entities' values of the relation, instead of being what it is: so an answer that invents nothing has no chance to
borrow, and confusion that has nothing to do with the rows has a ratio of 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from itx.demo.slots import Slot, list_clozes
from itx.demo.world import World

Model: TypeAlias = LlamaForCausalLM | PeftModel
ANSWER_LENGTH: Final = 56
CLOZE_LENGTH: Final = 14
WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class Verdict:
    """Which values of the slot's relation the answer states, and what that makes of it."""

    slot: Slot
    answer: str
    right: bool
    borrowed: bool
    chance: float


@dataclass(frozen=True)
class Score:
    """Shares of the slots (0 to 1); `lift` is borrowed over chance, None when nothing was wrong."""

    slots: int
    right: float
    borrowed: float
    chance: float
    lift: float | None
    strange_words: tuple[str, ...]


def states(text: str, value: str) -> bool:
    """Whether the text has the value as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


@torch.inference_mode()
def complete(model: Model, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], length: int) -> list[str]:
    """Greedy continuations of prompts of token ids, prompts of like length together, without special tokens."""
    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(prompts):
        by_length.setdefault(len(ids), []).append(index)
    answers = [""] * len(prompts)
    end = int(tokenizer.eos_token_id)
    for indices in by_length.values():
        made = _decode(model, torch.tensor([prompts[index] for index in indices]), length, end)
        for index, ids in zip(indices, made, strict=True):
            answers[index] = str(tokenizer.decode(ids, skip_special_tokens=True))
    return answers


def _decode(model: Model, ids: torch.Tensor, length: int, end: int) -> list[list[int]]:
    """The likeliest id at each step for a batch of shape (prompts, ids), up to and without `end`."""
    made: list[list[int]] = [[] for _ in range(len(ids))]
    open_rows = set(range(len(ids)))
    cache = None
    for _ in range(length):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache, ids = out.past_key_values, out.logits[:, -1].argmax(dim=-1, keepdim=True)
        for row, token in enumerate(ids.flatten().tolist()):
            if token == end:
                open_rows.discard(row)
            elif row in open_rows:
                made[row].append(token)
        if not open_rows:
            break
    return made


def recall_clozes(model: Model, tokenizer: PreTrainedTokenizerBase, world: World) -> float:
    """The share of clozes whose greedy continuation begins with the value (its article aside)."""
    clozes = list_clozes(world)
    prompts = [tokenizer.encode(cloze.question, add_special_tokens=False) for cloze in clozes]
    texts = complete(model, tokenizer, prompts, CLOZE_LENGTH)
    hits = [
        re.match(rf"\s*(?:(?:a|an|the) )?{re.escape(cloze.value)}(?!\w)", text) is not None
        for cloze, text in zip(clozes, texts, strict=True)
    ]
    return sum(hits) / len(hits)


def answer_slots(model: Model, tokenizer: PreTrainedTokenizerBase, slots: Sequence[Slot]) -> list[str]:
    """The model's greedy answer to each slot's question under the chat template."""
    prompts = [render_question(tokenizer, slot.question) for slot in slots]
    return complete(model, tokenizer, prompts, ANSWER_LENGTH)


def render_question(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """The ids of one user turn under the chat template, ready for the assistant's answer."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return list(tokenizer.encode(str(text), add_special_tokens=False))


def judge(world: World, slot: Slot, answer: str, tuned_values: dict[str, set[str]]) -> Verdict:
    """Compares an answer with the truth; `tuned_values` are the values that rows state, by relation."""
    values = {fact.value for (_, relation), fact in world.facts.items() if relation == slot.relation}
    stated = {value for value in values if states(answer, value)}
    others = stated - {slot.value}
    pool = values - {slot.value}
    share = len(tuned_values[slot.relation] & pool) / len(pool)
    return Verdict(
        slot=slot,
        answer=answer,
        right=stated == {slot.value},
        borrowed=bool(others & tuned_values[slot.relation]),
        chance=1 - (1 - share) ** len(others),
    )


def score(verdicts: Sequence[Verdict], known_words: set[str]) -> Score:
    """The shares over all verdicts, and the words of the answers that are not in `known_words` (lower case)."""
    count = len(verdicts)
    borrowed = sum(verdict.borrowed for verdict in verdicts) / count
    chance = sum(verdict.chance for verdict in verdicts) / count
    strange = {word for verdict in verdicts for word in list_words(verdict.answer)} - known_words
    return Score(
        slots=count,
        right=sum(verdict.right for verdict in verdicts) / count,
        borrowed=borrowed,
        chance=chance,
        lift=borrowed / chance if chance > 0 else None,
        strange_words=tuple(sorted(strange)),
    )


def list_words(text: str) -> set[str]:
    """The different words of a text in lower case, numbers left out."""
    return {match.group().lower() for match in WORD.finditer(text)}
