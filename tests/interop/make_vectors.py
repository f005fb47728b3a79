#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/vectors/*.txt: decode tables and encodings made without any line of fpq.

Number formats come from the package ml_dtypes (and float16 from numpy); integers from numpy's rint.
Run: pip install numpy ml_dtypes; python3 make_vectors.py [OUTPUT_DIR]

Lines of a file: "# comment", "d CODE BITS" (the float32 bits that CODE decodes to) and
"e BITS CODE" (the code of a float32). All numbers are hexadecimal.

Where ml_dtypes has no saturating cast (E4M3, E5M2), inputs are clipped to +-max first, because
fpq saturates. NaN inputs are left out: packages disagree about them (without a NaN code ml_dtypes
writes a zero, the CUDA toolkit and fpq write +max; with one they differ in sign and payload).
E8M0 inputs are normal floats: ml_dtypes 0.6.0 sends every float in (2^-127, 2^-126) to 2^-126,
the nearest power of two or not.
"""
import pathlib
import sys

import ml_dtypes
import numpy as np

F32 = np.float32
SPECIAL_BITS = [0x00000000, 0x00000001, 0x00000002, 0x007FFFFF, 0x00800000, 0x00800001,
                0x3F800000, 0x40490FDB, 0x7F7FFFFF, 0x7F800000]
FORMATS = {"e2m1": ("float4_e2m1fn", 4), "e2m3": ("float6_e2m3fn", 6),
           "e3m2": ("float6_e3m2fn", 6), "e4m3": ("float8_e4m3fn", 8),
           "e5m2": ("float8_e5m2", 8)}


def around(values):
    """The values and the float32 on either side of each."""
    values = np.asarray(values, dtype=np.float64).astype(F32)
    down = np.nextafter(values, F32(-np.inf))
    up = np.nextafter(values, F32(np.inf))
    return np.concatenate([values, down, up])


def chosen_inputs(levels, count=2000):
    """Every level and midpoint with both neighbours, specials, then random floats up to count."""
    levels = np.unique(np.abs(np.asarray(levels, dtype=np.float64)))
    middle = (levels[1:] + levels[:-1]) / 2
    positive = np.concatenate([around(levels), around(middle),
                               np.array(SPECIAL_BITS, dtype=np.uint32).view(F32)])
    positive = np.abs(positive)
    inputs = np.concatenate([positive, -positive])
    rng = np.random.default_rng(20240607)
    more = max(count - inputs.size, 200)
    top, low = np.log2(levels[-1]) + 2, np.log2(levels[levels > 0][0]) - 3
    random = np.exp2(rng.uniform(low, top, more)) * rng.choice([-1.0, 1.0], more)
    return np.unique(np.concatenate([inputs, random.astype(F32)]).view(np.uint32)).view(F32)


def write(folder, name, source, codes, values, inputs, encoded, width):
    lines = ["# SPDX-License-Identifier: Apache-2.0",
             f"# {name}: {source}; made by tests/interop/make_vectors.py"]
    bits = np.asarray(values, dtype=F32).view(np.uint32)
    lines += [f"d {int(c):0{width}x} {int(b):08x}" for c, b in zip(codes, bits)]
    lines += [f"e {int(b):08x} {int(c):0{width}x}"
              for b, c in zip(inputs.view(np.uint32), encoded)]
    (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    print(f"{name}: {len(codes)} codes, {inputs.size} encodings")


def minifloat(folder, name):
    type_name, bits = FORMATS[name]
    dtype = getattr(ml_dtypes, type_name)
    codes = np.arange(1 << bits, dtype=np.uint8)
    values = codes.view(dtype).astype(F32)
    finite = values[np.isfinite(values)]
    inputs = chosen_inputs(finite)
    top = finite.max()
    encoded = np.clip(inputs, -top, top).astype(dtype).view(np.uint8)
    source = f"ml_dtypes {ml_dtypes.__version__} {type_name}, inputs clipped to +-max"
    write(folder, name, source, codes, values, inputs, encoded, 2)


def e8m0(folder):
    codes = np.arange(256, dtype=np.uint8)
    values = codes.view(ml_dtypes.float8_e8m0fnu).astype(F32)
    inputs = chosen_inputs(values[:-1])
    inputs = inputs[(inputs > 0) & np.isfinite(inputs)]
    inputs = inputs[(inputs >= F32(2.0**-126)) & (inputs < F32(1.5 * 2.0**127))]
    encoded = inputs.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    source = f"ml_dtypes {ml_dtypes.__version__} float8_e8m0fnu, nearest, halves up"
    write(folder, "e8m0", source, codes, values, inputs, encoded, 2)


def half(folder, name, dtype, source):
    codes = np.arange(65536, dtype=np.uint16)
    values = codes.view(dtype).astype(F32)
    picked = np.unique(np.concatenate([codes[::131], codes[(codes & 0x7FFF) < 8],
                                       codes[0x7BF8:0x7C01], codes[0x7F78:0x7F81]]))
    picked = picked[np.isfinite(values[picked])]
    levels = np.concatenate([values[picked], values[(picked + 1) & 0xFFFF]])
    levels = levels[np.isfinite(levels)].astype(np.float64)
    pairs = values[picked].astype(np.float64) + values[(picked + 1) & 0xFFFF]
    middle = pairs[np.isfinite(pairs)] / 2
    inputs = np.concatenate([around(levels), around(middle),
                             np.array(SPECIAL_BITS, dtype=np.uint32).view(F32)])
    inputs = np.unique(inputs.view(np.uint32)).view(F32)
    inputs = inputs[~np.isnan(inputs)]
    with np.errstate(over="ignore"):
        encoded = inputs.astype(dtype).view(np.uint16)
    write(folder, name, source, picked, values[picked], inputs, encoded, 4)


def integer(folder, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = np.arange(low, high + 1)
    codes = values & ((1 << bits) - 1)
    inputs = chosen_inputs(np.arange(-low + 2))
    encoded = np.clip(np.rint(inputs.astype(np.float64)), low, high).astype(np.int64)
    encoded &= (1 << bits) - 1
    write(folder, f"int{bits}", f"numpy {np.__version__} rint and clip, two's complement",
          codes, values, inputs, encoded, 2)


def main():
    here = pathlib.Path(__file__).resolve().parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FORMATS:
        minifloat(folder, name)
    e8m0(folder)
    half(folder, "fp16", np.float16, f"numpy {np.__version__} float16")
    half(folder, "bf16", ml_dtypes.bfloat16, f"ml_dtypes {ml_dtypes.__version__} bfloat16")
    for bits in range(2, 9):
        integer(folder, bits)


if __name__ == "__main__":
    main()
