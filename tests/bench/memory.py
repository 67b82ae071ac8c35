"""The most memory while comparing a base with a LoRA on it, against the base alone, loading left out."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.arms import Arm, Measurement, alternate
from tests.bench.machine import cores

ARMS = ("base", "itx")


def reset_peak() -> None:
    """Set the peak of this process's resident memory to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def read_peak() -> float:
    """Return the peak of resident memory since the reset, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("this system does not tell VmHWM")
    return int(found[1]) / 1024


def run_base(folder: Path) -> None:
    """Load the base with transformers and generate."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.bench.weights import QUESTION, TOKENS

    torch.set_num_threads(cores())
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    model.generation_config.eos_token_id = None
    turns = [{"role": "user", "content": QUESTION}]
    context = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reset_peak()
    with torch.inference_mode():
        model.generate(**context, max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)


def run_itx(folder: Path) -> None:
    """Load base and adapter with itx and compare."""
    from tests.bench.weights import TOKENS, ask_itx, load_itx

    comparer = load_itx(folder / "base", folder / "lora", cores())
    reset_peak()
    trace = ask_itx(comparer)
    assert len(trace.responses[0].ids) == TOKENS


def measure(repeats: int) -> Measurement:
    """Return the peak after loading in MiB: itx on base and LoRA, and the base alone; a process each time."""
    from tests.bench.weights import NAMED_135M, TOKENS, write_base, write_lora

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lora(write_base(folder), folder)

        def run(arm: str) -> Arm:
            def run_once() -> float:
                words = [sys.executable, "-m", "tests.bench.memory", arm, str(folder)]
                done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
                return float(done.stdout.split()[-1])

            return run_once

        ours, floor = alternate(run("itx"), run("base"), repeats, warm=0)
    return Measurement(
        ours=ours,
        floor=floor,
        notes=[f"MiB resident (VmHWM, reset after loading); {NAMED_135M}; LoRA r = 8; {TOKENS} tokens"],
    )


def main() -> None:
    """Run one arm in this process and print its peak in MiB."""
    arm, folder = sys.argv[1], Path(sys.argv[2])
    {"base": run_base, "itx": run_itx}[arm](folder)
    sys.stdout.write(f"{read_peak():.1f}\n")


if __name__ == "__main__":
    main()
