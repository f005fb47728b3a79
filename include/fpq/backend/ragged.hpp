// SPDX-License-Identifier: Apache-2.0
// Floor 6. One step of an engine as data, for every backend: rows of many sequences one below the
// other, each at its own position, their keys and values in pages; what is asked of the logits, and
// what is answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace fpq {

/// Rows of one sequence at neighbouring positions. Keys and values of its position p lie in slot
/// pages[table + p / page] * page + p % page.
struct ragged_span {
    std::size_t row = 0;       ///< the first
    std::size_t count = 0;     ///< of rows
    std::size_t position = 0;  ///< of the first row in its sequence
    std::size_t table = 0;     ///< where the sequence's pages begin in ragged_rows::pages
};

struct ragged_rows {
    std::size_t page = 16;             ///< tokens of a page
    std::vector<std::int32_t> tokens;  ///< of every row
    std::vector<ragged_span> spans;    ///< in the order of their rows, without gaps
    std::vector<std::int32_t> pages;   ///< of all sequences of the step
    std::vector<std::int32_t> wanted;  ///< rows whose logits are read, in rising order

    [[nodiscard]] std::size_t slot(ragged_span const& s, std::size_t position) const noexcept {
        return static_cast<std::size_t>(pages[s.table + position / page]) * page + position % page;
    }
    void clear() noexcept {
        tokens.clear();
        spans.clear();
        pages.clear();
        wanted.clear();
    }
};

/// The most of everything that a step may have.
struct ragged_limits {
    std::size_t rows;
    std::size_t spans;
    std::size_t pages;  ///< of all sequences of a step
    std::size_t page;   ///< tokens of each
};

/// What is asked of one row of logits.
struct row_query {
    /// The token to score; empty: one is chosen by what follows.
    std::optional<std::int32_t> target{};
    float temperature = 0.0F;  ///< 0: the likeliest, the lowest id among equals
    float top_p = 1.0F;
    std::size_t top_k = 0;
    float uniform = 0.0F;  ///< the random number of the choice, in [0, 1)
    std::size_t top = 0;   ///< so many of the likeliest beside it
};

struct row_answer {
    std::int32_t token = 0;                             ///< the target, or what was chosen
    float logprob = 0.0F;                               ///< natural logarithm at temperature 1
    std::vector<std::pair<std::int32_t, float>> top{};  ///< the likeliest first, lower ids first
    bool finite = true;  ///< false: there was NaN or infinity among the logits, and nothing holds
};

}  // namespace fpq
