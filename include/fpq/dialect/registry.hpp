// SPDX-License-Identifier: Apache-2.0
// Floor 6. The layouts that fpq knows, and what is common to every export.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/dialect/compressed_tensors.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/fp_quant.hpp"
#include "fpq/dialect/modelopt.hpp"

namespace fpq {

/// In the order in which `auto` tries them.
inline constexpr std::array<dialect const*, 3> dialects{&compressed_tensors, &fp_quant, &modelopt};

/// Null when no layout has that name; '_' and '-' are the same.
inline dialect const* find_dialect(std::string_view name) {
    auto const plain = [](std::string_view text) {
        std::string out(text);
        std::replace(out.begin(), out.end(), '-', '_');
        return out;
    };
    for (dialect const* const d : dialects) {
        if (plain(d->name) == plain(name)) {
            return d;
        }
    }
    return nullptr;
}

/// Why `d` cannot hold the plan; empty when it can.
inline std::optional<refusal> refuses(dialect const& d, export_plan const& plan) {
    for (export_linear const& linear : plan.linears) {
        if (std::optional<refusal> why = d.refuses(plan, linear)) {
            return why;
        }
    }
    return std::nullopt;
}

/// The names of files that an export carries over from its source when they exist there.
inline std::vector<std::string> carried_files(std::filesystem::path const& source) {
    constexpr std::array<std::string_view, 14> known{"tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "tokenizer.model",
                                                     "vocab.json",
                                                     "merges.txt",
                                                     "special_tokens_map.json",
                                                     "added_tokens.json",
                                                     "chat_template.jinja",
                                                     "chat_template.json",
                                                     "generation_config.json",
                                                     "preprocessor_config.json",
                                                     "LICENSE",
                                                     "LICENSE.txt",
                                                     "NOTICE"};
    std::vector<std::string> out;
    for (std::string_view const name : known) {
        if (std::filesystem::is_regular_file(source / name)) {
            out.emplace_back(name);
        }
    }
    return out;
}

}  // namespace fpq
