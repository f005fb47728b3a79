# SPDX-License-Identifier: Apache-2.0
# Runs GGUF exports with llama-cpp-python on the CPU: its tokens beside fpq's, the KL of its output to the
# one that fpq computes for a compressed-tensors export of the same run, beside the KL of that export to the
# original, and a few generated words.
#   python3 llama_cpp_kl.py BIN_DIR MODEL TEXT GGUF_DIR EXPORT_DIR [GGUF_DIR EXPORT_DIR ...]
# BIN_DIR holds fpq_logits and fpq_token_ids. Exit code 77 without the packages. Not part of the build.
import pathlib
import subprocess
import sys
import tempfile

try:
    import llama_cpp
    import numpy as np
except ImportError as missing:
    print("SKIPPED: interop with llama.cpp;", missing)
    sys.exit(77)

tools, model, text = map(pathlib.Path, sys.argv[1:4])
length, windows, characters = 512, 4, 20000
place = pathlib.Path(tempfile.mkdtemp())
part = place / "part.txt"
part.write_text(text.read_text()[:characters])
lines = subprocess.run([tools / "fpq_token_ids", model, part], check=True, capture_output=True).stdout
ids = np.array(lines.split(), np.int32)
cut = ids[: windows * length].reshape(windows, length)


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def ours(directory):
    out = []
    for window in cut:
        (place / "ids").write_text("\n".join(map(str, window)))
        subprocess.run([tools / "fpq_logits", directory, place / "ids", place / "logits"], check=True)
        out.append(np.fromfile(place / "logits", "<f4").reshape(length, -1))
    return log_softmax(np.stack(out))


def kl(a, b):
    return (np.exp(a) * (a - b)).sum(-1).mean()


def top(a, b):
    return 100 * (a.argmax(-1) == b.argmax(-1)).mean()


print("llama-cpp-python", llama_cpp.__version__)
original = ours(model)
for written, export in zip(sys.argv[4::2], sys.argv[5::2]):
    theirs = llama_cpp.Llama(str(pathlib.Path(written) / "model.gguf"), n_ctx=length, n_batch=length,
                             n_ubatch=length, logits_all=True, verbose=False, n_threads=1)
    encoded = theirs.tokenize(part.read_bytes(), add_bos=False, special=False)
    same = sum(int(a == b) for a, b in zip(encoded, ids.tolist()))
    got = []
    for window in cut:
        theirs.reset()
        theirs.eval(window.tolist())
        got.append(theirs.scores[:length].copy())
    got = log_softmax(np.stack(got))
    mine = ours(export)
    cost = kl(original, mine)
    apart = kl(mine, got)
    print(f"{pathlib.Path(written).name}: tokens {len(encoded)} beside {len(ids)}, {same} equal in place; "
          f"KL(original, fpq) {cost:.6f}, KL(original, llama.cpp) {kl(original, got):.6f}, "
          f"KL(fpq, llama.cpp) {apart:.3e} ({apart / cost:.2e} of the first), "
          f"same most likely token {top(mine, got):.2f} %")
    words = theirs.create_completion("The king said", max_tokens=24, temperature=0.0)
    print("   ", repr(words["choices"][0]["text"]))
