// SPDX-License-Identifier: Apache-2.0
// Which matrix products a program runs with: --products and FPQ_PRODUCTS.
#pragma once

#include <string>

#include "common/command_line.hpp"

namespace fpq::tools {

/// --products (or FPQ_PRODUCTS in the environment, which is read here); `choice` gets the word.
flag_spec products_flag(std::string& choice);

/// Makes the process multiply with them, `threads` at once; returns their name for a report. auto:
/// OpenBLAS when it loads and has room, else our own. Call it before threads start. Throws
/// fpq::error when what was named is not there (usage) or has no room (input).
std::string choose_products(std::string const& choice, int threads);

}  // namespace fpq::tools
