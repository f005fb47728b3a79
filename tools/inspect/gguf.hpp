// SPDX-License-Identifier: Apache-2.0
// A GGUF file: what it holds, and what --verify finds.
#pragma once

#include <filesystem>
#include <optional>

#include "inspect/options.hpp"

namespace fpq::tools {

/// The GGUF file that a path stands for: itself by its name, or the one of an export in a directory
/// without safetensors; empty for any other.
std::optional<std::filesystem::path> gguf_of(std::filesystem::path const& path);

/// Prints the tensors by type and, with --verify, the findings; the exit code. Throws fpq::error:
/// usage for flags that say nothing of such a file, input for one that cannot be opened.
int inspect_gguf(std::filesystem::path const& file, inspect_options const& options);

}  // namespace fpq::tools
