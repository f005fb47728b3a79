// SPDX-License-Identifier: Apache-2.0
// Floor 5. A model as nodes: every linear with its name, shape, bias, input and fused group, every
// norm, embedding and head. Loader, plan, dialects, verify and the memory estimate ask it; only
// architecture tables hold names.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/model_config.hpp"

namespace fpq {

/// "a.{layer}.b" with the number in place.
[[nodiscard]] inline std::string name_in_layer(std::string_view pattern, std::size_t layer) {
    constexpr std::string_view hole = "{layer}";
    std::size_t const at = pattern.find(hole);
    if (at == std::string_view::npos) {
        return std::string(pattern);
    }
    return std::string(pattern.substr(0, at)) + std::to_string(layer) +
           std::string(pattern.substr(at + hole.size()));
}

/// Values of one token at a tap.
[[nodiscard]] inline std::size_t tap_width(model_config const& config, tap at) noexcept {
    switch (at) {
        case tap::attention_output:
            return config.query_size();
        case tap::mlp_middle:
            return config.intermediate_size;
        case tap::attention_input:
        case tap::mlp_input:
        case tap::head_input:
            break;
    }
    return config.hidden_size;
}

/// Output rows of one part.
[[nodiscard]] inline std::size_t part_width(model_config const& config, part which) noexcept {
    switch (which) {
        case part::q:
            return config.query_size();
        case part::k:
        case part::v:
            return config.kv_size();
        case part::gate:
        case part::up:
            return config.intermediate_size;
        case part::logits:
            return config.vocab_size;
        case part::o:
        case part::down:
            break;
    }
    return config.hidden_size;
}

/// One linear, y (tokens, out) = x (tokens, in) weight^T + bias; weight is (out, in).
struct linear_node {
    std::string module;     ///< its tensors add ".weight" and ".bias"
    std::size_t layer = 0;  ///< the number of layers for the head
    std::size_t row = 0;    ///< in the architecture's table; unused for the head
    tap input = tap::attention_input;
    std::size_t out = 0;
    std::size_t in = 0;
    bool bias = false;
    std::string group;  ///< module of the first linear of its fused group; its own when it is alone

    [[nodiscard]] std::string weight() const { return module + ".weight"; }
    [[nodiscard]] std::string bias_name() const { return module + ".bias"; }
    [[nodiscard]] std::uint64_t values() const noexcept { return std::uint64_t{out} * in; }
};

/// One RMSNorm weight.
struct norm_node {
    std::string tensor;
    norm_place place;
    std::size_t width;
};

/// The nodes of a model. Linears are in the order in which they run, layer by layer.
class model_graph {
public:
    explicit model_graph(model_config config) : config_(std::move(config)) {
        per_layer_ = family().linears.size();
        linears_.reserve(config_.layers * per_layer_);
        for (std::size_t layer = 0; layer < config_.layers; ++layer) {
            for (std::size_t row = 0; row < per_layer_; ++row) {
                linears_.push_back(make_linear(layer, row));
            }
        }
        head_.module = name(family().head);
        head_.group = head_.module;
        head_.layer = config_.layers;
        head_.input = tap::head_input;
        head_.out = config_.vocab_size;
        head_.in = config_.hidden_size;
    }

    [[nodiscard]] model_config const& config() const noexcept { return config_; }
    [[nodiscard]] architecture const& family() const noexcept { return *config_.family; }
    [[nodiscard]] std::size_t layers() const noexcept { return config_.layers; }

    /// Of all layers, without the head.
    [[nodiscard]] std::span<linear_node const> linears() const noexcept { return linears_; }
    /// Of one layer, by row of the table.
    [[nodiscard]] std::span<linear_node const> layer(std::size_t index) const noexcept {
        return std::span(linears_).subspan(index * per_layer_, per_layer_);
    }
    /// Also when it is tied to the embedding and has no tensor.
    [[nodiscard]] linear_node const& head() const noexcept { return head_; }
    [[nodiscard]] std::string embedding() const { return name(family().embedding); }
    [[nodiscard]] std::string final_norm() const { return name(family().final_norm) + ".weight"; }

    /// Of one layer, in the order of the table.
    [[nodiscard]] std::vector<norm_node> norms(std::size_t index) const {
        std::vector<norm_node> out;
        for (norm_row const& row : family().norms) {
            bool const head =
                row.place == norm_place::query_head || row.place == norm_place::key_head;
            out.push_back({name_in_layer(name(row.name), index) + ".weight", row.place,
                           head ? config_.head_dim : config_.hidden_size});
        }
        return out;
    }

    /// The linears of a layer that engines fuse, first to last; each linear is in one group.
    /// Groups are in the order of their first linears.
    [[nodiscard]] std::vector<std::vector<linear_node const*>> groups(std::size_t index) const {
        std::vector<std::vector<linear_node const*>> out;
        for (linear_node const& node : layer(index)) {
            auto const same = std::find_if(out.begin(), out.end(), [&](auto const& group) {
                return group.front()->module == node.group;
            });
            if (same == out.end()) {
                out.push_back({&node});
            } else {
                same->push_back(&node);
            }
        }
        return out;
    }

    /// function(name of tensor), for every tensor that the model reads, in the order in which it
    /// runs.
    template <class Function>
    void for_each_tensor(Function function) const {
        function(embedding() + ".weight");
        for (std::size_t index = 0; index < layers(); ++index) {
            for (norm_node const& norm : norms(index)) {
                function(norm.tensor);
            }
            for (linear_node const& node : layer(index)) {
                function(node.weight());
                if (node.bias) {
                    function(node.bias_name());
                }
            }
        }
        function(final_norm());
        if (!config_.tied_head) {
            function(head_.weight());
        }
    }

private:
    /// A name of the table as this checkpoint spells it.
    [[nodiscard]] std::string name(std::string_view full) const {
        bool const shorter =
            !config_.absent_prefix.empty() && full.starts_with(config_.absent_prefix);
        return std::string(full.substr(shorter ? config_.absent_prefix.size() : 0));
    }

    [[nodiscard]] linear_node make_linear(std::size_t index, std::size_t at) const {
        linear_row const& row = family().linears[at];
        linear_node node;
        node.module = name_in_layer(name(row.name), index);
        node.layer = index;
        node.row = at;
        node.input = row.input;
        node.in = tap_width(config_, row.input);
        for (std::size_t i = 0; i < row.part_count; ++i) {
            node.out += part_width(config_, row.parts[i]);
        }
        node.bias = row.bias == bias_rule::always ||
                    (row.bias == bias_rule::attention_key && config_.attention_bias) ||
                    (row.bias == bias_rule::mlp_key && config_.mlp_bias);
        node.group = node.module;
        for (linear_row const& other : family().linears) {
            if (!row.fused.empty() && other.fused == row.fused) {
                node.group = name_in_layer(name(other.name), index);
                break;
            }
        }
        return node;
    }

    model_config config_;
    std::size_t per_layer_ = 0;
    std::vector<linear_node> linears_;
    linear_node head_;
};

}  // namespace fpq
