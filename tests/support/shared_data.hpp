// SPDX-License-Identifier: Apache-2.0
// Where tests find files: the repository, and the folder of models and texts that may lie beside
// it (FPQ_SHARED, else ../shared). A test that needs the latter skips loudly without it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace fpq_test {

/// The root of the repository: FPQ_REPO, else the place this was compiled from.
inline std::filesystem::path repo_dir() {
    if (char const* given = std::getenv("FPQ_REPO"); given != nullptr && *given != '\0') {
        return given;
    }
#ifdef FPQ_SOURCE_DIR
    return FPQ_SOURCE_DIR;
#else
    return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
#endif
}

/// A path under the shared folder; it need not exist.
inline std::filesystem::path shared_path(std::string const& relative) {
    if (char const* given = std::getenv("FPQ_SHARED"); given != nullptr && *given != '\0') {
        return std::filesystem::path(given) / relative;
    }
    return repo_dir().parent_path() / "shared" / relative;
}

/// True when `relative` exists under the shared folder; otherwise says so on stdout, to be counted.
inline bool have_shared(std::string const& relative) {
    std::filesystem::path const path = shared_path(relative);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
        return true;
    }
    std::printf("SKIPPED: needs %s, which is not there\n", path.string().c_str());
    std::fflush(stdout);
    return false;
}

/// The folder of the tools of this build (FPQ_BIN_DIR); empty when not told.
inline std::filesystem::path bin_dir() {
    char const* given = std::getenv("FPQ_BIN_DIR");
    return given != nullptr ? std::filesystem::path(given) : std::filesystem::path();
}

}  // namespace fpq_test
