// SPDX-License-Identifier: Apache-2.0
// The flags of fpq-inspect.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/command_line.hpp"

namespace fpq::tools {

struct inspect_options {
    std::filesystem::path directory;
    std::filesystem::path reference;
    std::vector<std::string> only;  ///< names to show; empty: all
    bool summary = false;
    bool json = false;
    bool verify = false;
};

/// The flags as a table over `options`, which holds the defaults and gets the values.
program_spec inspect_program(inspect_options& options);

}  // namespace fpq::tools
