// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a user wants, as data: which scheme for which modules, how it is found, from which
// text, what is written and measured. recipe_json.hpp reads and writes it, flags.hpp makes it of
// the flags of fpq-quantize, resolve.hpp turns it into a plan; nobody else reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fpq/graph/scheme.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/solve/smooth.hpp"

namespace fpq {

enum class export_kind : std::uint8_t { none, realquant, pseudoquant };

constexpr char const* name_of(export_kind kind) noexcept {
    constexpr char const* names[] = {"none", "realquant", "pseudoquant"};
    return names[static_cast<int>(kind)];
}

/// A scheme for the modules that `pattern` matches: an exact name, `Linear` (every linear of the
/// layers and the head), or `re:` and a regular expression from the name's start. Of the rules that
/// match a module the last counts; an empty scheme leaves it as it is.
struct module_rule {
    std::string pattern;
    scheme how;

    [[nodiscard]] bool operator==(module_rule const&) const noexcept = default;
};

struct calibration_args {
    std::string dataset;  ///< a path, -, or "self": text sampled from the model; empty: none
    std::size_t sequence_length = 2048;
    std::size_t num_sequences = 1024;
    std::uint64_t seed = 42;
    std::string text_column{};  ///< of rows, the member that is the text; empty: known shapes

    [[nodiscard]] bool operator==(calibration_args const&) const noexcept = default;
};

struct output_args {
    export_kind kind = export_kind::none;
    std::string layout = "auto";  ///< a dialect's name, or auto: the first that holds the plan
    std::filesystem::path directory;
    std::uint64_t max_shard_size = std::uint64_t{5} * 1024 * 1024 * 1024;  ///< bytes

    [[nodiscard]] bool operator==(output_args const&) const noexcept = default;
};

/// Tasks of lm-evaluation-harness, asked of the checkpoint that was written.
struct task_args {
    std::vector<std::string> names;  ///< none: no tasks
    std::size_t batch = 0;           ///< sequences side by side; 0: as many as are served
    bool thinking = true;            ///< false: chat templates get enable_thinking = false
    std::filesystem::path include;   ///< a directory of more tasks; empty: none

    [[nodiscard]] bool operator==(task_args const&) const noexcept = default;
};

struct evaluation_args {
    bool perplexity = false;
    std::vector<std::filesystem::path> texts;  ///< empty: the calibration text
    std::size_t characters = 0;                ///< of each text; 0: all
    std::size_t windows = 0;                   ///< of each text; 0: all
    bool add_special = true;                   ///< special tokens as the tokenizer adds them
    task_args tasks{};

    [[nodiscard]] bool operator==(evaluation_args const&) const noexcept = default;
};

struct recipe {
    std::filesystem::path model;
    std::vector<module_rule> rules;
    std::vector<std::string> ignore{"lm_head"};  ///< patterns; stronger than rules
    std::vector<method> methods{rtn_method{}};   ///< in the order in which they work
    smooth_args smoothing{};                     ///< scales of inputs, folded before them
    calibration_args calibration;
    output_args output;
    evaluation_args evaluation;
    int threads = 0;  ///< 0: all processors

    [[nodiscard]] bool operator==(recipe const&) const noexcept = default;
};

}  // namespace fpq
