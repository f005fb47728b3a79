// SPDX-License-Identifier: Apache-2.0
// The flags of fpq-serve.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "common/command_line.hpp"
#include "fpq/backend/memory_budget.hpp"

namespace fpq::tools {

struct serve_options {
    std::filesystem::path model;
    std::string name;  ///< empty: the directory's
    std::string host = "127.0.0.1";
    int port = 8000;  ///< 0: a free one
    std::string api_key;
    std::filesystem::path api_key_file;
    std::size_t longest = 0;     ///< tokens of a prompt and its answer; 0: what the model allows
    std::size_t sequences = 64;  ///< side by side
    std::size_t batch_tokens = 512;  ///< of one step
    std::size_t cache_tokens = 0;    ///< keys and values that are held; 0: what memory allows
    std::size_t waiting = 4096;      ///< sequences that wait or run
    std::size_t choices = 256;       ///< of one request
    std::uint64_t body = std::uint64_t{16} << 20;  ///< bytes of a request
    std::size_t connections = 256;
    std::size_t request_seconds = 600;
    std::size_t shutdown_seconds = 30;
    int threads = 0;
    std::string device = "auto";
    std::string products = "auto";
    memory_budget memory;
};

/// The flags as a table over `options`, which holds the defaults and gets the values.
program_spec serve_program(serve_options& options);

/// The key that clients must give: --api_key or the first line of --api_key_file; empty: none.
/// Throws fpq::error (usage) where both are given, or none for a host that others can reach.
std::string api_key_of(serve_options const& options);

}  // namespace fpq::tools
