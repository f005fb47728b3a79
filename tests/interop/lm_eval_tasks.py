# SPDX-License-Identifier: Apache-2.0
# Writes the six tasks of OpenLLM v1 for lm-evaluation-harness over local files: each includes the
# harness's own task, so that prompts, filters and metrics are its, and names another data set.
#   python3 lm_eval_tasks.py DATA OUT DOCUMENTS [PREFIX]
# DATA has arc-challenge, gsm8k, hellaswag, mmlu, truthfulqa and winogrande as JSON; OUT gets a YAML file
# and data of so many documents for each task, PREFIX and its name (local_NAME). Prints the names. With an
# empty PREFIX they stand in for the harness's own.
import json
import pathlib
import sys

import lm_eval

data, out, documents = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
prefix = sys.argv[4] if len(sys.argv) > 4 else "local_"
tasks = pathlib.Path(lm_eval.__file__).parent / "tasks"
shots = 10  # of examples that a task may draw from


def rows(name):
    with open(data / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def spread(items, count):
    """So many of the items, from all over them."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]


def arc(row):
    return {"question": row["question"], "answerKey": "ABCD"[row["gold"]],
            "choices": {"text": row["choices"], "label": list("ABCD")}}


def targets(answers):
    return {"choices": list(answers), "labels": list(answers.values())}


def truthful(row):
    return {"question": row["question"], "mc1_targets": targets(row["mc1_targets"]),
            "mc2_targets": targets(row["mc2_targets"])}


hellaswag = rows("hellaswag/val_1000_exact.jsonl")
four = [row for row in rows("arc-challenge/test.jsonl") if len(row["choices"]) == 4]
mmlu = [row for row in rows("mmlu/test.jsonl") if len(row["choices"]) == 4]
winogrande = rows("winogrande/val.jsonl")
truthfulqa = json.loads((data / "truthfulqa/mc_task.json").read_text(encoding="utf-8"))

# name: (the harness's file, documents, examples, what the local data wants otherwise)
table = {
    "mmlu_cot_llama": ("llama3/instruct/mmlu_cot/_mmlu_cot_llama_template_yaml",
                       spread(mmlu, documents), None, {}),
    "arc_challenge_llama": ("llama3/instruct/arc_challenge/arc_challenge_llama.yaml",
                            [arc(row) for row in spread(four, documents)], None,
                            {"process_docs": None}),
    "gsm8k_llama": ("llama3/instruct/gsm8k/gsm8k.yaml", spread(rows("gsm8k/test.jsonl"), documents), None, {}),
    "hellaswag": ("hellaswag/hellaswag.yaml", spread(hellaswag[shots:], documents), hellaswag[:shots],
                  {"process_docs": None, "doc_to_target": "{{gold}}", "num_fewshot": 2}),
    "winogrande": ("winogrande/default.yaml", spread(winogrande, documents),
                   rows("winogrande/train.jsonl")[:shots], {"num_fewshot": 5}),
    "truthfulqa_mc2": ("truthfulqa/truthfulqa_mc2.yaml",
                       [truthful(row) for row in spread(truthfulqa, documents)], None, {}),
}
out.mkdir(parents=True, exist_ok=True)
for name, (file, test, train, changes) in table.items():
    files = {}
    for split, items in (("test", test), ("train", train)):
        if items is None:
            continue
        files[split] = str((out / f"{name}.{split}.jsonl").resolve())
        with open(files[split], "w", encoding="utf-8") as target:
            target.writelines(json.dumps(item) + "\n" for item in items)
    task = {"include": str(tasks / file), "task": prefix + name, "dataset_path": "json", "dataset_name": None,
            "dataset_kwargs": {"data_files": files}, "training_split": "train" if train else None,
            "validation_split": None, "test_split": "test", "fewshot_split": "train" if train else None,
            "tag": None}
    if train is None:
        del task["fewshot_split"]
    (out / f"{prefix}{name}.yaml").write_text(json.dumps(task | changes, indent=1))  # JSON is YAML
print(*(prefix + name for name in table))
