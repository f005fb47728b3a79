// SPDX-License-Identifier: Apache-2.0
// Floor 6. What an engine reads from a row of logits on the CPU: the log-probability of a token,
// the likeliest tokens, and the choice of the next one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/core/hosted/parallel.hpp"

namespace fpq {

namespace detail {

/// The ids of the n likeliest of `logits`, the likeliest first, lower ids first among equals.
inline std::vector<std::int32_t> likeliest(std::span<float const> logits, std::size_t n) {
    std::vector<std::int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    auto const before = [&](std::int32_t a, std::int32_t b) {
        float const x = logits[static_cast<std::size_t>(a)];
        float const y = logits[static_cast<std::size_t>(b)];
        return x > y || (x == y && a < b);
    };
    n = std::min(n, ids.size());
    auto const end = ids.begin() + static_cast<std::ptrdiff_t>(n);
    if (n < ids.size()) {
        std::nth_element(ids.begin(), end, ids.end(), before);
    }
    std::sort(ids.begin(), end, before);
    ids.resize(n);
    return ids;
}

/// e^((x - best) / temperature) of finite logits whose largest is `best`.
inline double tempered(float x, float best, float temperature) noexcept {
    return std::exp((static_cast<double>(x) - static_cast<double>(best)) /
                    static_cast<double>(temperature));
}

/// Where the cumulated weight passes u * (their sum); weights are positive or 0, one is positive.
inline std::size_t draw_weighted(std::span<double const> weights, float u) noexcept {
    double const total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double const goal = static_cast<double>(u) * total;
    double passed = 0;
    std::size_t last = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        passed += weights[i];
        last = weights[i] > 0 ? i : last;
        if (passed > goal) {
            return i;
        }
    }
    return last;
}

/// The token that a query with a temperature takes: of the top_k likeliest, or of all, the smallest
/// set that holds top_p of their probability; from that by its probabilities, in the order of ids.
inline std::int32_t sampled_token(std::span<float const> logits, row_query const& how) {
    float const best = largest(logits.data(), logits.size());
    std::vector<double> weights;
    auto const weigh = [&](std::span<std::int32_t const> ids) {
        weights.clear();
        for (std::int32_t const id : ids) {
            weights.push_back(
                tempered(logits[static_cast<std::size_t>(id)], best, how.temperature));
        }
    };
    bool const all = how.top_k == 0 && how.top_p >= 1.0F;
    std::vector<std::int32_t> ids;
    if (all) {
        ids.resize(logits.size());
        std::iota(ids.begin(), ids.end(), 0);
    } else {
        ids = likeliest(logits, how.top_k == 0 ? logits.size() : how.top_k);
        weigh(ids);
        double const enough =
            static_cast<double>(how.top_p) * std::accumulate(weights.begin(), weights.end(), 0.0);
        double passed = 0;
        std::size_t kept = 0;
        while (kept < ids.size() && (kept == 0 || passed < enough)) {
            passed += weights[kept++];
        }
        ids.resize(how.top_p < 1.0F ? kept : ids.size());
        std::sort(ids.begin(), ids.end());
    }
    weigh(ids);
    return ids[draw_weighted(weights, how.uniform)];
}

inline row_answer answer_of(std::span<float const> logits, row_query const& query) {
    row_answer out;
    double const lse =
        log_sum_exp(logits.data(), logits.size(), largest(logits.data(), logits.size()));
    if (!std::isfinite(lse)) {
        out.finite = false;
        return out;
    }
    auto const logprob = [&](std::int32_t id) {
        return static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(id)]) - lse);
    };
    if (query.target) {
        out.token = *query.target;
    } else if (query.temperature == 0.0F) {
        out.token = static_cast<std::int32_t>(first_largest(logits.data(), logits.size()));
    } else {
        out.token = sampled_token(logits, query);
    }
    out.logprob = logprob(out.token);
    if (query.top != 0) {
        for (std::int32_t const id : likeliest(logits, query.top)) {
            out.top.emplace_back(id, logprob(id));
        }
    }
    return out;
}

}  // namespace detail

/// What is left to do on the device before answer_rows: nothing here.
inline void measure_wanted(cpu const&, cpu::const_view /*logits*/, cpu::step_tables const&,
                           std::size_t /*first*/) noexcept {}

/// answers[i] from row i of logits (queries or more, vocab), those of the wanted rows from the
/// first-th on, as queries[i] asks.
inline void answer_rows(cpu const& b, cpu::const_view logits, cpu::step_tables const&,
                        std::size_t /*first*/, std::span<row_query const> queries,
                        std::span<row_answer> answers) {
    parallel_for(queries.size(), 1, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            answers[i] = detail::answer_of({logits.row(i), logits.cols}, queries[i]);
        }
    });
}

}  // namespace fpq
