# SPDX-License-Identifier: Apache-2.0
"""Writes a Llama checkpoint of a real shape with random bf16 weights, made on the GPU: what
bench/cuda/line.py measures. usage: random_model.py SHAPE DIR TOKENIZER_DIR [LAYERS]
Needs PyTorch. Weights are normal with the deviation 0.02, norms are 1."""
import json
import pathlib
import shutil
import sys

import torch

SHAPES = {  # hidden, intermediate, heads, kv_heads, layers, vocab
    "1b": (2048, 8192, 32, 8, 16, 128256),
    "8b": (4096, 14336, 32, 8, 32, 128256),
    "70b": (8192, 28672, 64, 8, 80, 128256),
}


def tensors(shape, layers):
    hidden, inter, heads, kv, _, vocab = shape
    head = hidden // heads
    yield "model.embed_tokens.weight", (vocab, hidden)
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "self_attn.q_proj.weight", (heads * head, hidden)
        yield at + "self_attn.k_proj.weight", (kv * head, hidden)
        yield at + "self_attn.v_proj.weight", (kv * head, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, heads * head)
        yield at + "mlp.gate_proj.weight", (inter, hidden)
        yield at + "mlp.up_proj.weight", (inter, hidden)
        yield at + "mlp.down_proj.weight", (hidden, inter)
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocab, hidden)


def write_shard(path, group):
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
        for _, shape in group:
            if len(shape) == 1:
                w = torch.ones(shape, device="cuda", dtype=torch.bfloat16)
            else:
                w = torch.empty(shape, device="cuda", dtype=torch.bfloat16).normal_(0, 0.02)
            f.write(w.view(torch.int16).cpu().numpy().data)


def main():
    shape = SHAPES[sys.argv[1]]
    out = pathlib.Path(sys.argv[2])
    layers = int(sys.argv[4]) if len(sys.argv) > 4 else shape[4]
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    hidden, inter, heads, kv, _, vocab = shape
    groups, size = [[]], 0
    for name, dims in tensors(shape, layers):
        bytes_ = 2 * torch.Size(dims).numel()
        if groups[-1] and size + bytes_ > 5_000_000_000:
            groups.append([])
            size = 0
        groups[-1].append((name, dims))
        size += bytes_
    index = {}
    for i, group in enumerate(groups):
        file = f"model-{i + 1:05}-of-{len(groups):05}.safetensors"
        write_shard(out / file, group)
        index.update({name: file for name, _ in group})
    (out / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index}))
    (out / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": inter, "num_attention_heads": heads,
        "num_key_value_heads": kv, "head_dim": hidden // heads, "num_hidden_layers": layers,
        "vocab_size": vocab, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}))
    for file in pathlib.Path(sys.argv[3]).glob("tokenizer*"):
        shutil.copy(file, out / file.name)


main()
