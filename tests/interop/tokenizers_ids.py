# SPDX-License-Identifier: Apache-2.0
# Compares ids with the package tokenizers: byte-fallback BPE with a Metaspace pre-tokenizer, each
# prepend_scheme, or with the normalizers Prepend and Replace, each with added tokens that are
# normalized and such that are not; on a whole text and on one with added tokens, other scripts, runs
# of spaces and numbers mixed in. The vocabulary is trained on the text.
#   python3 tokenizers_ids.py FPQ_TOKEN_IDS TEXT      (ninja fpq_token_ids builds the program)
# Exit code 77 without the package or the text. Not part of the build.
import json
import pathlib
import subprocess
import sys
import tempfile

program, text_path = sys.argv[1], pathlib.Path(sys.argv[2])
try:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
except ImportError as missing:
    print("SKIPPED: interop with tokenizers;", missing)
    sys.exit(77)
if not text_path.is_file():
    print("SKIPPED: interop with tokenizers; no text", text_path)
    sys.exit(77)

MARK = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>"]


def trained(text):
    """Vocabulary and merges of a small byte-fallback BPE: special tokens, bytes, pieces."""
    trainer = trainers.BpeTrainer(vocab_size=6000, special_tokens=SPECIAL, show_progress=False)
    trainee = Tokenizer(models.BPE(unk_token="<unk>"))
    trainee.pre_tokenizer = pre_tokenizers.Metaspace()
    trainee.train_from_iterator(text.splitlines(keepends=True), trainer)
    model = json.loads(trainee.to_str())["model"]
    order = sorted(model["vocab"], key=model["vocab"].get)
    names = order[:3] + [f"<0x{b:02X}>" for b in range(256)] + order[3:]
    return {name: i for i, name in enumerate(names)}, model["merges"]


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": False}


def file_of(vocabulary, merges, scheme, normalized):
    """A tokenizer.json; scheme None: Prepend and Replace instead of Metaspace."""
    added = [{"id": i, "content": name, "special": True} for i, name in enumerate(SPECIAL)]
    for content, more in [("<mark>", {}), ("<left>", {"lstrip": True}), ("<right>", {"rstrip": True}),
                          ("two words", {}), ("solo", {"single_word": True})]:
        added.append({"id": len(vocabulary) + len(added) - 3, "content": content, "special": False,
                      "normalized": normalized, **more})
    fields = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
    decoder = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [fields | a for a in added],
            "normalizer": normalizer if scheme is None else None,
            "pre_tokenizer": None if scheme is None else metaspace(scheme),
            "post_processor": None,
            "decoder": decoder if scheme is None else metaspace(scheme),
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": vocabulary, "merges": merges}}


def mixed(text):
    """Lines with added tokens, other scripts, runs of spaces and numbers between their words."""
    pieces = ["<mark>", " <left> ", "  <right>  ", "two words", "solo", "sososolo", "<s>", "   ",
              "\t", "\u00a0", MARK, MARK + " ", "12 345,678", "\u0441\u043b\u043e\u0432\u043e", "\u6f22\u5b57",
              "e\u0301\u0301", "\U0001f600\u200d", "</s> ", "\n\n", "\x00"]
    words = text[:200_000].lstrip().split(" ")  # begins with a word: first is neither always nor never
    out = []
    for i, word in enumerate(words):
        out.append(word)
        if i % 7 == 0:
            out.append(pieces[i // 7 % len(pieces)])
        out.append("" if i % 11 == 0 else " ")
    return "".join(out)


text = text_path.read_bytes().decode("utf-8")
vocabulary, merges = trained(text)
wrong = 0
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for scheme in ["always", "first", "never", None]:
        for normalized in [False, True]:
            (folder / "tokenizer.json").write_text(json.dumps(file_of(vocabulary, merges, scheme, normalized)))
            theirs_of = Tokenizer.from_file(str(folder / "tokenizer.json"))
            for name, part in [("whole", text), ("mixed", mixed(text))]:
                (folder / "text").write_bytes(part.encode("utf-8"))
                printed = subprocess.run([program, folder, folder / "text"], check=True, capture_output=True)
                ours = [int(line) for line in printed.stdout.split()]
                theirs = theirs_of.encode(part, add_special_tokens=False).ids
                same = ours == theirs
                wrong += not same
                kind = "Prepend, Replace" if scheme is None else f"Metaspace {scheme}"
                print(f"{kind:17} added {'normalized' if normalized else 'as written':10} {name:5} "
                      f"{len(theirs):7} ids  {'the same' if same else 'OTHERS'}")
                if not same:
                    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
                              min(len(ours), len(theirs)))
                    show = lambda ids: [theirs_of.id_to_token(i) for i in ids[max(0, at - 3):at + 5]]
                    print(f"  from id {at} on: fpq {show(ours)}, tokenizers {show(theirs)}")
sys.exit(wrong != 0)
