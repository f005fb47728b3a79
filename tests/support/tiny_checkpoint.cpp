// SPDX-License-Identifier: Apache-2.0
#include "tiny_checkpoint.hpp"

#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"

namespace fpq_test {

std::string safetensors_bytes(std::string const& header, std::string const& data) {
    std::string out(8, '\0');
    std::uint64_t const n = header.size();
    for (std::size_t i = 0; i < 8; ++i) {
        out[i] = static_cast<char>((n >> (8 * i)) & 0xFFu);
    }
    return out + header + data;
}

std::string safetensors_bytes(std::vector<raw_tensor> const& tensors) {
    nlohmann::ordered_json header;
    header["__metadata__"] = {{"format", "pt"}};
    std::string data;
    for (raw_tensor const& t : tensors) {
        nlohmann::ordered_json entry;
        entry["dtype"] = fpq::dtype_name(t.type);
        entry["shape"] = t.shape;
        entry["data_offsets"] = {data.size(), data.size() + t.bytes.size()};
        header[t.name] = entry;
        data += t.bytes;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    return safetensors_bytes(text, data);
}

void append_value(std::string& bytes, fpq::dtype type, float value) {
    if (type == fpq::dtype::f32) {
        char raw[4];
        std::memcpy(raw, &value, 4);
        bytes.append(raw, 4);
        return;
    }
    std::uint16_t const bits =
        type == fpq::dtype::f16 ? fpq::to_fp16(value).bits : fpq::to_bf16(value).bits;
    bytes.push_back(static_cast<char>(bits & 0xFFu));
    bytes.push_back(static_cast<char>(bits >> 8));
}

namespace {

class maker {
public:
    explicit maker(tiny_checkpoint_options const& options) : options_(options) {}

    raw_tensor random(std::string name, std::vector<std::uint64_t> shape, float deviation,
                      float mean = 0.0F) {
        raw_tensor t{std::move(name), options_.type, std::move(shape), {}};
        std::uint64_t count = 1;
        for (std::uint64_t d : t.shape) {
            count *= d;
        }
        fpq::philox const source{options_.seed, stream_++};
        for (std::uint64_t i = 0; i < count; ++i) {
            float sum = -6.0F;  // twelve uniforms: near enough to a normal, the same everywhere
            for (std::uint64_t k = 0; k < 12; ++k) {
                sum += fpq::uniform(source.at(12 * i + k));
            }
            append_value(t.bytes, t.type, mean + deviation * sum);
        }
        if (options_.edit) {
            options_.edit(t);
        }
        return t;
    }

    void add_layer(std::size_t layer, std::vector<raw_tensor>& out) {
        std::string const at = "model.layers." + std::to_string(layer) + ".";
        std::uint64_t const h = options_.hidden;
        std::uint64_t const q = options_.heads * options_.head_dim;
        std::uint64_t const kv = options_.kv_heads * options_.head_dim;
        std::uint64_t const m = options_.intermediate;
        bool const bias = options_.attention_bias || options_.model_type == "qwen2";
        struct row {
            char const* name;
            std::uint64_t rows, cols;
            bool bias;
        };
        bool const o_bias = options_.attention_bias && options_.model_type != "qwen2";
        for (row const& r :
             {row{"self_attn.q_proj", q, h, bias}, row{"self_attn.k_proj", kv, h, bias},
              row{"self_attn.v_proj", kv, h, bias}, row{"self_attn.o_proj", h, q, o_bias},
              row{"mlp.gate_proj", m, h, false}, row{"mlp.up_proj", m, h, false},
              row{"mlp.down_proj", h, m, false}}) {
            float const deviation = 1.0F / static_cast<float>(r.cols < 256 ? 8 : 16);
            out.push_back(random(at + r.name + ".weight", {r.rows, r.cols}, deviation));
            if (r.bias) {
                out.push_back(random(at + r.name + ".bias", {r.rows}, 0.1F));
            }
        }
        out.push_back(random(at + "input_layernorm.weight", {h}, 0.1F, 1.0F));
        out.push_back(random(at + "post_attention_layernorm.weight", {h}, 0.1F, 1.0F));
        if (options_.model_type == "qwen3") {
            out.push_back(random(at + "self_attn.q_norm.weight", {options_.head_dim}, 0.1F, 1.0F));
            out.push_back(random(at + "self_attn.k_norm.weight", {options_.head_dim}, 0.1F, 1.0F));
        }
    }

private:
    tiny_checkpoint_options const& options_;
    std::uint64_t stream_ = 0;
};

}  // namespace

nlohmann::json tiny_config(tiny_checkpoint_options const& o) {
    std::string const architecture = o.model_type == "llama"   ? "LlamaForCausalLM"
                                     : o.model_type == "qwen2" ? "Qwen2ForCausalLM"
                                     : o.model_type == "qwen3" ? "Qwen3ForCausalLM"
                                                               : "MistralForCausalLM";
    nlohmann::json config;
    config["architectures"] = nlohmann::json::array({architecture});
    config["model_type"] = o.model_type;
    config["num_hidden_layers"] = o.layers;
    config["hidden_size"] = o.hidden;
    config["intermediate_size"] = o.intermediate;
    config["num_attention_heads"] = o.heads;
    config["num_key_value_heads"] = o.kv_heads;
    config["head_dim"] = o.head_dim;
    config["vocab_size"] = o.vocabulary;
    config["tie_word_embeddings"] = o.tied;
    config["hidden_act"] = "silu";
    config["rms_norm_eps"] = 1e-5;
    config["rope_theta"] = 10000.0;
    config["rope_scaling"] = nullptr;
    config["max_position_embeddings"] = 2048;
    config["attention_bias"] = o.attention_bias;
    config["bos_token_id"] = nullptr;
    config["eos_token_id"] = o.vocabulary - 1;
    config["torch_dtype"] = o.type == fpq::dtype::f32   ? "float32"
                            : o.type == fpq::dtype::f16 ? "float16"
                                                        : "bfloat16";
    if (o.edit_config) {
        o.edit_config(config);
    }
    return config;
}

std::filesystem::path make_tiny_checkpoint(std::filesystem::path const& dir,
                                           tiny_checkpoint_options const& options) {
    std::filesystem::create_directories(dir);
    std::size_t const shards = options.shards == 0 ? 1 : options.shards;
    maker make(options);
    std::vector<std::vector<raw_tensor>> parts(shards);
    parts.front().push_back(
        make.random("model.embed_tokens.weight", {options.vocabulary, options.hidden}, 0.25F));
    for (std::size_t layer = 0; layer < options.layers; ++layer) {
        make.add_layer(layer, parts[layer * shards / options.layers]);
    }
    parts.back().push_back(make.random("model.norm.weight", {options.hidden}, 0.1F, 1.0F));
    if (!options.tied) {
        parts.back().push_back(
            make.random("lm_head.weight", {options.vocabulary, options.hidden}, 0.25F));
    }
    nlohmann::json index;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < shards; ++i) {
        char name[64];
        std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards);
        std::string const file = shards == 1 ? "model.safetensors" : name;
        for (raw_tensor const& t : parts[i]) {
            index["weight_map"][t.name] = file;
            total += t.bytes.size();
        }
        write_text(dir / file, safetensors_bytes(parts[i]));
    }
    if (shards > 1) {
        index["metadata"]["total_size"] = total;
        write_text(dir / "model.safetensors.index.json", index.dump(2));
    }
    write_text(dir / "config.json", tiny_config(options).dump(2));
    write_text(dir / "generation_config.json", "{\n  \"do_sample\": false\n}\n");
    if (!options.tokenizer.empty()) {
        std::filesystem::copy_file(options.tokenizer, dir / "tokenizer.json",
                                   std::filesystem::copy_options::overwrite_existing);
    }
    return dir;
}

}  // namespace fpq_test
