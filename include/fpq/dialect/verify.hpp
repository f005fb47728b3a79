// SPDX-License-Identifier: Apache-2.0
// Floor 6. Everything about a written checkpoint that an engine would load without a word and then
// compute wrongly (or that it would refuse for lack of a tensor), as lines of text. It decodes no
// weights; comparing with a reference is the pipeline's.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/text/name_pattern.hpp"

namespace fpq {

namespace detail {

/// Collects the lines; one method a family of faults.
class checkpoint_verifier {
public:
    explicit checkpoint_verifier(checkpoint const& source) : source_(source) {}

    std::vector<std::string> run() {
        check_files();
        try {
            quantized_source const quantized(source_);
            if (quantized.kind() != dialect::fp_quant) {
                read_ignored(quantized);
            }
            check_linears(quantized);
            check_fused(quantized);
            check_coverage(quantized);
            check_model_shape(quantized);
            check_config(quantized);
        } catch (error const& why) {
            say(why.what());
        }
        return std::move(lines_);
    }

private:
    void say(std::string line) { lines_.push_back(std::move(line)); }

    void check_files() {
        std::vector<std::string> used;
        for (safetensors_file const& shard : source_.shards()) {
            used.push_back(shard.path().filename().string());
        }
        for (auto const& entry : std::filesystem::directory_iterator(source_.directory())) {
            std::string const name = entry.path().filename().string();
            if (name.starts_with("model") && name.ends_with(".safetensors") &&
                std::find(used.begin(), used.end(), name) == used.end()) {
                say("stale shard " + name + ": loaders that take every file mix generations");
            }
        }
        if (source_.index().is_object()) {
            check_index();
        }
    }

    void check_index() {
        nlohmann::json const& index = source_.index();
        nlohmann::json const& total =
            member_or_null(member_or_null(index, "metadata"), "total_size");
        if (total.is_number_unsigned() && total != source_.total_bytes()) {
            say("index: total_size: expected " + std::to_string(source_.total_bytes()) +
                ", found " + total.dump());
        }
        nlohmann::json const& map = index.at("weight_map");
        for (std::string const& name : source_.names()) {
            if (!map.contains(name)) {
                say("tensor '" + printable(name) + "' lies in a shard but not in the index");
            }
        }
    }

    void check_linears(quantized_source const& quantized) {
        for (std::string const& module : quantized.modules()) {
            try {
                stored_linear const linear = quantized.linear(module);
                globals_[module] = {linear.weight.global_scale, linear.act_global_scale};
                shapes_[module] = {linear.weight.rows, linear.weight.cols};
                matrices_[module] = matrix_number(linear.forward_matrix);
                check_globals(quantized, module, linear);
            } catch (error const& why) {
                say(why.what());
            }
            quantized.release(module);
            bool const modelopt = quantized.kind() == dialect::modelopt;
            if (!modelopt && source_.contains(module + ".weight")) {
                say("module '" + module + "': quantized and also a plain .weight");
            }
            if (is_ignored(quantized, module)) {
                say("module '" + module + "': quantized but listed as not converted");
            }
        }
    }

    std::size_t matrix_number(std::vector<float> const& matrix) {
        auto const at = std::find(distinct_.begin(), distinct_.end(), matrix);
        std::size_t const number = static_cast<std::size_t>(at - distinct_.begin());
        if (at == distinct_.end()) {
            distinct_.push_back(matrix);
        }
        return number;
    }

    void check_globals(quantized_source const& quantized, std::string const& module,
                       stored_linear const& linear) {
        if (quantized.kind() != dialect::fp_quant) {
            return;
        }
        for (float const g : {linear.weight.global_scale, linear.act_global_scale}) {
            if (round_to_bf16(g) != g) {
                say("warning: module '" + module + "': global scale " + std::to_string(g) +
                    " is no bf16 value; transformers rounds it");
            }
        }
        bool const mx = is_mxfp4(quantized.format());
        std::string const method =
            source_.config().at("quantization_config").value("forward_method", "");
        float const want = method == "quest" ? 1.0F : 3.0F;
        if (mx && linear.act_global_scale != want) {
            say("module '" + module + "': act_global_scale: expected " + std::to_string(want) +
                ", found " + std::to_string(linear.act_global_scale));
        }
    }

