# SPDX-License-Identifier: Apache-2.0
"""GPTQ on a GPU against GPTQ on the CPU, on models of every family: largest difference of a
linear's relative error, and KL to the original of both exports, evaluated on the CPU in float32.
usage: agree.py BIN_DIR CALIBRATION_TEXT EVALUATION_TEXT WORK_DIR MODEL...
Goals: errors within 1e-3; KL within 3 % for every seed and 1 % in the mean of three."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

KINDS = {
    "W4A16 sweep": "--format nvfp --w_bits 4 --w_observer sweep --quantization_order activation",
    "W4A4": "--format nvfp --w_bits 4 --a_bits 4",
    "MXFP4 W4A4 Hadamard": "--format mxfp --w_bits 4 --a_bits 4 --transform_class hadamard "
                           "--hadamard_group_size 32",
}
SEEDS = (42, 1, 2)


def both(a, model, kind, seed):
    """(largest difference of errors, KL on the CPU, KL on the GPU) of one run."""
    reports, kl = [], []
    for device in ("cpu", "cuda"):
        out = pathlib.Path(a.work) / f"{pathlib.Path(model).name}.{list(KINDS).index(kind)}.{seed}.{device}"
        shutil.rmtree(out, ignore_errors=True)
        report, scores = f"{out}.json", f"{out}.scores.json"
        for command in (
            [f"{a.bin}/fpq-quantize", "--model_name_or_path", model, "--device", device, "--threads",
             "4", "--save_path", str(out), "--report", report, "--gptq", "--seed", str(seed),
             "--dataset_name_or_path", a.calibration, "--num_sequences", "32", "--sequence_length",
             "256", *KINDS[kind].split()],
            [f"{a.bin}/fpq-evaluate", "--model", str(out), "--reference", model, "--device", "cpu",
             "--threads", "4", "--text", a.evaluation, "--sequence_length", "256", "--max_windows",
             str(a.windows), "--json", scores]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"FAILED: {' '.join(command)}\n{done.stderr[-1000:]}")
        reports.append(json.load(open(report))["linears"])
        kl.append(json.load(open(scores))["kl_mean"])
        shutil.rmtree(out)
    gap = max(abs(x["relative_error"] - y["relative_error"]) for x, y in zip(*reports))
    return gap, *kl


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("bin", "calibration", "evaluation", "work"):
        parser.add_argument(name)
    parser.add_argument("model", nargs="+")
    parser.add_argument("--windows", type=int, default=32, help="of 256 tokens, evaluated")
    a = parser.parse_args()
    pathlib.Path(a.work).mkdir(parents=True, exist_ok=True)
    print("| model | run | errors within | KL, CPU and GPU, mean of the seeds | mean | widest seed |")
    print("| --- | --- | --- | --- | --- | --- |")
    wrong = False
    with ThreadPoolExecutor(4) as pool:
        runs = {(m, k): [pool.submit(both, a, m, k, s) for s in SEEDS] for m in a.model for k in KINDS}
        for (model, kind), seeds in runs.items():
            found = [f.result() for f in seeds]
            gap = max(f[0] for f in found)
            cpu, gpu = (sum(f[i] for f in found) / len(found) for i in (1, 2))
            widest = max((f[2] / f[1] - 1 for f in found), key=abs)
            good = gap <= 1e-3 and abs(gpu / cpu - 1) <= 0.01 and abs(widest) <= 0.03
            wrong = wrong or not good
            print(f"| {pathlib.Path(model).name} | {kind} | {gap:.1e} | {cpu:.5f} {gpu:.5f} | "
                  f"{100 * (gpu / cpu - 1):+.2f} % | {100 * widest:+.2f} % |"
                  f"{'' if good else ' MISSED'}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
