// SPDX-License-Identifier: Apache-2.0
// A small export, spoiled in one place, and what verify finds about it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/line.hpp"
#include "support/tiny_checkpoint.hpp"

namespace fpq_test {

/// Findings about `dir` after its tensors and its config went through the edits.
std::string findings(std::filesystem::path const& dir,
                     std::function<void(std::vector<raw_tensor>&)> const& on_tensors,
                     std::function<void(nlohmann::json&)> const& on_config, bool warnings = false);

inline auto without(std::string const& name) {
    return [name](std::vector<raw_tensor>& all) {
        std::erase_if(all, [&](raw_tensor const& t) { return t.name == name; });
    };
}

inline auto with(raw_tensor const& extra) {
    return [extra](std::vector<raw_tensor>& all) {
        std::erase_if(all, [&](raw_tensor const& t) { return t.name == extra.name; });
        all.push_back(extra);
    };
}

inline raw_tensor bf16_values(std::string name, std::size_t count, char const* two_bytes) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) {
        bytes.append(two_bytes, 2);
    }
    return {std::move(name), fpq::dtype::bf16, {count}, bytes};
}

inline fpq::harness_flags flags_for(temporary_directory const& dir, bool rotated) {
    fpq::harness_flags f;
    f.model = dir.path() / "model";
    f.scheme.family = fpq::format_family::mxfp;
    f.output.kind = fpq::export_kind::realquant;
    f.output.directory = dir.path() / "out";
    f.threads = 1;
    if (rotated) {
        f.output.layout = "fp_quant";
        f.scheme.a_bits = 4;
        f.scheme.transform = fpq::transform_kind::hadamard;
        f.scheme.transform_block = 32;
    }
    return f;
}

inline std::filesystem::path export_of(temporary_directory const& dir, bool rotated) {
    tiny_checkpoint_options options;
    options.tied = false;
    make_tiny_checkpoint(dir.path() / "model", options);
    (void)go(flags_for(dir, rotated));
    return dir.path() / "out";
}

}  // namespace fpq_test
