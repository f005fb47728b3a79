// SPDX-License-Identifier: Apache-2.0
// What a checkpoint holds, as data: each quantized linear with its tensors, all other tensors, and
// totals. Printing is another's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fpq/io/safetensors/checkpoint.hpp"
#include "inspect/name_filter.hpp"

namespace fpq::tools {

struct tensor_line {
    std::string name;
    std::string type;
    std::vector<std::uint64_t> shape;
    std::uint64_t bytes = 0;
};

/// Error of a linear against its original, in the transformed basis.
struct linear_error {
    std::optional<double> sqnr_db;  ///< empty: both are 0 everywhere
    double worst_row_sqnr_db = 0.0;
    double zeroed_blocks = 0.0;  ///< share of the blocks that were not 0
};

struct linear_line {
    std::string module;
    std::size_t rows = 0;  ///< out
    std::size_t cols = 0;  ///< in
    std::string format;
    std::string inputs;          ///< what clients round inputs to; empty: they stay as they are
    double bits_per_weight = 0;  ///< of the format; of pseudoquant, too: what it would take
    double stored_bits = 0;      ///< per weight, in the file: another of pseudoquant
    float weight_global = 1.0F;  ///< divisor style
    float input_global = 1.0F;   ///< divisor style
    std::optional<linear_error> error;  ///< with a reference
    std::vector<tensor_line> tensors;   ///< codes, scales and what else is of this linear

    [[nodiscard]] std::uint64_t bytes() const;
    /// Null when there is none: pseudoquant has no scales.
    [[nodiscard]] tensor_line const* codes() const;
    [[nodiscard]] tensor_line const* scales() const;
};

/// Linears of one treatment.
struct format_total {
    std::string format;
    std::string inputs;
    std::size_t linears = 0;
    std::uint64_t weights = 0;
    double bits = 0.0;
    double stored_bits = 0.0;
};

struct survey {
    std::string directory;
    std::string model_type;  ///< as config.json says; empty: it does not
    std::string layout;      ///< empty: not quantized
    std::size_t shards = 0;
    std::size_t all_tensors = 0;
    std::uint64_t all_bytes = 0;
    bool unread = false;               ///< quantized in a way that is not read
    std::size_t all_linears = 0;       ///< quantized ones, shown or not
    std::vector<linear_line> linears;  ///< those that are shown, in the order of their numbers
    std::vector<tensor_line> tensors;  ///< those that are shown and of no quantized linear

    [[nodiscard]] std::vector<format_total> formats() const;
    /// Shown linears with an error, the worst first; none without a reference.
    [[nodiscard]] std::vector<linear_line const*> worst(std::size_t most) const;
};

/// `original` may be null. With `tolerant`, what cannot be read or compared is left out; else
/// it throws fpq::error (input).
survey survey_of(checkpoint const& source, checkpoint const* original, name_filter const& filter,
                 bool tolerant);

}  // namespace fpq::tools
