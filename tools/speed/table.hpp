// SPDX-License-Identifier: Apache-2.0
// How fast an engine was, as data: rows, the card they are of, and their JSON.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpq::tools {

inline constexpr std::string_view decode_work = "decode";
inline constexpr std::string_view prefill_work = "prefill";

/// One figure: steps that give `batch` sequences a token each, or a prompt to its first answer.
struct speed_row {
    std::string shape;        ///< of the model: "Qwen3-8B"; or a checkpoint's name
    std::string weights;      ///< "bf16", "nvfp4", "mxfp4": how they are multiplied
    std::string work;         ///< decode_work or prefill_work
    std::size_t batch = 1;    ///< sequences side by side
    std::size_t context = 0;  ///< tokens of each sequence when its decoding begins; of the prompt
    double mean_context = 0;  ///< decode: of the sequences, half-way through the timed steps
    double milliseconds = 0;  ///< of a step, of a prompt: the median
    double least = 0;         ///< milliseconds
    double most = 0;          ///< milliseconds
    std::size_t samples = 0;  ///< timed steps or prompts
    double step_bytes = 0;    ///< decode: weights, keys and values that a step must read; else 0

    [[nodiscard]] bool operator==(speed_row const&) const = default;
    [[nodiscard]] double tokens_per_second() const {
        return 1e3 * static_cast<double>(work == decode_work ? batch : context) / milliseconds;
    }
};

struct speed_table {
    std::string card;        ///< its name
    std::string capability;  ///< "9.0"
    std::string driver;      ///< its version; empty: not known
    double copy_rate = 0;    ///< bytes a second, read and written, of a copy on the card
    std::vector<speed_row> rows;
    std::vector<std::string> left_out;  ///< what was not timed, and why

    [[nodiscard]] bool operator==(speed_table const&) const = default;
    /// The row, or null.
    [[nodiscard]] speed_row const* find(std::string_view shape, std::string_view weights,
                                        std::string_view work, std::size_t batch,
                                        std::size_t context) const;
};

nlohmann::ordered_json json_of(speed_table const& table);

/// Throws fpq::error (input) by file and key for what is no such table.
speed_table read_speed_table(std::filesystem::path const& file);

/// How many times as fast as bf16 weights in the same engine; nothing where a row is missing.
std::optional<double> speed_up(speed_table const& table, speed_row const& row);

/// Lines for people: the card, a row.
std::string line_of(speed_table const& table);
std::string line_of(speed_row const& row, double copy_rate);

}  // namespace fpq::tools
