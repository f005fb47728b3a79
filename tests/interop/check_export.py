# SPDX-License-Identifier: Apache-2.0
# Reads exported checkpoints with independent packages (safetensors, numpy, ml_dtypes) and checks:
# that the reference container reader opens every shard and its writer makes the same bytes, that
# pseudoquant is the bf16 decode of realquant, and that all dialects given hold the same weights.
#   python3 check_export.py DIR [DIR ...]     e.g. a realquant and a pseudoquant export of one run
# Exit code 77 without the packages. Not part of the build.
import json
import pathlib
import sys

try:
    import ml_dtypes
    import numpy as np
    import safetensors
    from safetensors.numpy import save
except ImportError as missing:
    print("SKIPPED: interop check;", missing)
    sys.exit(77)

e2m1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
e2m1 = np.concatenate([e2m1, -e2m1])
types = {"U8": np.uint8, "F32": np.float32, "BF16": ml_dtypes.bfloat16, "F16": np.float16,
         "F8_E4M3": ml_dtypes.float8_e4m3fn}


def load(directory):
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        raw = path.read_bytes()
        entries = {}
        for name, t in dict(safetensors.deserialize(raw)).items():
            array = np.frombuffer(bytes(t["data"]), types[t["dtype"]]).reshape(t["shape"])
            tensors[name] = entries[name] = array
        again = save(entries, metadata={"format": "pt"})
        assert again == raw, f"{path}: the reference writer makes other bytes"
    return tensors


def decode(codes, scales, divisor):
    low = np.stack([codes & 15, codes >> 4], -1).reshape(codes.shape[0], -1)
    step = scales.astype(np.float32) / np.float32(divisor)
    group = low.shape[1] // scales.shape[1]
    return e2m1[low] * np.repeat(step, group, 1)


def weights(directory, tensors):
    q = json.loads((directory / "config.json").read_text())["quantization_config"]
    out = {}
    for name, t in tensors.items():
        module, _, part = name.rpartition(".")
        scalar = lambda n: tensors[f"{module}.{n}"].reshape(-1)[0]
        if part == "dqweight":
            out[module] = t.astype(np.float32)
        elif part == "qweight":
            nv = q["forward_dtype"] == "nvfp4"
            kind = ml_dtypes.float8_e4m3fn if nv else ml_dtypes.float8_e8m0fnu
            scales = tensors[f"{module}.scales"].view(kind)
            out[module] = decode(t, scales, scalar("weight_global_scale"))
        elif part == "weight_packed":
            scales = tensors[f"{module}.weight_scale"]
            nv = scales.dtype != np.uint8
            scales = scales if nv else scales.view(ml_dtypes.float8_e8m0fnu)
            out[module] = decode(t, scales, scalar("weight_global_scale") if nv else 1)
        elif part == "weight" and t.dtype == np.uint8:
            out[module] = decode(t, tensors[f"{module}.weight_scale"],
                                 np.float32(1) / scalar("weight_scale_2"))
    return out


first = None
for argument in sys.argv[1:]:
    directory = pathlib.Path(argument)
    found = {m: w.astype(ml_dtypes.bfloat16) for m, w in
             weights(directory, load(directory)).items()}
    assert found, f"{directory}: no quantized module"
    if first is None:
        first = found
    same = found.keys() == first.keys()
    for module in first if same else []:
        same = same and found[module].tobytes() == first[module].tobytes()
    print(f"{directory}: {len(found)} modules,", "equal" if same else "DIFFERENT")
    if not same:
        sys.exit(1)
