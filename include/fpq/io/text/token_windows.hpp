// SPDX-License-Identifier: Apache-2.0
// Floor 5. Windows of tokens, whatever they were cut from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

using token_windows = std::vector<std::vector<std::int32_t>>;

/// Calibration windows and how much of the text is in them.
struct calibration_cut {
    token_windows windows;
    std::size_t documents = 0;  // of the text
    std::size_t used = 0;       // those that windows were cut from
    bool packed = false;        // no document is longer than a window: they were joined

    std::size_t malformed = 0;              // documents that are no valid UTF-8, read with U+FFFD
    std::size_t replaced = 0;               // U+FFFD that the text itself holds, when they are many
    std::vector<std::string> remarks = {};  // of what read the text

    /// For the user: most of the text plays no part, was joined, or is in another encoding.
    [[nodiscard]] std::vector<std::string> notes() const {
        std::vector<std::string> out;
        constexpr std::size_t windows_of_few = 4;  // of each document, on average
        if (packed) {
            out.push_back("no calibration document is longer than a window: all " +
                          std::to_string(documents) + " are joined");
        } else if (used < documents && used * windows_of_few <= windows.size()) {
            out.push_back("all " + std::to_string(windows.size()) +
                          " calibration windows come from " + std::to_string(used) + " of " +
                          std::to_string(documents) +
                          " documents: the others are shorter than a window or were not drawn");
        }
        if (malformed != 0) {
            out.push_back(std::to_string(malformed) + " of " + std::to_string(documents) +
                          " calibration documents are not valid UTF-8: malformed bytes are read "
                          "as U+FFFD");
        }
        if (replaced != 0) {
            out.push_back("the calibration text holds U+FFFD " + std::to_string(replaced) +
                          " times: it was decoded from another encoding with losses");
        }
        out.insert(out.end(), remarks.begin(), remarks.end());
        return out;
    }
};

/// floor(tokens.size() / length) windows that follow each other; the rest is dropped. They view
/// `tokens`. Errors: fpq::error (usage) for a length below 2, which leaves nothing to predict.
[[nodiscard]] inline std::vector<std::span<std::int32_t const>> cut_windows(
    std::span<std::int32_t const> tokens, std::size_t length) {
    if (length < 2) {
        fail_usage("bad sequence length", "evaluation", "at least 2", std::to_string(length));
    }
    std::vector<std::span<std::int32_t const>> windows;
    for (std::size_t at = 0; length <= tokens.size() - at; at += length) {
        windows.push_back(tokens.subspan(at, length));
    }
    return windows;
}

}  // namespace fpq
