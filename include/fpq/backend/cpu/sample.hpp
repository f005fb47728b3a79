// SPDX-License-Identifier: Apache-2.0
// Floor 6. The sample verb of the CPU: one token a row of logits, temperature 1, whole vocabulary.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/random.hpp"

namespace fpq {

namespace detail {

/// The token at which the cumulated probability of `logits` passes `u` in [0, 1). Overwrites them.
inline std::int32_t draw_token(float* logits, std::size_t n, float u) {
    const float best = largest(logits, n);
    const float sum = exp_and_sum(logits, n, 1.0F, best);
    if (!std::isfinite(sum)) {
        fail_numeric("sampling from the model", "logits", "finite values", "NaN or infinity");
    }
    double total = 0;
    for (std::size_t j = 0; j < n; ++j) {
        total += static_cast<double>(logits[j]);
    }
    const double goal = static_cast<double>(u) * total;
    double passed = 0;
    std::size_t last_possible = 0;
    for (std::size_t j = 0; j < n; ++j) {
        passed += static_cast<double>(logits[j]);
        last_possible = logits[j] > 0 ? j : last_possible;
        if (passed > goal) {
            return static_cast<std::int32_t>(j);
        }
    }
    return static_cast<std::int32_t>(last_possible);
}

}  // namespace detail

/// tokens[r] = a draw from the softmax of row r of logits (rows, vocab), which is overwritten. Row
/// r takes random number `step` of Philox stream `stream` + r. Throws fpq::error (numeric) when the
/// logits are not finite.
inline void draw_tokens(cpu const& b, cpu::view logits, std::uint64_t seed, std::uint64_t stream,
                        std::uint64_t step, std::span<std::int32_t> tokens) {
    parallel_for(logits.rows, 1, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
            philox const source{seed, stream + r};
            tokens[r] = detail::draw_token(logits.row(r), logits.cols, uniform(source.at(step)));
        }
    });
}

}  // namespace fpq
