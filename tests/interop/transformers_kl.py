# SPDX-License-Identifier: Apache-2.0
# Loads exported checkpoints with Transformers and compressed-tensors on the CPU, and prints their KL to
# the original beside the one that fpq-evaluate measures on the same windows.
#   python3 transformers_kl.py FPQ_EVALUATE MODEL TEXT EXPORT [EXPORT ...]
# Exit code 77 without the packages. Not part of the build.
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import compressed_tensors  # noqa: F401
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as missing:
    print("SKIPPED: interop with Transformers;", missing)
    sys.exit(77)

evaluate, model, text, *exports = sys.argv[1:]
length, windows, characters = 512, 4, 20000
part = pathlib.Path(tempfile.mkdtemp()) / "part.txt"
part.write_text(pathlib.Path(text).read_text()[:characters])
tokenizer = AutoTokenizer.from_pretrained(model)
ids = tokenizer(part.read_text(), add_special_tokens=False, return_tensors="pt").input_ids[0]
ids = ids[: windows * length].reshape(windows, length)


@torch.no_grad()
def log_probabilities(directory):
    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
    network(ids[:1, :8])  # compressed-tensors unpacks the weights in the first forward, in bf16
    torch.nn.Module.float(network)
    return torch.log_softmax(network(ids).logits[:, :-1].double(), -1)


reference = log_probabilities(model)
worst = 0.0
for export in exports:
    theirs = log_probabilities(export)
    kl = (reference.exp() * (reference - theirs)).sum(-1).mean().item()
    report = part.with_suffix(".json")
    subprocess.run([evaluate, "--model", export, "--reference", model, "--text", str(part), "--sequence_length",
                    str(length), "--max_windows", str(windows), "--bos", "never", "--json", str(report)],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ours = json.loads(report.read_text())["kl_mean"]
    worst = max(worst, abs(ours / kl - 1))
    print(f"{pathlib.Path(export).name:24} Transformers {kl:.6f}  fpq-evaluate {ours:.6f}  ratio {ours / kl:.4f}")
sys.exit(worst > 0.02)
