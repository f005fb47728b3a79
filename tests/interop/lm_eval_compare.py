# SPDX-License-Identifier: Apache-2.0
# Compares what two runs of lm-evaluation-harness logged for the same tasks, request by request.
#   python3 lm_eval_compare.py OUTPUT OUTPUT      (directories of --output_path with --log_samples)
# Log-likelihoods may differ by 1e-3, generated texts and scores not at all. Exit code 1 otherwise.
import json
import pathlib
import sys

limit = 1e-3


def samples(directory):
    """By task: the responses of each document, in the order of its requests."""
    out = {}
    for file in pathlib.Path(directory).rglob("samples_*.jsonl"):
        task = file.name[len("samples_"):file.name.rindex("_")]
        out[task] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            # A task with two filters has two rows of one document, with the same responses.
            out[task][row["doc_id"]] = [one for each in row["resps"] for one in each]
    return out


def scores(directory):
    out = {}
    for file in pathlib.Path(directory).rglob("results_*.json"):
        for task, figures in json.loads(file.read_text(encoding="utf-8"))["results"].items():
            out[task] = {k: v for k, v in figures.items() if "," in k and "stderr" not in k}
    return out


first, second = samples(sys.argv[1]), samples(sys.argv[2])
first_scores, second_scores = scores(sys.argv[1]), scores(sys.argv[2])
wrong = first.keys() != second.keys() or not first
if wrong:
    print("different tasks:", sorted(first), sorted(second))
for task in sorted(first.keys() & second.keys()):
    if first[task].keys() != second[task].keys():
        print(f"{task}: different documents")
        wrong = True
        continue
    pairs = [(a, b) for doc in first[task]
             for a, b in zip(first[task][doc], second[task][doc], strict=True)]
    texts = [(a, b) for a, b in pairs if isinstance(a, str)]
    numbers = [(a, b) for a, b in pairs if not isinstance(a, str)]
    if texts:
        same = sum(a == b for a, b in texts)
        characters = sum(len(a) for a, _ in texts)
        print(f"{task}: {same} of {len(texts)} generated texts are the same ({characters} characters)")
        wrong |= same != len(texts)
        for a, b in texts:
            if a != b:
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                print(f"  from character {at} on: {a[at:at + 60]!r} and {b[at:at + 60]!r}")
    if numbers:
        worst = max(abs(float(a[0]) - float(b[0])) for a, b in numbers)
        greedy = sum(str(a[1]) == str(b[1]) for a, b in numbers)
        print(f"{task}: {len(numbers)} log-likelihoods differ by at most {worst:.2e}, "
              f"{greedy} agree on being greedy")
        wrong |= not worst <= limit or greedy != len(numbers)
    a, b = first_scores.get(task, {}), second_scores.get(task, {})
    near = a.keys() == b.keys() and all(abs(a[k] - b[k]) <= limit for k in a)
    print(f"  scores {a}{'' if near else f' and {b}'}")
    wrong |= not near or not a
sys.exit(1 if wrong else 0)
