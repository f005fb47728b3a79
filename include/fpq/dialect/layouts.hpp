// SPDX-License-Identifier: Apache-2.0
// Floor 6. The layouts that fpq writes, by name: those of the registry, and files of other
// containers.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/gguf.hpp"
#include "fpq/dialect/registry.hpp"

namespace fpq {

/// Files of another container, which are written when they are asked for by name.
inline constexpr std::array<dialect const*, 1> single_file_dialects{&gguf};

/// Null when no layout has that name; '_' and '-' are the same.
inline dialect const* find_dialect(std::string_view name) {
    auto const plain = [](std::string_view text) {
        std::string out(text);
        std::replace(out.begin(), out.end(), '-', '_');
        return out;
    };
    for (std::span<dialect const* const> const all :
         {std::span<dialect const* const>(dialects),
          std::span<dialect const* const>(single_file_dialects)}) {
        for (dialect const* const d : all) {
            if (plain(d->name) == plain(name)) {
                return d;
            }
        }
    }
    return nullptr;
}

}  // namespace fpq
