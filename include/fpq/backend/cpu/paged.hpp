// SPDX-License-Identifier: Apache-2.0
// Floor 6. The verbs of an engine's step on the CPU: keys and values in pages, rotation and
// attention of rows that stand anywhere in their sequences. A row gives the same bits whatever
// stands beside it, however its sequence was cut into steps and wherever its pages lie: sums run
// over positions in their order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/core/hosted/parallel.hpp"

namespace fpq {

namespace detail {

/// y += factor * x.
inline void add_scaled(float* y, float factor, float const* x, std::size_t n) noexcept {
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (std::size_t i = 0; i < lanes; ++i) {
            y[j + i] += factor * x[j + i];
        }
    }
    for (; j < n; ++j) {
        y[j] += factor * x[j];
    }
}

/// f(span, row, position) for every row of a step; rows are shared out over threads.
template <class F>
void for_each_ragged_row(cpu const& b, ragged_rows const& step, std::size_t chunk, F f) {
    parallel_for(step.tokens.size(), chunk, b.threads, [&](std::size_t begin, std::size_t end) {
        auto span = std::upper_bound(
            step.spans.begin(), step.spans.end(), begin,
            [](std::size_t row, ragged_span const& s) { return row < s.row + s.count; });
        for (std::size_t row = begin; row < end; ++row) {
            span += row == span->row + span->count ? 1 : 0;
            f(*span, row, span->position + (row - span->row));
        }
    });
}

}  // namespace detail

/// The backend with products that keep rows apart.
[[nodiscard]] inline cpu with_rows_alone(cpu b) noexcept {
    b.rows_alone = true;
    return b;
}

/// Rows that a step of so many takes on the backend.
[[nodiscard]] inline std::size_t padded_rows(cpu const&, std::size_t rows) noexcept { return rows; }

/// Rows of logits that are held at once.
[[nodiscard]] inline std::size_t logit_slice(cpu const&) noexcept { return 64; }

/// Room for the keys and values of `slots` tokens in one layer.
[[nodiscard]] inline cpu::page_store make_pages(cpu const& b, std::size_t slots,
                                                std::size_t kv_size) {
    return {make(b, slots, kv_size), make(b, slots, kv_size)};
}

[[nodiscard]] inline cpu::step_tables make_step_tables(cpu const&, ragged_limits const&) {
    return {};
}

/// What the verbs below see of a step, until the next: queries[i] is asked of its i-th wanted row.
inline void set_step(cpu const&, ragged_rows const& step, std::span<row_query const> /*queries*/,
                     attention_shape const& /*shape*/, cpu::step_tables& tables) {
    tables.step = &step;
}

/// hidden (rows, hidden) = the embeddings of the step's tokens, which lie within the table.
inline void embed_step(cpu const& b, cpu::table const& table, cpu::step_tables const& tables,
                       cpu::view hidden) {
    embed(b, table, tables.step->tokens, hidden);
}

/// q (rows, heads * head_dim): as rotate(), every row at its position; k (rows, kv size), rotated
/// likewise, and v go to their slots. What k holds afterwards means nothing.
inline void rotate_and_store_step(cpu const& b, cpu::view q, cpu::view k, cpu::const_view v,
                                  std::size_t head_dim, cpu::vector const& q_norm,
                                  cpu::vector const& k_norm, float eps, rope_table const& rope,
                                  cpu::step_tables const& tables, cpu::page_store& pages) {
    auto const turn = [&](float* row, std::size_t width, cpu::vector const& norm,
                          std::size_t position) {
        for (std::size_t h = 0; h < width; h += head_dim) {
            if (!norm.empty()) {
                detail::rms_norm(row + h, norm.data(), eps, head_dim, row + h);
            }
            rope.rotate(row + h, position);
        }
    };
    detail::for_each_ragged_row(
        b, *tables.step, detail::row_chunk,
        [&](ragged_span const& span, std::size_t row, std::size_t position) {
            turn(q.row(row), q.cols, q_norm, position);
            turn(k.row(row), k.cols, k_norm, position);
            std::size_t const slot = tables.step->slot(span, position);
            std::copy_n(k.row(row), k.cols, pages.keys.view().row(slot));
            std::copy_n(v.row(row), v.cols, pages.values.view().row(slot));
        });
}

/// out (rows, heads * head_dim) = the attention of every row to its own position and all before it,
/// whose keys and values are stored.
inline void attend_step(cpu const& b, cpu::const_view q, attention_shape const& shape,
                        cpu::step_tables const& tables, cpu::page_store const& pages,
                        cpu::view out) {
    ragged_rows const& step = *tables.step;
    std::size_t const group = shape.heads / shape.kv_heads;
    std::size_t const dim = shape.head_dim;
    float const scale = 1.0F / std::sqrt(static_cast<float>(dim));
    detail::for_each_ragged_row(
        b, step, 1, [&](ragged_span const& span, std::size_t row, std::size_t position) {
            std::vector<float> scores(position + 1);
            for (std::size_t head = 0; head < shape.heads; ++head) {
                float const* const query = q.row(row) + head * dim;
                std::size_t const column = head / group * dim;
                for (std::size_t t = 0; t <= position; ++t) {
                    float const* const key = pages.keys.view().row(step.slot(span, t)) + column;
                    scores[t] = detail::dot(query, key, dim);
                }
                float const most = detail::largest(scores.data(), scores.size());
                float const total = detail::exp_and_sum(scores.data(), scores.size(), scale, most);
                float* const y = out.row(row) + head * dim;
                std::fill_n(y, dim, 0.0F);
                for (std::size_t t = 0; t <= position; ++t) {
                    float const* const value = pages.values.view().row(step.slot(span, t)) + column;
                    detail::add_scaled(y, scores[t] / total, value, dim);
                }
            }
        });
}

/// out (count, cols) = the rows of x that are wanted, from the first-th on.
inline void gather_wanted(cpu const&, cpu::const_view x, cpu::step_tables const& tables,
                          std::size_t first, cpu::view out) {
    for (std::size_t i = 0; i < out.rows; ++i) {
        auto const row = static_cast<std::size_t>(tables.step->wanted[first + i]);
        std::copy_n(x.row(row), x.cols, out.row(i));
    }
}

/// Runs the work of a step; a backend may have kept it from an earlier step of as many rows where
/// it is `repeatable`, the same verbs every time.
template <class F>
void run_step(cpu const&, cpu::step_tables&, bool /*repeatable*/, F const& work) {
    work();
}

}  // namespace fpq
