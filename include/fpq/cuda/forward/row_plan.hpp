// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How a block holds one row in registers for RMSNorm. It depends on the columns alone,
// so a row's sum has the same order, and its result the same bits, in any batch.
#pragma once

#include <cstddef>

namespace fpq::cuda {

/// `threads` threads with `held` pieces of eight neighbours each; piece p belongs to thread
/// p % threads.
struct row_plan {
    int threads = 0;
    int held = 0;  // 1, 2, 4 or 8

    static constexpr std::size_t width = 8;
    static constexpr int most_threads = 256;
    static constexpr int most_held = 8;
    /// The longest row.
    static constexpr std::size_t most_cols = width * most_threads * most_held;
};

/// The plan of a row of `cols` values, a multiple of eight up to row_plan::most_cols.
constexpr row_plan plan_row(std::size_t cols) noexcept {
    std::size_t const pieces = cols / row_plan::width;
    row_plan plan;
    plan.threads = pieces >= row_plan::most_threads ? row_plan::most_threads
                                                    : static_cast<int>((pieces + 31) / 32 * 32);
    plan.held = 1;
    while (static_cast<std::size_t>(plan.threads) * static_cast<std::size_t>(plan.held) < pieces) {
        plan.held *= 2;
    }
    return plan;
}

}  // namespace fpq::cuda
