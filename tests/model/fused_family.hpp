// SPDX-License-Identifier: Apache-2.0
// Test support. Two families that fpq does not ship, as tables: linears stored fused, norms behind
// the blocks.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "fpq/graph/architecture.hpp"

namespace fpq_test {

namespace detail {

using fpq::bias_rule;
using fpq::norm_place;
using fpq::part;
using fpq::tap;

inline constexpr std::array<fpq::linear_row, 4> fused_rows{{
    {"b.{layer}.qkv", tap::attention_input, {part::q, part::k, part::v}, 3, bias_rule::always, ""},
    {"b.{layer}.o", tap::attention_output, {part::o}, 1, bias_rule::attention_key, ""},
    {"b.{layer}.gate_up", tap::mlp_input, {part::gate, part::up}, 2, bias_rule::mlp_key, ""},
    {"b.{layer}.down", tap::mlp_middle, {part::down}, 1, bias_rule::never, ""},
}};
inline constexpr std::array<fpq::norm_row, 2> post_norms{{
    {"b.{layer}.attention_norm", norm_place::attention_output},
    {"b.{layer}.mlp_norm", norm_place::mlp_output},
}};

// Nothing in the order in which it runs, three norms of a block, one head norm.
inline constexpr std::array<fpq::linear_row, 4> shuffled_rows{{
    {"b.{layer}.up_gate", tap::mlp_input, {part::up, part::gate}, 2, bias_rule::never, ""},
    {"b.{layer}.vkq", tap::attention_input, {part::v, part::k, part::q}, 3, bias_rule::always, ""},
    {"b.{layer}.down", tap::mlp_middle, {part::down}, 1, bias_rule::always, ""},
    {"b.{layer}.o", tap::attention_output, {part::o}, 1, bias_rule::never, ""},
}};
inline constexpr std::array<fpq::norm_row, 4> shuffled_norms{{
    {"b.{layer}.n1", norm_place::mlp_output},
    {"b.{layer}.n2", norm_place::attention_output},
    {"b.{layer}.n3", norm_place::key_head},
    {"b.{layer}.n4", norm_place::mlp_input},
}};

constexpr fpq::architecture family(std::string_view type, std::span<fpq::linear_row const> linears,
                                   std::span<fpq::norm_row const> norms) {
    fpq::architecture a;
    a.model_type = type;
    a.linears = linears;
    a.norms = norms;
    a.embedding = "tokens";
    a.final_norm = "last_norm";
    a.head = "output";
    return a;
}

}  // namespace detail

/// q/k/v and gate/up fused, norms behind both blocks instead of before them.
inline constexpr fpq::architecture fused_family =
    detail::family("fused", detail::fused_rows, detail::post_norms);

/// The same fused the other way round, rows out of order, norms before and behind.
inline constexpr fpq::architecture shuffled_family =
    detail::family("shuffled", detail::shuffled_rows, detail::shuffled_norms);

}  // namespace fpq_test
