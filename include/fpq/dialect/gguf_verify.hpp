// SPDX-License-Identifier: Apache-2.0
// Floor 6. Everything about a GGUF file of a Llama or Qwen model that a client would load without a
// word and then compute wrongly, or stop at, as lines of text. It needs nothing but the file.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/gguf_blocks.hpp"
#include "fpq/dialect/gguf_model.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/gguf/ggml_type.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/io/gguf/gguf_value.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

/// Of an export, in its directory.
inline constexpr std::string_view gguf_file_name = "model.gguf";

namespace detail {

/// Collects the lines; one method a family of faults.
class gguf_verifier {
public:
    explicit gguf_verifier(gguf_file const& file) : file_(file), metadata_(file.metadata()) {}

    std::vector<std::string> run() {
        check_keys();
        if (!family_.empty() && lines_.empty()) {
            check_tokens();
            check_tensors();
        }
        check_contents();
        if (file_.trailing() != 0) {
            say("warning: " + std::to_string(file_.trailing()) + " bytes behind the last tensor");
        }
        return std::move(lines_);
    }

private:
    void say(std::string line) { lines_.push_back(std::move(line)); }

    /// A key of the architecture; 0, and a line, when it is absent or 0.
    std::uint64_t size(std::string_view key) {
        std::string const name = family_ + "." + std::string(key);
        std::uint32_t const* const value = find_gguf<std::uint32_t>(metadata_, name);
        if (value == nullptr || *value == 0) {
            say("key '" + name + "': expected a positive u32, found " +
                (value == nullptr ? "none" : "0"));
        }
        return value == nullptr ? 0 : *value;
    }
    void positive_float(std::string_view key) {
        std::string const name = family_ + "." + std::string(key);
        float const* const value = find_gguf<float>(metadata_, name);
        if (value == nullptr || !(*value > 0.0F) || !std::isfinite(*value)) {
            say("key '" + name + "': expected a positive f32, found " +
                (value == nullptr ? "none" : std::to_string(*value)));
        }
    }

    void check_keys() {
        std::string const* const name = find_gguf<std::string>(metadata_, "general.architecture");
        if (name == nullptr || (*name != "llama" && *name != "qwen2" && *name != "qwen3")) {
            say("key 'general.architecture': expected llama, qwen2 or qwen3, found " +
                (name == nullptr ? "none" : printable(*name)));
            return;
        }
        family_ = *name;
        layers_ = size("block_count");
        hidden_ = size("embedding_length");
        middle_ = size("feed_forward_length");
        heads_ = size("attention.head_count");
        kv_heads_ = size("attention.head_count_kv");
        head_dim_ = size("attention.key_length");
        (void)size("context_length");
        positive_float("attention.layer_norm_rms_epsilon");
        positive_float("rope.freq_base");
        if (size("attention.value_length") != head_dim_ ||
            size("rope.dimension_count") != head_dim_) {
            say("key '" + family_ +
                ".attention.key_length': expected that of values and of the rotary embedding, "
                "found another");
        }
    }

    void check_tokens() {
        auto const* const tokens = find_gguf_array<std::string>(metadata_, "tokenizer.ggml.tokens");
        auto const* const kinds =
            find_gguf_array<std::int32_t>(metadata_, "tokenizer.ggml.token_type");
        auto const* const merges = find_gguf_array<std::string>(metadata_, "tokenizer.ggml.merges");
        std::string const* const model = find_gguf<std::string>(metadata_, "tokenizer.ggml.model");
        if (model == nullptr || tokens == nullptr) {
            say("tokenizer.ggml: expected a model and tokens, found none");
            return;
        }
        tokens_ = tokens->size();
        if (kinds == nullptr || kinds->size() != tokens_) {
            say("key 'tokenizer.ggml.token_type': expected " + std::to_string(tokens_) +
                " kinds, found " + std::to_string(kinds == nullptr ? 0 : kinds->size()));
        }
        if (std::set<std::string>(tokens->begin(), tokens->end()).size() != tokens_) {
            say("key 'tokenizer.ggml.tokens': expected each token once, found one twice");
        }
        if (*model == "gpt2" &&
            (merges == nullptr || merges->empty() ||
             find_gguf<std::string>(metadata_, "tokenizer.ggml.pre") == nullptr)) {
            say("tokenizer.ggml: expected merges and the name of a split, found none");
        }
        for (char const* const which : {"bos", "eos", "padding", "unknown", "eot"}) {
            std::string const key = std::string("tokenizer.ggml.") + which + "_token_id";
            std::uint32_t const* const id = find_gguf<std::uint32_t>(metadata_, key);
            if (id != nullptr && *id >= tokens_) {
                say("key '" + key + "': expected below " + std::to_string(tokens_) + ", found " +
                    std::to_string(*id));
            }
        }
    }

    /// A tensor that the model reads, with dims as the file has them.
    void need(std::string const& name, std::vector<std::uint64_t> const& dims,
              bool required = true) {
        known_.insert(name);
        gguf_tensor const* const t = file_.find(name);
        if (t == nullptr) {
            if (required) {
                say("tensor '" + name + "': expected it, found none");
            }
            return;
        }
        if (t->dims != dims) {
            say("tensor '" + name + "': expected " + fpq::shape_text(dims) + ", found " +
                fpq::shape_text(t->dims));
        } else if (dims.size() == 1 && t->type != ggml_type::f32) {
            say("tensor '" + name + "': expected F32, found " +
                std::string(ggml_type_name(t->type)));
        }
    }

