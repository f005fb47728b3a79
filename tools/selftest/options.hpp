// SPDX-License-Identifier: Apache-2.0
// Flags of fpq-selftest.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "common/command_line.hpp"

namespace fpq::tools {

struct selftest_options {
    bool line = false;                  ///< times the engine instead of the checks
    std::vector<std::size_t> shapes{};  ///< of model_shapes; empty: 8B and 14B
    std::filesystem::path charts{};     ///< draws those of this table, and no more
    std::filesystem::path save_path{};  ///< directory of table and charts; empty: fpq-speed
};

/// `options` hold the defaults and get the values.
program_spec selftest_program(selftest_options& options);

}  // namespace fpq::tools
