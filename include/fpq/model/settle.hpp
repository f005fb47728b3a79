// SPDX-License-Identifier: Apache-2.0
// Floor 7. Where config.json and the tensors of a checkpoint disagree, the tensors are believed:
// what differs is settled once, before anything is planned, and told in words.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/modelopt.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/load.hpp"

namespace fpq {

namespace detail {

inline bool is_plain_float(dtype type) noexcept {
    return type == dtype::bf16 || type == dtype::f16 || type == dtype::f32;
}

/// Equal values in two tensors of floats, whatever their types; NaN only with the same bits.
inline bool equal_values(checkpoint const& source, tensor_ref const& a, tensor_ref const& b) {
    constexpr std::size_t piece = std::size_t{1} << 20;  // values
    if (a.shape != b.shape) {
        return false;
    }
    std::size_t const wide_a = dtype_bits(a.type) / 8;
    std::size_t const wide_b = dtype_bits(b.type) / 8;
    std::size_t const count = a.bytes.size() / wide_a;
    bool equal = true;
    for (std::size_t at = 0; at < count && equal; at += piece) {
        std::size_t const n = std::min(piece, count - at);
        auto const x = a.bytes.subspan(at * wide_a, n * wide_a);
        auto const y = b.bytes.subspan(at * wide_b, n * wide_b);
        if (a.type == b.type) {
            equal = std::memcmp(x.data(), y.data(), x.size()) == 0;
        } else {
            for (std::size_t i = 0; i < n && equal; ++i) {
                equal = load_float(a.type, x.data() + i * wide_a) ==
                        load_float(b.type, y.data() + i * wide_b);
            }
        }
        source.release(a.name, x);
        source.release(b.name, y);
    }
    return equal;
}

/// Embedding models are saved without the "model." of all names, and without a head.
inline void settle_prefix(checkpoint const& source, model_config& config) {
    std::string const embedding(config.family->embedding);
    std::string const prefix = embedding.substr(0, embedding.find('.') + 1);
    std::string const norm = std::string(config.family->final_norm) + ".weight";
    bool const prefixed = std::any_of(source.names().begin(), source.names().end(),
                                      [&](auto const& name) { return name.starts_with(prefix); });
    if (prefixed || prefix.empty() || !norm.starts_with(prefix) ||
        !source.contains(norm.substr(prefix.size()))) {
        return;
    }
    config.absent_prefix = prefix;
    std::string const head = std::string(config.family->head) + ".";
    bool const has_head = std::any_of(source.names().begin(), source.names().end(),
                                      [&](auto const& name) { return name.starts_with(head); });
    if (!has_head && !config.tied_head) {
        config.tied_head = true;
        config.notes.push_back("no " + head + "weight and no tensor under " + prefix +
                               ": read as a model without a head");
    }
}

/// The head of the file counts: one that differs from the embedding unties it, one that stands
/// alone is the embedding.
inline void settle_head(checkpoint& source, model_config& config) {
    model_graph const graph(config);
    std::string const embedding = graph.embedding() + ".weight";
    std::string const head = graph.head().weight();
    if (!config.tied_head || !source.contains(head) || !is_plain_float(source.at(head).type)) {
        return;
    }
    if (!source.contains(embedding)) {
        source.rename(head, embedding);
        config.contradictions.push_back("only " + head + " is saved of the pair that config.json " +
                                        "ties: it is read, and written, as " + embedding);
        return;
    }
    if (is_plain_float(source.at(embedding).type) &&
        !equal_values(source, source.at(head), source.at(embedding))) {
        config.tied_head = false;
        source.amend_config("tie_word_embeddings", false);
        config.contradictions.push_back(head + " differs from " + embedding +
                                        " although config.json ties them: both " +
                                        "are kept and tie_word_embeddings becomes false");
    }
}

/// True when every linear of the graph is a plain matrix, and neither they nor the head, which may
/// be the only quantized one, have companion tensors.
inline bool has_plain_weights(checkpoint const& source, model_graph const& graph) {
    std::set<std::string, std::less<>> modules{graph.head().module};
    for (linear_node const& node : graph.linears()) {
        if (!source.contains(node.weight())) {
            return false;
        }
        tensor_ref const& t = source.at(node.weight());
        if (!is_plain_float(t.type) || t.shape != std::vector<std::uint64_t>{node.out, node.in}) {
            return false;
        }
        modules.insert(node.module);
    }
    return std::none_of(source.names().begin(), source.names().end(), [&](std::string const& name) {
        std::size_t const dot = name.rfind('.');
        std::string_view const part =
            dot == std::string::npos ? std::string_view() : std::string_view(name).substr(dot);
        return part != ".weight" && part != ".bias" &&
               modules.contains(std::string_view(name).substr(0, dot));
    });
}

/// A quantization_config over plain weights was left there, or asks a loader to quantize: it goes.
/// hf_quant_config.json alone is read as ModelOpt's.
inline void settle_quantization(checkpoint& source, model_config& config) {
    std::filesystem::path const other = source.directory() / "hf_quant_config.json";
    bool const own = !member_or_null(source.config(), "quantization_config").is_null();
    bool const aside = !own && std::filesystem::is_regular_file(look_at(other));
    if (!own && !aside) {
        if (source.config().contains("quantization_config")) {
            source.amend_config("quantization_config", nullptr);
        }
        return;
    }
    if (has_plain_weights(source, model_graph(config))) {
        nlohmann::json const& method =
            member_or_null(member_or_null(source.config(), "quantization_config"), "quant_method");
        std::string const where =
            own ? "config.json has a quantization_config (" +
                      printable(method.is_string() ? method.get<std::string>()
                                                   : std::string("no quant_method")) +
                      ")"
                : "hf_quant_config.json lies there";
        config.contradictions.push_back(where +
                                        " but all weights are plain: it is not carried over");
        source.amend_config("quantization_config", nullptr);
    } else if (aside) {
        source.amend_config("quantization_config",
                            modelopt_config_aside(read_json_file(other), other));
    }
}

/// Scales beside a plain weight: nothing says what they would do to it.
inline void note_idle_scales(checkpoint const& source, model_config& config) {
    model_graph const graph(config);
    std::vector<std::string> idle;
    for (std::string const& name : source.names()) {
        if (!is_quantized_part(name)) {
            continue;
        }
        std::string const module = name.substr(0, name.rfind('.'));
        bool const linear =
            module == graph.head().module ||
            std::any_of(graph.linears().begin(), graph.linears().end(),
                        [&](linear_node const& node) { return node.module == module; });
        if (linear && source.contains(module + ".weight") &&
            is_plain_float(source.at(module + ".weight").type)) {
            idle.push_back(name);
        }
    }
    if (!idle.empty()) {
        config.notes.push_back(
            tensors_line(idle, "beside plain weights, which are read without them"));
    }
}

}  // namespace detail

/// The configuration of a checkpoint as its tensors bear it out. `source` is amended: its config
/// becomes what an export of it should say, and a tensor that stands for another gets that name.
/// Throws fpq::error (input) as read_model_config does. Reads both vocabulary matrices where
/// config.json ties them and the file holds two.
[[nodiscard]] inline model_config settle_model(checkpoint& source, architecture_list known) {
    model_config config = load_model_config(source, known);
    detail::settle_prefix(source, config);
    detail::settle_head(source, config);
    detail::settle_quantization(source, config);
    detail::note_idle_scales(source, config);
    return config;
}

}  // namespace fpq