    /// Clients fuse q, k, v and gate, up and keep one member's scalars without comparing.
    void check_fused(quantized_source const& quantized) {
        constexpr std::array<std::array<std::string_view, 3>, 2> fused{
            {{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj", ""}}};
        for (auto const& members : fused) {
            for (std::string const& name : linear_modules(quantized)) {
                if (!name.ends_with("." + std::string(members[0]))) {
                    continue;
                }
                std::string const stem = name.substr(0, name.size() - members[0].size());
                for (std::size_t i = 1; i < members.size() && !members[i].empty(); ++i) {
                    compare(quantized, name, stem + std::string(members[i]));
                }
            }
        }
    }

    void compare(quantized_source const& quantized, std::string const& first,
                 std::string const& other) {
        if (quantized.is_quantized(first) != quantized.is_quantized(other)) {
            say("fused modules '" + first + "' and '" + other + "': only one is quantized");
            return;
        }
        auto const a = globals_.find(first);
        auto const b = globals_.find(other);
        if (a == globals_.end() || b == globals_.end()) {
            return;  // unquantized, or already reported
        }
        if (a->second.first != b->second.first) {
            say("fused modules '" + first + "' and '" + other + "': unequal weight global scales");
        }
        if (a->second.second != b->second.second) {
            say("fused modules '" + first + "' and '" + other +
                "': unequal activation global scales");
        }
        if (matrices_[first] != matrices_[other]) {
            say("fused modules '" + first + "' and '" + other + "': unequal transform matrices");
        }
    }

    /// Every linear is either quantized or listed as not converted; leftovers are named.
    void check_coverage(quantized_source const& quantized) {
        if (!quantized.kind()) {
            return;
        }
        for (std::string const& module : linear_modules(quantized)) {
            if (!quantized.is_quantized(module) && !is_ignored(quantized, module)) {
                say("module '" + module + "': neither quantized nor listed as not converted");
            }
        }
        constexpr std::array<std::string_view, 9> parts{
            ".qweight",        ".dqweight",         ".scales",
            ".weight_scale",   ".weight_packed",    ".weight_global_scale",
            ".weight_scale_2", ".act_global_scale", ".input_global_scale"};
        for (std::string const& name : source_.names()) {
            for (std::string_view const part : parts) {
                if (name.ends_with(part) &&
                    !quantized.is_quantized(name.substr(0, name.size() - part.size()))) {
                    say("tensor '" + printable(name) + "' belongs to no quantized module");
                }
            }
        }
        if (quantized.is_quantized("lm_head")) {
            say("module 'lm_head': quantized; most clients cannot load that");
        }
        if (!is_ignored(quantized, "lm_head") && !quantized.is_quantized("lm_head")) {
            say("module 'lm_head': not listed as not converted");
        }
        if (source_.contains("lm_head.weight") &&
            member_or_null(source_.config(), "tie_word_embeddings") == true) {
            say("warning: lm_head.weight is written although tie_word_embeddings is true");
        }
    }

    /// The linears that a dense Llama or Qwen config promises are there with their shapes.
    void check_model_shape(quantized_source const& quantized) {
        nlohmann::json const& c = source_.config();
        auto const number = [&c](char const* key) -> std::uint64_t {
            nlohmann::json const& v = member_or_null(c, key);
            return v.is_number_unsigned() ? v.get<std::uint64_t>() : 0;
        };
        std::uint64_t const h = number("hidden_size");
        std::uint64_t const m = number("intermediate_size");
        std::uint64_t const heads = number("num_attention_heads");
        std::uint64_t const layers = number("num_hidden_layers");
        if (h == 0 || m == 0 || heads == 0 || layers == 0 || layers > 100000) {
            return;  // another kind of model: nothing is promised
        }
        std::uint64_t const dim = number("head_dim") != 0 ? number("head_dim") : h / heads;
        std::uint64_t const kv =
            (number("num_key_value_heads") != 0 ? number("num_key_value_heads") : heads) * dim;
        std::uint64_t const q = heads * dim;
        std::array<std::pair<char const*, std::pair<std::uint64_t, std::uint64_t>>, 7> const rows{
            {{"self_attn.q_proj", {q, h}},
             {"self_attn.k_proj", {kv, h}},
             {"self_attn.v_proj", {kv, h}},
             {"self_attn.o_proj", {h, q}},
             {"mlp.gate_proj", {m, h}},
             {"mlp.up_proj", {m, h}},
             {"mlp.down_proj", {h, m}}}};
        for (std::uint64_t layer = 0; layer < layers; ++layer) {
            for (auto const& [name, shape] : rows) {
                check_shape(quantized, "model.layers." + std::to_string(layer) + "." + name, shape);
            }
        }
    }

    void check_shape(quantized_source const& quantized, std::string const& module,
                     std::pair<std::uint64_t, std::uint64_t> want) {
        std::vector<std::uint64_t> const expected{want.first, want.second};
        std::vector<std::uint64_t> found;
        if (quantized.is_quantized(module)) {
            auto const at = shapes_.find(module);
            if (at == shapes_.end()) {
                return;  // unreadable, already reported
            }
            found = {at->second.first, at->second.second};
        } else if (source_.contains(module + ".weight")) {
            found = source_.at(module + ".weight").shape;
        } else {
            say("module '" + module + "': expected its tensors, found none");
            return;
        }
        if (found != expected) {
            say("module '" + module + "': expected " + fpq::shape_text(expected) + ", found " +
                fpq::shape_text(found));
        }
    }

    /// Keys that a client reads without a default, and files that would overrule config.json.
    void check_config(quantized_source const& quantized) {
        nlohmann::json const& q = member_or_null(source_.config(), "quantization_config");
        if (quantized.kind() == dialect::fp_quant) {
            for (char const* key : {"hadamard_group_size", "forward_dtype", "forward_method",
                                    "modules_to_not_convert"}) {
                if (member_or_null(q, key).is_null()) {
                    say(std::string("quantization_config: key ") + key + " is required by vLLM");
                }
            }
            if (member_or_null(q, "store_master_weights") == true) {
                say("quantization_config: store_master_weights must be false");
            }
        }
        bool const legacy = std::filesystem::exists(source_.directory() / "hf_quant_config.json");
        if (legacy != (quantized.kind() == dialect::modelopt)) {
            say(legacy ? "hf_quant_config.json stands beside another dialect; clients may prefer it"
                       : "hf_quant_config.json is missing; some modelopt clients read only that");
        }
    }

    /// Modules with a two-dimensional plain weight (embeddings left out) or quantized.
    std::vector<std::string> linear_modules(quantized_source const& quantized) const {
        std::vector<std::string> out = quantized.modules();
        for (std::string const& name : source_.names()) {
            if (name.ends_with(".weight") && source_.at(name).shape.size() == 2 &&
                !name.ends_with("embed_tokens.weight")) {
                std::string module = name.substr(0, name.size() - 7);
                if (!quantized.is_quantized(module)) {
                    out.push_back(std::move(module));
                }
            }
        }
        return out;
    }

    /// How the entries of the list are read: exact names and "re:" in compressed-tensors, wildcards
    /// in modelopt. An entry that cannot be read is a line.
    void read_ignored(quantized_source const& quantized) {
        for (std::string const& entry : quantized.ignored()) {
            try {
                ignored_.push_back(quantized.kind() == dialect::modelopt
                                       ? name_pattern::wildcards(entry, error_category::input)
                                       : name_pattern(entry, error_category::input));
            } catch (error const& why) {
                say(std::string("quantization_config: ignore: ") + why.what());
            }
        }
    }

    /// fp_quant's entries are suffixes.
    bool is_ignored(quantized_source const& quantized, std::string const& module) const {
        if (quantized.kind() == dialect::fp_quant) {
            return std::any_of(quantized.ignored().begin(), quantized.ignored().end(),
                               [&module](std::string const& entry) {
                                   return !entry.empty() && module.ends_with(entry);
                               });
        }
        return std::any_of(
            ignored_.begin(), ignored_.end(),
            [&module](name_pattern const& pattern) { return pattern.matches(module); });
    }

    checkpoint const& source_;
    std::vector<std::string> lines_;
    std::vector<name_pattern> ignored_;
    std::map<std::string, std::pair<float, float>> globals_;
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> shapes_;
    std::map<std::string, std::size_t> matrices_;  // into distinct_
    std::vector<std::vector<float>> distinct_;     // as a rule all modules have the same
};

}  // namespace detail

/// One line a fault, empty when there is none; lines that begin with "warning: " change nothing
/// that loads exactly. An unquantized checkpoint is checked for stale and missing tensors.
inline std::vector<std::string> verify_checkpoint(checkpoint const& source) {
    return detail::checkpoint_verifier(source).run();
}

}  // namespace fpq
