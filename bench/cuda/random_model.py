# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint with random bf16 weights, made on the GPU: Llamas and Qwens of a real shape,
which bench/cuda/line.py and bench/cuda/engine.cpp measure, and a small one of each family, which
bench/cuda/agree.py compares.
usage: random_model.py SHAPE DIR TOKENIZER_DIR [LAYERS]
Needs PyTorch. Weights of a real shape are normal with the deviation 0.02, norms are 1. Those of a
small one have the deviation 2 / sqrt(inputs), so that attention and the head prefer some tokens;
norms and biases vary too."""
import json
import pathlib
import shutil
import sys

import torch

SHAPES = {  # hidden, intermediate, heads, kv_heads, layers, vocab
    "1b": (2048, 8192, 32, 8, 16, 128256),
    "8b": (4096, 14336, 32, 8, 32, 128256),
    "70b": (8192, 28672, 64, 8, 80, 128256),
    "qwen3-8b": (4096, 12288, 32, 8, 36, 151936),
    "qwen3-14b": (5120, 17408, 40, 8, 40, 151936),
}
SMALL = (512, 1536, 8, 2, 4, 4096)
FAMILIES = {  # what a small one's config.json says beside the shape
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "mistral": {"architectures": ["MistralForCausalLM"], "model_type": "mistral",
                "sliding_window": 256},
}


def tensors(shape, layers, family="llama"):
    hidden, inter, heads, kv, _, vocab = shape
    head = hidden // heads
    yield "model.embed_tokens.weight", (vocab, hidden)
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "self_attn.q_proj.weight", (heads * head, hidden)
        yield at + "self_attn.k_proj.weight", (kv * head, hidden)
        yield at + "self_attn.v_proj.weight", (kv * head, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, heads * head)
        if family == "qwen2":
            yield at + "self_attn.q_proj.bias", (heads * head,)
            yield at + "self_attn.k_proj.bias", (kv * head,)
            yield at + "self_attn.v_proj.bias", (kv * head,)
        if family == "qwen3":
            yield at + "self_attn.q_norm.weight", (head,)
            yield at + "self_attn.k_norm.weight", (head,)
        yield at + "mlp.gate_proj.weight", (inter, hidden)
        yield at + "mlp.up_proj.weight", (inter, hidden)
        yield at + "mlp.down_proj.weight", (hidden, inter)
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocab, hidden)


def values(name, shape, small):
    """A tensor of a checkpoint, on the GPU."""
    w = torch.empty(shape, device="cuda", dtype=torch.float32 if small else torch.bfloat16)
    if len(shape) > 1:
        w.normal_(0, 2 / shape[1] ** 0.5 if small else 0.02)
    elif small:
        w.normal_(0 if name.endswith("bias") else 1, 0.3)
    else:
        w.fill_(1)
    return w.to(torch.bfloat16)


def write_shard(path, group, small):
    header, at = {}, 0
    for name, shape in group:
        size = 2
        for d in shape:
            size *= d
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, shape in group:
            f.write(values(name, shape, small).view(torch.int16).cpu().numpy().data)


def main():
    small = sys.argv[1] in FAMILIES
    shape = SMALL if small else SHAPES[sys.argv[1]]
    family = sys.argv[1] if small else "qwen3" if sys.argv[1].startswith("qwen3") else "llama"
    out = pathlib.Path(sys.argv[2])
    layers = int(sys.argv[4]) if len(sys.argv) > 4 else shape[4]
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    hidden, inter, heads, kv, _, vocab = shape
    groups, size = [[]], 0
    for name, dims in tensors(shape, layers, family):
        bytes_ = 2 * torch.Size(dims).numel()
        if groups[-1] and size + bytes_ > 5_000_000_000:
            groups.append([])
            size = 0
        groups[-1].append((name, dims))
        size += bytes_
    index = {}
    for i, group in enumerate(groups):
        file = f"model-{i + 1:05}-of-{len(groups):05}.safetensors"
        write_shard(out / file, group, small)
        index.update({name: file for name, _ in group})
    (out / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index}))
    (out / "config.json").write_text(json.dumps({
        **FAMILIES[family], "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": inter, "num_attention_heads": heads,
        "num_key_value_heads": kv, "head_dim": hidden // heads, "num_hidden_layers": layers,
        "vocab_size": vocab, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}))
    for file in pathlib.Path(sys.argv[3]).glob("tokenizer*"):
        shutil.copy(file, out / file.name)


main()
