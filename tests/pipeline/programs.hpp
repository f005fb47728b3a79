// SPDX-License-Identifier: Apache-2.0
// Test support. The programs as a shell calls them.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "support/shared_data.hpp"

namespace fpq_test {

struct outcome {
    int code = -1;
    std::string text;  // stdout and stderr

    [[nodiscard]] bool says(std::string const& part) const {
        return text.find(part) != std::string::npos;
    }
};

/// FPQ_BIN_DIR is set by ctest; without it the cases of the programs skip loudly.
inline bool have_programs() {
    if (std::getenv("FPQ_BIN_DIR") != nullptr) {
        return true;
    }
    std::puts("SKIPPED: FPQ_BIN_DIR is not set: the programs are not tested");
    return false;
}

/// Runs a program by name, `before` (of the shell, such as a limit) in front.
inline outcome run_program(std::string const& arguments, std::string const& before = {}) {
    std::string const command = before + std::string(std::getenv("FPQ_BIN_DIR")) + "/" + arguments;
    outcome result;
    FILE* const pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4096> buffer{};
    for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
        result.text.append(buffer.data(), n);
    }
    int const status = ::pclose(pipe);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return result;
}

inline std::string example_model(std::string const& name = "tiny-llama") {
    return (repo_dir() / "examples" / "models" / name).string();
}

inline std::string example_text(std::string const& name) {
    return (repo_dir() / "examples" / "text" / name).string();
}

}  // namespace fpq_test
