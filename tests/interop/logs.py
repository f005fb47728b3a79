# SPDX-License-Identifier: Apache-2.0
"""Compares the logs of a run with its report: logs.py REPORT LOG_DIR WANDB_DIR. See logs.sh."""
import glob
import json
import math
import sys


def expected(report):
    """(tag, step) -> value, of the figures that a log must hold."""
    out = {}
    for row in report["linears"]:
        if row["relative_error"] is not None:
            out["relative_error/" + row["kind"], row["layer"]] = row["relative_error"]
        if isinstance(row["sqnr_db"], float):
            out["sqnr_db/" + row["kind"], row["layer"]] = row["sqnr_db"]
    for row in report["layers"]:
        out["layer/seconds", row["layer"]] = row["seconds"]
    for row in report["phases"]:
        out["phase_seconds/" + row["phase"], 0] = row["seconds"]
    for name in ("perplexity", "kl_mean", "kl_se", "top1_agreement"):
        out["evaluation/" + name, 0] = report["evaluation"][name]
    out["size/bits_per_weight", 0] = report["bits_per_weight"]
    return out


def compare(found, wanted, what):
    for key, value in wanted.items():
        if key not in found:
            sys.exit(f"{what}: {key} is missing")
        if not math.isclose(found[key], value, rel_tol=1e-6):
            sys.exit(f"{what}: {key} is {found[key]}, the report says {value}")
    print(f"{what}: {len(wanted)} figures are those of the report")


def read_tensorboard(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(directory, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        for e in events.Scalars(tag):
            found[tag, e.step] = e.value
    text = events.Tensors("recipe")[0].tensor_proto.string_val[0].decode()
    recipe = json.loads("\n".join(line[4:] for line in text.splitlines()))
    if "rules" not in recipe:
        sys.exit("tensorboard: the recipe is not one")
    if "recipe" not in events.summary_metadata or \
            events.summary_metadata["recipe"].plugin_data.plugin_name != "text":
        sys.exit("tensorboard: the recipe is no text")
    return found


def wandb_records(path):
    """The records of a .wandb file: 7 bytes of header, then the log format of LevelDB: blocks of 32
    KiB with fragments behind a check (4 bytes), a length (2) and a type (1: whole, 2-4: first,
    middle, last)."""
    with open(path, "rb") as file:
        data = file.read()
    at, parts = 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
        if kind == 0:
            break
        parts.append(data[at + 7:at + 7 + size])
        at += 7 + size
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def read_wandb(directory):
    from wandb.proto import wandb_internal_pb2

    files = glob.glob(directory + "/wandb/offline-run-*/run-*.wandb")
    if len(files) != 1:
        sys.exit(f"wandb: {len(files)} offline runs")
    found, config, name, project = {}, {}, "", ""
    for data in wandb_records(files[0]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name, project = record.run.display_name, record.run.project
            for item in record.run.config.update:
                config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        elif kind == "history":
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                value = json.loads(item.value_json)
                if not key.startswith("_"):
                    found[key, record.history.step.num] = value
        elif kind == "summary":
            for item in record.summary.update:
                key = item.key or "/".join(item.nested_key)
                if not key.startswith("_"):
                    found.setdefault((key, 0), json.loads(item.value_json))
    if (name, project) != ("first", "tiny"):
        sys.exit(f"wandb: the run is {name} of {project}")
    if config.get("gptq") is not True or config.get("num_sequences") != "4":
        sys.exit("wandb: the config lacks flags")
    return found


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        wanted = expected(json.load(file))
    for name, read, where in (("tensorboard", read_tensorboard, sys.argv[2]),
                              ("wandb", read_wandb, sys.argv[3])):
        try:
            __import__(name)
        except ImportError:
            print(f"SKIPPED: {name} is not there")
            continue
        compare(read(where), wanted, name)


main()
