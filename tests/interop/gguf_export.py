# SPDX-License-Identifier: Apache-2.0
# Reads GGUF exports with the package gguf and compares, to the bit, every quantized weight with a
# compressed-tensors export of the same run, everything else with the source, and the metadata with the
# source's config.json and tokenizer.json.
#   python3 gguf_export.py MODEL GGUF_DIR EXPORT_DIR [GGUF_DIR EXPORT_DIR ...]
# Exit code 77 without the packages. Not part of the build.
import json
import pathlib
import struct
import sys

try:
    import gguf
    import numpy as np
except ImportError as missing:
    print("SKIPPED: interop with gguf;", missing)
    sys.exit(77)

model = pathlib.Path(sys.argv[1])
config = json.loads((model / "config.json").read_text())
heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
e2m1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
e2m1 = np.concatenate([e2m1, -e2m1])


def safetensors(directory):
    out = {}
    for path in sorted(directory.glob("*.safetensors")):
        raw = path.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        for name, t in json.loads(raw[8 : 8 + size]).items():
            if name != "__metadata__":
                begin, end = t["data_offsets"]
                out[name] = (t["dtype"], t["shape"], raw[8 + size + begin : 8 + size + end])
    return out


def floats(tensor):
    kind, shape, raw = tensor
    if kind == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[kind]).astype("<f4").reshape(shape)


def e4m3(codes):
    codes = codes.astype(np.int32)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    value = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    return value.astype(np.float32)


def decode(tensors, module):
    packed = np.frombuffer(tensors[module + ".weight_packed"][2], np.uint8)
    rows, bytes_of_row = tensors[module + ".weight_packed"][1]
    packed = packed.reshape(rows, bytes_of_row)
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(rows, -1)
    kind, shape, raw = tensors[module + ".weight_scale"]
    scales = np.frombuffer(raw, np.uint8).reshape(shape)
    if kind == "U8":
        step = np.exp2(scales.astype(np.float32) - 127)
    else:
        (divisor,) = struct.unpack("<f", tensors[module + ".weight_global_scale"][2])
        step = e4m3(scales) / np.float32(divisor)
    return e2m1[codes] * np.repeat(step, codes.shape[1] // shape[1], 1)


def in_order(rows, name):
    """Rows of Llama's queries and keys: value r and r + d/2 of a head become 2r and 2r + 1."""
    count = {"attn_q": heads, "attn_k": kv_heads}.get(name.split(".")[-2])
    if config["model_type"] != "llama" or count is None:
        return rows
    shape = rows.shape
    return rows.reshape(count, 2, shape[0] // count // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm"}


def source_name(name):
    first = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in first:
        return first[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{names[part]}.{kind}"


def check_metadata(reader):
    value = lambda key: reader.fields[key].contents()
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    settings = json.loads((model / "tokenizer_config.json").read_text())
    family = value("general.architecture")
    assert family == config["model_type"]
    for key, wanted in {
        "block_count": config["num_hidden_layers"], "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"], "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads, "attention.head_count_kv": kv_heads,
        "attention.key_length": config["head_dim"], "attention.value_length": config["head_dim"],
        "rope.dimension_count": config["head_dim"], "vocab_size": config["vocab_size"],
        "rope.freq_base": config["rope_parameters"]["rope_theta"]}.items():
        assert value(f"{family}.{key}") == wanted, key
    assert np.float32(value(f"{family}.attention.layer_norm_rms_epsilon")) == np.float32(config["rms_norm_eps"])
    words = dict(tokenizer["model"]["vocab"])
    words.update({t["content"]: t["id"] for t in tokenizer["added_tokens"]})
    special = {t["id"]: t["special"] for t in tokenizer["added_tokens"]}
    tokens, kinds = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    assert len(tokens) == len(kinds) == config["vocab_size"]
    for word, number in words.items():
        assert tokens[number] == word, number
        assert kinds[number] == (1 if number not in special else 3 if special[number] else 4), number
    merges = [" ".join(m) if isinstance(m, list) else m for m in tokenizer["model"]["merges"]]
    assert value("tokenizer.ggml.merges") == merges
    assert value("tokenizer.ggml.model") == "gpt2"
    for key, name in {"bos_token_id": "bos_token", "eos_token_id": "eos_token",
                      "padding_token_id": "pad_token"}.items():
        if settings.get(name):
            assert value("tokenizer.ggml." + key) == words[settings[name]], key
    assert value("tokenizer.chat_template") == (model / "chat_template.jinja").read_text()
    assert value("general.quantization_version") == 2
    return value("tokenizer.ggml.pre"), value("general.file_type")


for written, export in zip(sys.argv[2::2], sys.argv[3::2]):
    reader = gguf.GGUFReader(pathlib.Path(written) / "model.gguf")
    tensors = {t.name: t for t in reader.tensors}
    original, other = safetensors(model), safetensors(pathlib.Path(export))
    left, blocks, plain = set(original), 0, 0
    for name, t in tensors.items():
        if name.endswith(".scale"):
            continue
        values = gguf.quants.dequantize(t.data, t.tensor_type)
        if name == "rope_freqs.weight":
            continue
        theirs = source_name(name)
        left.discard(theirs)
        if t.tensor_type in (gguf.GGMLQuantizationType.MXFP4, gguf.GGMLQuantizationType.NVFP4):
            if name.replace(".weight", ".scale") in tensors:
                values = values * tensors[name.replace(".weight", ".scale")].data[0]
            wanted = decode(other, theirs.removesuffix(".weight"))
            blocks += 1
        else:
            wanted = floats(original[theirs])
            plain += 1
        wanted = in_order(wanted, name)
        values = values.reshape(wanted.shape).astype(np.float32)
        # Signs of zeros aside: E2M1 has two.
        assert np.array_equal(values, wanted) and values.dtype == wanted.dtype, name
    assert not left, left
    print(f"{written}: {blocks} quantized and {plain} other tensors equal to the bit; metadata", *check_metadata(reader))
