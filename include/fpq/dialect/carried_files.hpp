// SPDX-License-Identifier: Apache-2.0
// Floor 6. Which files beside the weights an export takes over from its source: all that are not
// weights, the work of a trainer, or what the export writes itself.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/file/look.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

namespace detail {

template <std::size_t N>
bool ends_with_any(std::string_view name, std::array<std::string_view, N> const& ends) {
    return std::any_of(ends.begin(), ends.end(),
                       [name](std::string_view end) { return name.ends_with(end); });
}

/// Weights in any format, and indices of such.
inline bool is_weight_file(std::string_view name) {
    constexpr std::array<std::string_view, 20> ends{
        ".safetensors", ".bin",     ".pt",        ".pth",      ".gguf",
        ".ggml",        ".h5",      ".msgpack",   ".onnx",     ".onnx_data",
        ".ot",          ".npz",     ".tflite",    ".pdparams", ".ckpt",
        ".index.json",  ".mlmodel", ".llamafile", ".engine",   ".distcp"};
    return ends_with_any(name, ends) || name.find(".safetensors.") != std::string_view::npos;
}

/// Written by the export, true of the source alone, or left there by a trainer or an editor.
inline bool is_left_behind(std::string_view name) {
    constexpr std::array<std::string_view, 3> ends{".bak", ".orig", "~"};
    constexpr std::array<std::string_view, 12> names{"latest",
                                                     "zero_to_fp32.py",
                                                     "config.json",
                                                     "hf_quant_config.json",
                                                     "quantize_config.json",
                                                     "quant_config.json",
                                                     "trainer_state.json",
                                                     "README.md",
                                                     "recipe.json",
                                                     "optimizer_config.json",
                                                     "all_results.json",
                                                     "train_results.json"};
    return name.starts_with(".") || name.starts_with("events.out.tfevents") ||
           ends_with_any(name, ends) || std::find(names.begin(), names.end(), name) != names.end();
}

/// Directories of other formats and of a trainer.
inline bool is_foreign_directory(std::string_view name) {
    constexpr std::array<std::string_view, 9> names{
        "original", "onnx", "openvino", "coreml", "gguf", "runs", "logs", "metal", "__pycache__"};
    return name.starts_with(".") || name.starts_with("checkpoint-") ||
           name.starts_with("global_step") || name.find(".partial") != std::string_view::npos ||
           std::find(names.begin(), names.end(), name) != names.end();
}

/// Modules of sentence-transformers, "2_Dense": their weights belong to the model.
inline bool is_numbered_module(std::string_view name) {
    std::size_t const digits = name.find_first_not_of("0123456789");
    return digits != 0 && digits != std::string_view::npos && name[digits] == '_';
}

/// Names of the regular files, and links to such, among what lies in one directory.
inline std::vector<std::string> plain_files(std::vector<std::filesystem::path> const& paths) {
    std::vector<std::string> out;
    for (std::filesystem::path const& path : paths) {
        std::string name = path.filename().string();
        if (is_plain_file_name(name) && std::filesystem::is_regular_file(look_at(path))) {
            out.push_back(std::move(name));
        }
    }
    return out;
}

}  // namespace detail

/// Relative paths of the regular files that an export takes over as they are, sorted: all of the
/// source's directory and one level below it, but for weights, hidden files, other models, and what
/// the export writes itself. What this user may not look into is left out. Throws fpq::error
/// (input) when the system fails to tell what is there.
inline std::vector<std::string> carried_files(std::filesystem::path const& source) {
    std::vector<std::string> out;
    std::vector<std::filesystem::path> const paths = paths_in(source);
    for (std::string const& name : detail::plain_files(paths)) {
        if (!detail::is_weight_file(name) && !detail::is_left_behind(name)) {
            out.push_back(name);
        }
    }
    for (std::filesystem::path const& path : paths) {
        std::string const name = path.filename().string();
        if (!is_plain_file_name(name) || detail::is_foreign_directory(name) || is_link(path) ||
            !std::filesystem::is_directory(look_at(path)) ||
            ::access(path.c_str(), R_OK | X_OK) != 0) {
            continue;
        }
        std::vector<std::string> const inner = detail::plain_files(paths_in(path));
        bool const model = std::any_of(inner.begin(), inner.end(), [](std::string const& file) {
            return file == "config.json" || detail::is_weight_file(file);
        });
        for (std::string const& file : inner) {
            if ((!model || detail::is_numbered_module(name)) && !file.starts_with(".")) {
                std::string below = name;
                out.push_back(below.append("/").append(file));
            }
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace fpq
