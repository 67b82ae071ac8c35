"""Write the tuned weights that ``make.py`` made as GGUF files, for llama.cpp.

python quantise.py --base BASE.gguf --made FOLDER --out FOLDER

``full.gguf`` has the full tuning as Q8_0 (its vectors as F32), with the base file's own metadata and the chat template;
``lora.gguf`` is the adapter in F32, to be attached to the base file.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Final

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quantize
from numpy.typing import NDArray
from safetensors.numpy import load_file

ARCHITECTURE: Final = "gemma3"
FILE_TYPE_Q8_0: Final = 7
PLAIN: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS: Final = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
OUTER: Final = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
_LAYER: Final = re.compile(r"(?:base_model\.model\.)?model\.layers\.(\d+)\.(.+?)\.(weight|lora_[AB]\.weight)")


def name_tensor(name: str) -> str:
    """Return what a GGUF file calls a tensor of the checkpoint or of the adapter. Raises KeyError."""
    if name in OUTER:
        return OUTER[name]
    match = _LAYER.fullmatch(name)
    if match is None:
        raise KeyError(name)
    layer, module, part = match.groups()
    return f"blk.{layer}.{(PLAIN | NORMS)[module]}.{part if part == 'weight' else 'weight.' + part[:6].lower()}"


def copy_metadata(source: GGUFReader, writer: GGUFWriter) -> None:
    """Give the new file all that the old one says of itself, but for its tensors, architecture and quantisation."""
    for name, field in source.fields.items():
        if name.startswith("GGUF.") or name in {"general.architecture", "general.file_type"}:
            continue
        kind, *parts = field.types
        writer.add_key_value(name, field.contents(), kind, sub_type=parts[-1] if kind is GGUFValueType.ARRAY else None)


def write_full(base: Path, folder: Path, target: Path) -> None:
    """Write a checkpoint of the base's architecture as Q8_0."""
    writer = GGUFWriter(target, ARCHITECTURE)
    copy_metadata(GGUFReader(base), writer)
    writer.add_file_type(FILE_TYPE_Q8_0)
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))
    for name, values in load_file(folder / "model.safetensors").items():
        called = name_tensor(name)
        plain = np.ascontiguousarray(values, dtype=np.float32)
        if called.endswith("_norm.weight"):
            # The file's norms contain the 1 that the checkpoint's leave out.
            writer.add_tensor(called, plain + np.float32(1))
        else:
            writer.add_tensor(called, quantize(plain, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    _finish(writer)


def write_adapter(folder: Path, target: Path) -> None:
    """Write a PEFT LoRA as a GGUF adapter in F32."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(target, ARCHITECTURE)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    # Without it llama.cpp scales by 1, and not by alpha / r.
    writer.add_float32("adapter.lora.alpha", float(settings["lora_alpha"]))
    tensors: dict[str, NDArray[np.float32]] = load_file(folder / "adapter_model.safetensors")
    for name, values in tensors.items():
        writer.add_tensor(name_tensor(name), np.ascontiguousarray(values, dtype=np.float32))
    _finish(writer)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Read the command line and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--made", type=Path, required=True, help="the folder that make.py filled: lora/ and full/")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    write_full(asked.base, asked.made / "full", asked.out / "full.gguf")
    write_adapter(asked.made / "lora", asked.out / "lora.gguf")


if __name__ == "__main__":
    main()
