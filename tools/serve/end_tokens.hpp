// SPDX-License-Identifier: Apache-2.0
// The tokens that end a text, as a checkpoint says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq::tools {

/// eos_token_id of generation_config.json, else of config.json (one or a list), and the
/// tokenizer's. Throws fpq::error (input) for a file that cannot be read.
std::vector<std::int32_t> end_tokens(std::filesystem::path const& checkpoint,
                                     tokenizer const& words);

}  // namespace fpq::tools