    /// A weight and what may stand beside it.
    void need_linear(std::string const& name, std::uint64_t in, std::uint64_t out, bool mlp) {
        need(name + ".weight", {in, out});
        need(name + ".bias", {out}, false);
        need_scale(name);
        gguf_tensor const* const weight = file_.find(name + ".weight");
        if (mlp && weight != nullptr && weight->type == ggml_type::nvfp4 &&
            file_.find(name + ".bias") != nullptr && file_.find(name + ".scale") != nullptr) {
            say("tensor '" + name + ".bias': clients stop at a bias beside NVFP4 with a scale");
        }
    }

    void need_scale(std::string const& name) {
        gguf_tensor const* const weight = file_.find(name + ".weight");
        gguf_tensor const* const scale = file_.find(name + ".scale");
        known_.insert(name + ".scale");
        known_.insert(name + ".input_scale");
        bool const nvfp4 = weight != nullptr && weight->type == ggml_type::nvfp4;
        if (scale == nullptr) {
            if (nvfp4) {
                say("warning: tensor '" + name + ".weight': NVFP4 without '" + name +
                    ".scale': clients take 1");
            }
            return;
        }
        float value = 0.0F;
        if (scale->type == ggml_type::f32 && scale->bytes.size() == sizeof value) {
            std::memcpy(&value, scale->bytes.data(), sizeof value);
        }
        if (!nvfp4 || !(value > 0.0F) || !std::isfinite(value)) {
            say("tensor '" + name + ".scale': expected one positive F32 beside NVFP4, found " +
                (nvfp4 ? std::to_string(value) : std::string("another weight")));
        }
    }

    void check_tensors() {
        need("token_embd.weight", {hidden_, tokens_});
        need("output_norm.weight", {hidden_});
        need("output.weight", {hidden_, tokens_}, false);
        need_scale("output");
        need(std::string(gguf_rope_tensor), {head_dim_ / 2}, false);
        std::uint64_t const q = heads_ * head_dim_;
        std::uint64_t const kv = kv_heads_ * head_dim_;
        for (std::uint64_t layer = 0; layer < layers_; ++layer) {
            std::string const at = "blk." + std::to_string(layer) + ".";
            need(at + "attn_norm.weight", {hidden_});
            need(at + "ffn_norm.weight", {hidden_});
            if (family_ == "qwen3") {
                need(at + "attn_q_norm.weight", {head_dim_});
                need(at + "attn_k_norm.weight", {head_dim_});
            }
            need_linear(at + "attn_q", hidden_, q, false);
            need_linear(at + "attn_k", hidden_, kv, false);
            need_linear(at + "attn_v", hidden_, kv, false);
            need_linear(at + "attn_output", q, hidden_, false);
            need_linear(at + "ffn_gate", hidden_, middle_, true);
            need_linear(at + "ffn_up", hidden_, middle_, true);
            need_linear(at + "ffn_down", middle_, hidden_, true);
        }
        for (gguf_tensor const& t : file_.tensors()) {
            if (!known_.contains(t.name)) {
                say("tensor '" + printable(t.name) + "': nothing reads it");
            }
        }
    }

    /// Index of the first scale that no client can take; empty: none.
    static std::optional<std::size_t> bad_scale(gguf_tensor const& t, quant_format const& format) {
        ggml_type_facts const& facts = facts_of(t.type);
        std::size_t const count = facts.block / format.group;  // of a block
        for (std::size_t at = 0, block = 0; at < t.bytes.size(); at += facts.bytes, ++block) {
            auto const* const bytes = reinterpret_cast<std::uint8_t const*>(t.bytes.data()) + at;
            for (std::size_t i = 0; i < count; ++i) {
                float const value =
                    decode_scale(format.scale, bytes + i * format.scale_bytes_each());
                if (!std::isfinite(value) || value < 0.0F || std::signbit(value)) {
                    return block * count + i;
                }
            }
        }
        return std::nullopt;
    }

    /// Scales of blocks and values of plain tensors.
    void check_contents() {
        for (gguf_tensor const& t : file_.tensors()) {
            std::optional<std::size_t> bad;
            std::string what = "element ";
            if (std::optional<quant_format> const format = quant_format_of(t.type)) {
                bad = bad_scale(t, *format);
                what = "scale ";
            } else if (t.type == ggml_type::f32) {
                bad = first_non_finite(dtype::f32, t.bytes);
            } else if (t.type == ggml_type::f16) {
                bad = first_non_finite(dtype::f16, t.bytes);
            } else if (t.type == ggml_type::bf16) {
                bad = first_non_finite(dtype::bf16, t.bytes);
            }
            if (bad) {
                say("tensor '" + printable(t.name) + "': " + what + std::to_string(*bad) +
                    ": expected a finite value" + (what == "scale " ? " of no sign" : "") +
                    ", found another");
            }
            file_.release(t.bytes);
        }
    }

    gguf_file const& file_;
    gguf_metadata const& metadata_;
    std::vector<std::string> lines_;
    std::set<std::string> known_;
    std::string family_;
    std::uint64_t layers_ = 0;
    std::uint64_t hidden_ = 0;
    std::uint64_t middle_ = 0;
    std::uint64_t heads_ = 0;
    std::uint64_t kv_heads_ = 0;
    std::uint64_t head_dim_ = 0;
    std::uint64_t tokens_ = 0;
};

}  // namespace detail

/// One line a fault, empty when there is none; lines that begin with "warning: " change nothing
/// that loads exactly. A file that cannot be opened is one line.
inline std::vector<std::string> verify_gguf(std::filesystem::path const& path) {
    try {
        gguf_file const file(path);
        return detail::gguf_verifier(file).run();
    } catch (error const& why) {
        return {why.what()};
    }
}

}  // namespace fpq
