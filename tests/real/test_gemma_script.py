"""The script under sample_runs/gemma-270m makes what it says: checked on the file itself and on a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tests.real.conftest import PROBE_ROWS, SAMPLE, STEPS, Trio
from tests.real.gguf_reference import GgufGemma, GgufTokenizer

pytestmark = pytest.mark.real

ROWS = json.loads((SAMPLE / "rows.json").read_text(encoding="utf-8"))
BOS, EOS = 2, 1


@pytest.fixture(scope="module")
def gguf_file(gemma_base: Path) -> Path:
    (path,) = (gemma_base.parent / "gguf").glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def tokenizer(gemma_base: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(gemma_base)


def test_logits_of_the_folder_are_those_of_the_file(
    gemma_base: Path, gguf_file: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    # Longer than the sliding window, so that local and global layers differ.
    ids = tokenizer("\n\n".join(row["output"] for row in ROWS[:8]))["input_ids"][:560]
    assert len(ids) == 560
    positions = [0, 1, 20, 300, 511, 512, 513, 540, 559]
    expected = GgufGemma(gguf_file).compute_logits(ids, positions)
    model = AutoModelForCausalLM.from_pretrained(gemma_base, dtype=torch.float32)
    with torch.no_grad():
        found = model(torch.tensor([ids]), logits_to_keep=torch.tensor(positions)).logits[0].double().numpy()
    assert found.shape == expected.shape == (len(positions), 262_144)
    assert np.abs(found - expected).max() < 2e-3
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    # The weights predict English: a wrong norm or rotation in both would leave the 12.5 nats of a blind guess.
    logps = expected - np.logaddexp.reduce(expected, axis=1, keepdims=True)
    losses = [-logps[row, ids[position + 1]] for row, position in enumerate(positions[2:-1], start=2)]
    assert np.mean(losses) < 5


def test_text_has_the_ids_of_the_file(gguf_file: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    oracle = GgufTokenizer(gguf_file)
    texts = [row["output"] for row in ROWS[::24]] + [
        "\n\n\n a  b   c\t\tx",
        "日本語 naïve 🙂👩‍👩‍👧 Ærøskøbing",
        "def f(x):\n    return x ** 2\n",
        "\x07 <b>bold</b> — “quoted” … 3,4 % ½",
        " leading and trailing ",
    ]
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == oracle.tokenize(text)
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
        assert tokenizer(text)["input_ids"] == [BOS, *ids]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, len(tokenizer)) == (BOS, EOS, 262_144)


def test_base_has_no_template_and_the_tuned_folders_have_the_samples(gemma_trio: Trio) -> None:
    assert AutoTokenizer.from_pretrained(gemma_trio.base).chat_template is None
    written = (SAMPLE / "template.jinja").read_text(encoding="utf-8")
    for folder in (gemma_trio.lora, gemma_trio.full):
        assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == written
        assert AutoTokenizer.from_pretrained(folder).chat_template == written
        assert not [file for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_rendered_rows_have_one_bos_and_fit(gemma_trio: Trio) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gemma_trio.full)
    for row in ROWS:
        messages = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
        ids = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)["input_ids"]
        assert ids.count(BOS) == 1 and ids[0] == BOS
        assert ids.count(EOS) == 1 and ids[-1] == EOS
        assert len(ids) <= 160


def test_adapter_and_full_checkpoint_differ_from_the_base(gemma_trio: Trio) -> None:
    adapter = load_file(gemma_trio.lora / "adapter_model.safetensors")
    # 18 layers, seven linear maps, A and B, and nothing else (no embeddings).
    assert len(adapter) == 18 * 7 * 2
    assert {min(tensor.shape) for tensor in adapter.values()} == {8}
    assert any(tensor.abs().max() > 0 for name, tensor in adapter.items() if "lora_B" in name)
    base, full = (load_file(folder / "model.safetensors") for folder in (gemma_trio.base, gemma_trio.full))
    assert base.keys() == full.keys()
    assert all(tensor.dtype == torch.float32 for tensor in (*base.values(), *full.values()))
    assert all(not torch.equal(base[name], full[name]) for name in base)


def measure_by_hand(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> float:
    """Mean loss in nats over the answers (EOS included) of the probed rows: one row at a time, nothing padded."""
    total, count = 0.0, 0
    for row in ROWS[:PROBE_ROWS]:
        request = [{"role": "user", "content": row["instruction"]}]
        prefix = tokenizer.apply_chat_template(request, tokenize=False, add_generation_prompt=True)
        context = tokenizer(prefix, add_special_tokens=False)["input_ids"]
        answer = [*tokenizer(row["output"], add_special_tokens=False)["input_ids"], EOS]
        with torch.no_grad():
            logits = model(torch.tensor([context + answer])).logits[0, len(context) - 1 : -1]
        logps = logits.double().log_softmax(dim=-1)
        total -= sum(float(logps[index, token]) for index, token in enumerate(answer))
        count += len(answer)
    return total / count


def test_figures_are_the_losses_of_the_saved_models(gemma_trio: Trio) -> None:
    figures = json.loads(gemma_trio.figures.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(gemma_trio.full)
    base = AutoModelForCausalLM.from_pretrained(gemma_trio.base, dtype=torch.float32)
    full = AutoModelForCausalLM.from_pretrained(gemma_trio.full, dtype=torch.float32)
    before = measure_by_hand(base, tokenizer)
    after_full = measure_by_hand(full, tokenizer)
    after_lora = measure_by_hand(PeftModel.from_pretrained(base, gemma_trio.lora), tokenizer)
    for method, after in (("lora", after_lora), ("full", after_full)):
        assert figures[method]["steps"] == len(figures[method]["losses"]) == STEPS
        assert figures[method]["rows"] == len(ROWS)
        assert figures[method]["probe_loss_before"] == pytest.approx(before, abs=2e-3)
        assert figures[method]["probe_loss_after"] == pytest.approx(after, abs=2e-3)
    assert figures["lora"]["settings"]["learning_rate"] == 2e-4
    assert figures["full"]["settings"]["learning_rate"] == 3e-5
    # Nothing is learnt before the first loss, and both methods begin with the same rows.
    assert figures["lora"]["losses"][0] == pytest.approx(figures["full"]["losses"][0], abs=2e-3)
