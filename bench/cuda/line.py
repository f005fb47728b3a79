# SPDX-License-Identifier: Apache-2.0
"""Times whole runs of fpq-quantize and fpq-evaluate on a card and prints a table of them: seconds,
what a layer takes, seconds per phase, bytes in and out, peak memory of card and host.
usage: line.py BIN_DIR MODEL WORK_DIR TEXT... [--rows NAME,...] [--windows N] [--json FILE]
MODEL: a checkpoint (bench/cuda/random_model.py makes one of a real shape), best in a RAM disk like
WORK_DIR. The card's peak is the driver's counter (nvidia-smi, ten times a second, what the card
held before subtracted); the host's is anonymous memory, so that mapped files do not count. The copy
that RTN is measured against brings the model's bytes to the card and the export's bytes back by
cudaMemcpy and write, one after the other, through PyTorch."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

GPTQ = "--gptq --w_observer sweep --quantization_order activation".split()
ROWS = {
    "rtn": "--format nvfp4 --w_observer sweep".split(),
    "rtn-minmax": "--format nvfp4".split(),
    "w4a16": ["--format", "nvfp4", *GPTQ],
    "w4a16-pinned": ["--format", "nvfp4", *GPTQ, "--gpu_memory", "pinned"],
    "w4a4-hadamard": ["--format", "nvfp4", "--a_bits", "4", *GPTQ, "--transform_class", "hadamard",
                      "--hadamard_group_size", "128"],
    "polish": ["--format", "nvfp4", *GPTQ, "--polish", "2"],
    "evaluate": [],
}


def card_mib():
    out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                         capture_output=True, text=True).stdout.split()
    return int(out[0]) if out else 0


class Watch(threading.Thread):
    """Peaks of a process while it runs."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.card, self.host = process, 0, 0

    def run(self):
        while self.process.poll() is None:
            self.card = max(self.card, card_mib())
            try:
                for line in open(f"/proc/{self.process.pid}/status"):
                    if line.startswith("RssAnon:"):
                        self.host = max(self.host, int(line.split()[1]) // 1024)
            except OSError:
                pass
            time.sleep(0.1)


def run(command):
    """Seconds, peaks and output of a command; None when it failed."""
    idle, began = card_mib(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch = Watch(process)
    watch.start()
    text = process.communicate()[0]
    took = time.monotonic() - began
    watch.join()
    if process.returncode != 0:
        print(f"FAILED ({process.returncode}): {' '.join(command)}\n{text[-2000:]}")
        return None
    return took, watch.card - idle, watch.host, text


def size_of(directory):
    return sum(f.stat().st_size for f in pathlib.Path(directory).glob("*.safetensors"))


def copy_seconds(model, export, work):
    """The model's bytes to the card, then the export's from it into files."""
    import torch
    pinned = torch.empty(64 << 20, dtype=torch.uint8).pin_memory()
    card = torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
    began = time.monotonic()
    for path in sorted(pathlib.Path(model).glob("*.safetensors")):
        with open(path, "rb", buffering=0) as f:
            while (n := f.readinto(pinned.numpy().data)):
                card[:n].copy_(pinned[:n])
    inside = time.monotonic()
    target = pathlib.Path(work) / "copied"
    with open(target, "wb", buffering=0) as f:
        left = size_of(export)
        while left > 0:
            n = min(left, pinned.numel())
            pinned[:n].copy_(card[:n])
            left -= f.write(pinned.numpy()[:n].data)
    ended = time.monotonic()
    target.unlink()
    return inside - began, ended - inside


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin"), parser.add_argument("model"), parser.add_argument("work")
    parser.add_argument("text", nargs="+")
    parser.add_argument("--rows", default="rtn,w4a16,w4a4-hadamard,evaluate")
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--threads", default="16")
    parser.add_argument("--device", default="cuda", help="cuda:0,1 for two cards")
    parser.add_argument("--same", action="store_true", help="compare w4a16 with what WORK_DIR has")
    parser.add_argument("--json")
    a = parser.parse_args()
    work = pathlib.Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    text = work / "calibration.txt"
    with open(text, "wb") as joined:
        for name in a.text:
            joined.write(pathlib.Path(name).read_bytes())
    layers = json.load(open(pathlib.Path(a.model) / "config.json"))["num_hidden_layers"]
    calibration = ["--dataset_name_or_path", str(text), "--num_sequences", str(a.windows),
                   "--sequence_length", str(a.length)]
    name = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
                          capture_output=True, text=True).stdout.split("\n")[0]
    print(f"{name}; {layers} layers, {size_of(a.model) / 1e9:.2f} GB; {a.windows} windows of {a.length}")
    print("| run | s | s a layer | phases | GB out | card MiB | host MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    export, results = None, []
    for row in a.rows.split(","):
        out = work / "out"
        if row == "evaluate":
            command = [f"{a.bin}/fpq-evaluate", "--device", "cuda", "--threads", a.threads, "--model",
                       str(export), "--reference", a.model, "--text", str(text), "--sequence_length",
                       str(a.length), "--max_windows", "32"]
            done = run(command)
            if done:
                print(f"| evaluate 32 windows, both models | {done[0]:.1f} | | | | {done[1]} | {done[2]} |")
            continue
        before = work / "before"
        shutil.rmtree(before, ignore_errors=True)
        if out.exists():
            out.rename(before)
        report = work / f"{row}.json"
        flags = ["1" if f == "pinned" else f for f in ROWS[row]]
        if "pinned" in ROWS[row]:  # the work on a layer, and nothing beside it
            flags[-1] = str(results[-1]["planned_device_memory"])
        command = [f"{a.bin}/fpq-quantize", "--device", a.device, "--threads", a.threads,
                   "--model_name_or_path", a.model, "--report", str(report), "--save_path", str(out),
                   *flags, *([] if row.startswith("rtn") else calibration)]
        done = run(command)
        if not done:
            continue
        r = json.load(open(report))
        phases = {p["phase"]: round(p["seconds"], 2) for p in r["phases"]}
        results.append({"row": row, "seconds": done[0], "card_mib": done[1], "host_mib": done[2],
                        "phases": phases, "planned_device_memory": r.get("planned_device_memory", 0),
                        "hidden_states": r.get("hidden_states")})
        in_layers = sum(s for p, s in phases.items() if p != "evaluate")
        print(f"| {row} | {done[0]:.1f} | {in_layers / layers:.2f} | "
              f"{', '.join(f'{p} {s}' for p, s in phases.items())} | {size_of(out) / 1e9:.2f} | "
              f"{done[1]} | {done[2]} |", flush=True)
        export = out
        if "pinned" in ROWS[row] or row == "w4a16" and before.exists() and a.same:
            same = subprocess.run(["diff", "-rq", "-x", "README.md", str(before), str(out)]).returncode == 0
            print(f"| hidden states in {r.get('hidden_states')}, {r['ranks']} ranks | | | "
                  f"{'the same files' if same else 'OTHER FILES'} | | | |", flush=True)
        if row == "rtn":
            there, back = copy_seconds(a.model, out, work)
            print(f"| copy of the same bytes | {there + back:.1f} | | in {there:.1f}, out {back:.1f} | | | |")
    if a.json:
        json.dump(results, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    sys.exit(main())
