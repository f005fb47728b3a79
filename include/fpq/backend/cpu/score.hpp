// SPDX-License-Identifier: Apache-2.0
// Floor 6. The score verb of the CPU: what a row of logits says about the token that follows, alone
// and beside the logits of a reference model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/score.hpp"
#include "fpq/core/hosted/parallel.hpp"

namespace fpq {

namespace detail {

/// log(sum(e^logits)): terms in float32, their sum in float64.
inline double log_sum_exp(float const* logits, std::size_t n, float shift) noexcept {
    double sum = 0;
    for (std::size_t begin = 0; begin < n; begin += lanes) {
        lane_block terms{};
        const std::size_t count = std::min(lanes, n - begin);
        std::copy_n(logits + begin, count, terms.begin());
        for (float& t : terms) {
            t = fast_exp(t - shift);
        }
        for (std::size_t i = count; i < lanes; ++i) {
            terms[i] = 0;
        }
        sum += static_cast<double>(lane_sum(terms));
    }
    return std::log(sum) + static_cast<double>(shift);
}

/// KL(reference || model) = sum p_r (log p_r - log p_m); terms in float32 around the means' shift,
/// sums in float64.
inline double kl_divergence(float const* reference, double reference_lse, float const* model,
                            double model_lse, std::size_t n) noexcept {
    const auto shift = static_cast<float>(reference_lse);
    const auto offset = static_cast<float>(model_lse - reference_lse);
    double sum = 0;
    for (std::size_t begin = 0; begin < n; begin += lanes) {
        lane_block r{};
        lane_block m{};
        const std::size_t count = std::min(lanes, n - begin);
        std::copy_n(reference + begin, count, r.begin());
        std::copy_n(model + begin, count, m.begin());
        for (std::size_t i = 0; i < lanes; ++i) {
            r[i] = fast_exp(r[i] - shift) * ((r[i] - m[i]) + offset);
        }
        for (std::size_t i = count; i < lanes; ++i) {
            r[i] = 0;
        }
        sum += static_cast<double>(lane_sum(r));
    }
    return sum;
}

inline std::size_t first_largest(float const* x, std::size_t n) noexcept {
    const float best = largest(x, n);
    return static_cast<std::size_t>(std::find(x, x + n, best) - x);
}

inline position_score score_position(float const* logits, float const* reference, std::size_t n,
                                     std::int32_t target) noexcept {
    const auto at = static_cast<std::size_t>(target);
    position_score score;
    const double lse = log_sum_exp(logits, n, largest(logits, n));
    score.nll = static_cast<float>(lse - static_cast<double>(logits[at]));
    if (reference != nullptr) {
        const double reference_lse = log_sum_exp(reference, n, largest(reference, n));
        score.reference_nll =
            static_cast<float>(reference_lse - static_cast<double>(reference[at]));
        score.kl = static_cast<float>(kl_divergence(reference, reference_lse, logits, lse, n));
        score.same_top = first_largest(logits, n) == first_largest(reference, n);
    }
    return score;
}

}  // namespace detail

/// scores[i] from row i of logits (tokens, vocab) and, when it has rows, of `reference`; targets[i]
/// is the token that came.
inline void score(cpu const& b, cpu::const_view logits, cpu::const_view reference,
                  std::span<std::int32_t const> targets, std::span<position_score> scores) {
    parallel_for(logits.rows, 8, b.threads, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
            float const* const other = reference.rows != 0 ? reference.row(i) : nullptr;
            scores[i] = detail::score_position(logits.row(i), other, logits.cols, targets[i]);
        }
    });
}

/// The same from what the heads read; `reference` without a head: there is none. Logits are held
/// for a few rows at a time.
inline void score_rows(cpu const& b, scored_head<cpu> const& model,
                       scored_head<cpu> const& reference, std::span<std::int32_t const> targets,
                       std::span<position_score> scores, cpu::score_workspace& held) {
    constexpr std::size_t most = detail::logit_rows;
    auto const fit = [&](cpu::tensor& t, std::size_t cols) {
        if (t.cols() != cols || t.rows() == 0) {
            t = make(b, most, cols);
        }
    };
    for (std::size_t begin = 0; begin < scores.size(); begin += most) {
        std::size_t const count = std::min(most, scores.size() - begin);
        fit(held.logits, model.head->rows());
        cpu::view const own = held.logits.view().rows_at(0, count);
        logits(b, model.input.rows_at(begin, count), *model.head, own);
        cpu::const_view other{};
        if (reference.head != nullptr) {
            fit(held.reference, reference.head->rows());
            logits(b, reference.input.rows_at(begin, count), *reference.head,
                   held.reference.view().rows_at(0, count));
            other = held.reference.view().rows_at(0, count);
        }
        score(b, own, other, targets.subspan(begin, count), scores.subspan(begin, count));
    }
}

}  // namespace fpq
