#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/vectors/gradients.json: gradients of the committed models made without any line of
fpq, by PyTorch's autograd through Transformers' models: float64, but for the insides of RMSNorm
and the rotary table, which Transformers compute in float32.

Run: pip install torch transformers; python3 make_gradients.py [OUTPUT_FILE]

For two windows of tokens of each model: the loss, sum of -log p(label) over the positions that have
one; for every linear the norm of dL/dy (y its output, before anything is added) and a few entries
of it at fixed places; the same of the embedding's rows as the first layer reads them. Labels of one
window are its next tokens, the last position has none (-1); those of the other are drawn here, and
are given so that a test can take them.
"""
import json
import pathlib
import sys

import torch
import transformers

LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
LENGTH, ENTRIES = 80, 6  # more tokens than a tile of queries


def places(name, shape):
    """Entries to keep, spread over tokens and columns by the name alone."""
    seed = sum(ord(c) * (i + 1) for i, c in enumerate(name))
    return [((seed * 31 + i * 17) % shape[0], (seed * 13 + i * 101) % shape[1])
            for i in range(ENTRIES)]


def kept(name, gradient):
    at = places(name, gradient.shape)
    return {"norm": gradient.norm().item(),
            "entries": [[t, j, gradient[t, j].item()] for t, j in at]}


def written(value, depth=0):
    """JSON with one line for each list or innermost object."""
    if not isinstance(value, dict) or depth == 4:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[" + ",\n".join(written(v, depth + 1) for v in value) + "]"
        return json.dumps(value)
    return "{" + ",\n".join(f'{json.dumps(k)}: {written(v, depth + 1)}' for k, v in value.items()) + "}"


def one_window(model, tokens, drawn):
    outputs = {}

    def watch(name):
        def hook(_module, _inputs, output):
            output.retain_grad()
            outputs[name] = output
        return hook

    names = {f"model.layers.{i}.{n}" for i in range(model.config.num_hidden_layers) for n in LINEARS}
    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules()
               if n in names or n == "model.embed_tokens"]
    logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
    if drawn:
        generator = torch.Generator().manual_seed(1)
        p = torch.softmax(logits.detach(), -1)
        labels = torch.multinomial(p, 1, generator=generator)[:, 0].tolist()
    else:
        labels = tokens[1:] + [-1]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), ignore_index=-1,
                                             reduction="sum")
    loss.backward()
    for handle in handles:
        handle.remove()
    return {"tokens": tokens, "labels": labels, "loss": loss.item(),
            "gradients": {n: kept(n, o.grad[0]) for n, o in sorted(outputs.items())}}


def main():
    repo = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else repo / "tests/vectors/gradients.json"
    text = (repo / "examples/text/eval.txt").read_text()[:4000]
    out = {"made_by": f"tests/interop/make_gradients.py, torch {torch.__version__}, "
                      f"transformers {transformers.__version__}, float64"}
    for name in ("tiny-llama", "tiny-qwen3"):
        folder = repo / "examples/models" / name
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager").eval()
        out[name] = []
        for window, drawn in enumerate((False, True)):
            model.zero_grad()
            out[name].append(one_window(model, ids[window * LENGTH:(window + 1) * LENGTH], drawn))
            print(name, "drawn" if drawn else "text", out[name][-1]["loss"])
    target.write_text(written(out) + "\n")


if __name__ == "__main__":
    main()
