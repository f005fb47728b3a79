// SPDX-License-Identifier: Apache-2.0
// Floor 8. Names for common pairs of formats, as recipes and `--rule` write them: weights with
// inputs
// ("nvfp4") or weights alone ("nvfp4a16"), after compressed-tensors' presets. A preset chooses
// formats only; observers, rules and transforms are the scheme's that it is put into.
#pragma once

#include <array>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>

#include "fpq/format/block.hpp"

namespace fpq {

struct preset {
    std::string_view name;
    quant_format weight;
    std::optional<quant_format> input;
};

inline constexpr std::array<preset, 10> presets{{
    {"nvfp4", nvfp4, nvfp4},
    {"nvfp4a16", nvfp4, std::nullopt},
    {"mxfp4", mxfp4, mxfp4},
    {"mxfp4a16", mxfp4, std::nullopt},
    {"mxfp6a8", mxfp6_e2m3, mxfp8_e4m3},
    {"mxfp6a16", mxfp6_e2m3, std::nullopt},
    {"mxfp8", mxfp8_e4m3, mxfp8_e4m3},
    {"mxfp8a16", mxfp8_e4m3, std::nullopt},
    {"int4a16", int_format(4, 128), std::nullopt},
    {"int8a16", int_format(8, 128), std::nullopt},
}};

/// Null when there is no such preset. Letter case, '_' and '-' do not count.
inline preset const* find_preset(std::string_view name) {
    std::string plain;
    for (char const c : name) {
        if (c != '_' && c != '-') {
            plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
    }
    for (preset const& p : presets) {
        if (p.name == plain) {
            return &p;
        }
    }
    return nullptr;
}

/// "nvfp4, nvfp4a16, ..." for messages.
inline std::string preset_names() {
    std::string names;
    for (preset const& p : presets) {
        names += std::string(p.name) + ", ";
    }
    return names + "bf16";
}

}  // namespace fpq
