// SPDX-License-Identifier: Apache-2.0
// Test support. The documents of a text alone, all in memory.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fpq/io/text/text.hpp"

namespace fpq_test {

inline std::vector<std::string> load_documents(std::filesystem::path const& path,
                                               fpq::chat_style style = fpq::chat_style::plain) {
    return fpq::load_text(path, style).documents.all();
}

}  // namespace fpq_test
