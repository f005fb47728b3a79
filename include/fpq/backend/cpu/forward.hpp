// SPDX-License-Identifier: Apache-2.0
// Floor 6. The forward verbs of the CPU: embedding, norm, linear, rotation, attention over a window
// or a cache, gate, sum, logits. Each works on rows = tokens and gives the same bits at any number
// of threads. How a family strings them together is model/forward.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fpq/backend/cpu/attention.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/linalg/row_product.hpp"

namespace fpq {

namespace detail {

/// Rows of an elementwise step that one thread takes at a time.
inline constexpr std::size_t row_chunk = 32;
/// Vocabulary rows that are widened and multiplied at a time.
inline constexpr std::size_t vocab_tile = 512;

/// f(row) for every row, in chunks.
template <class F>
void for_each_row(cpu const& b, std::size_t rows, F f) {
    parallel_for(rows, row_chunk, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            f(i);
        }
    });
}

/// y = x w^T on so many threads, by the product that the backend asks for.
inline void multiply_rows(cpu const& b, cpu::const_view x, cpu::const_view w, cpu::view y,
                          int threads) {
    if (b.rows_alone) {
        matmul_rows(x, w, y, threads);
    } else {
        matmul_nt(x, w, y, threads);
    }
}

}  // namespace detail

/// y = x.
inline void copy(cpu const&, cpu::const_view x, cpu::view y) {
    for (std::size_t i = 0; i < x.rows; ++i) {
        std::copy_n(x.row(i), x.cols, y.row(i));
    }
}

/// hidden (tokens, hidden) = rows of the table; tokens lie within it.
inline void embed(cpu const&, cpu::table const& table, std::span<std::int32_t const> tokens,
                  cpu::view hidden) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        table.copy_row(static_cast<std::size_t>(tokens[i]), hidden.row(i));
    }
}

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row; y may be x.
inline void rms_norm(cpu const& b, cpu::const_view x, cpu::vector const& weight, float eps,
                     cpu::view y) {
    detail::for_each_row(b, x.rows, [&](std::size_t i) {
        detail::rms_norm(x.row(i), weight.data(), eps, x.cols, y.row(i));
    });
}

/// y (tokens, out) = x (tokens, in) weight (out, in)^T + bias; bias may be empty.
inline void linear(cpu const& b, cpu::const_view x, cpu::const_view weight, cpu::vector const& bias,
                   cpu::view y) {
    detail::multiply_rows(b, x, weight, y, b.threads);
    if (!bias.empty()) {
        detail::for_each_row(
            b, y.rows, [&](std::size_t i) { detail::add_in_place(y.row(i), bias.data(), y.cols); });
    }
}

/// Norm (when `norm` is not empty) and rotation of every head of x (tokens, heads * head_dim), of
/// queries or keys.
inline void rotate_heads(cpu const& b, cpu::view x, std::size_t head_dim, cpu::vector const& norm,
                         float eps, rope_table const& table, row_positions const& at) {
    detail::for_each_row(b, x.rows, [&](std::size_t i) {
        for (std::size_t h = 0; h < x.cols; h += head_dim) {
            float* const head = x.row(i) + h;
            if (!norm.empty()) {
                detail::rms_norm(head, norm.data(), eps, head_dim, head);
            }
            table.rotate(head, at(i));
        }
    });
}

/// Norm (when `q_norm` and `k_norm` are not empty) and rotation of queries and keys.
inline void rotate(cpu const& b, cpu::view q, cpu::view k, std::size_t head_dim,
                   cpu::vector const& q_norm, cpu::vector const& k_norm, float eps,
                   rope_table const& table, row_positions const& at) {
    rotate_heads(b, q, head_dim, q_norm, eps, table, at);
    rotate_heads(b, k, head_dim, k_norm, eps, table, at);
}

/// Causal attention over windows of `length` tokens, one below the other: see causal_attention.
inline void attention(cpu const& b, cpu::const_view q, cpu::const_view k, cpu::const_view v,
                      attention_shape const& shape, std::size_t length, cpu::view out) {
    for (std::size_t i = 0; i < q.rows; i += length) {
        causal_attention(q.rows_at(i, length), k.rows_at(i, length), v.rows_at(i, length),
                         out.rows_at(i, length), shape, b.threads);
    }
}

/// Stores k and v of one token of every sequence at `position`, then attends its query to
/// everything stored: q and out (sequences, heads * head_dim), k and v (sequences, kv size).
inline void cached_attention(cpu const& b, cpu::const_view q, cpu::const_view k, cpu::const_view v,
                             attention_shape const& shape, std::size_t position, cpu::cache& cache,
                             cpu::view out) {
    std::size_t const group = shape.heads / shape.kv_heads;
    std::size_t const width = shape.kv_heads * shape.head_dim;
    for (std::size_t r = 0; r < q.rows; ++r) {
        std::size_t const at = (r * cache.length + position) * width;
        std::copy_n(k.row(r), width, cache.keys.data() + at);
        std::copy_n(v.row(r), width, cache.values.data() + at);
    }
    float const scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
    parallel_for(q.rows * shape.heads, 4, b.threads, [&](std::size_t first, std::size_t last) {
        std::vector<float> scores(position + 1);
        for (std::size_t item = first; item < last; ++item) {
            std::size_t const row = item / shape.heads;
            std::size_t const head = item % shape.heads;
            std::size_t const offset = row * cache.length * width + head / group * shape.head_dim;
            float const* const query = q.row(row) + head * shape.head_dim;
            for (std::size_t t = 0; t <= position; ++t) {
                float const* const key = cache.keys.data() + offset + t * width;
                float sum = 0;
                for (std::size_t i = 0; i < shape.head_dim; ++i) {
                    sum += query[i] * key[i];
                }
                scores[t] = sum;
            }
            float const total = detail::exp_and_sum(scores.data(), scores.size(), scale,
                                                    detail::largest(scores.data(), scores.size()));
            float* const y = out.row(row) + head * shape.head_dim;
            std::fill_n(y, shape.head_dim, 0.0F);
            for (std::size_t t = 0; t <= position; ++t) {
                float const* const value = cache.values.data() + offset + t * width;
                float const p = scores[t] / total;
                for (std::size_t i = 0; i < shape.head_dim; ++i) {
                    y[i] += p * value[i];
                }
            }
        }
    });
}

/// gate = silu(gate) * up.
inline void silu_mul(cpu const& b, cpu::view gate, cpu::const_view up) {
    detail::for_each_row(b, gate.rows, [&](std::size_t i) {
        detail::silu_multiply(gate.row(i), up.row(i), gate.cols);
    });
}

/// y += x.
inline void add(cpu const& b, cpu::view y, cpu::const_view x) {
    detail::for_each_row(b, y.rows,
                         [&](std::size_t i) { detail::add_in_place(y.row(i), x.row(i), y.cols); });
}

/// hidden += x, then y = norm(hidden).
inline void add_rms_norm(cpu const& b, cpu::view hidden, cpu::const_view x,
                         cpu::vector const& weight, float eps, cpu::view y) {
    add(b, hidden, x);
    rms_norm(b, hidden, weight, eps, y);
}

/// out (tokens, vocab) = x (tokens, hidden) table^T, the table widened a tile at a time.
inline void logits(cpu const& b, cpu::const_view x, cpu::table const& table, cpu::view out) {
    std::size_t const vocab = table.rows();
    std::size_t const tiles = (vocab + detail::vocab_tile - 1) / detail::vocab_tile;
    parallel_for(tiles, 1, b.threads, [&](std::size_t first, std::size_t last) {
        cpu::tensor rows(detail::vocab_tile, table.cols());
        for (std::size_t tile = first; tile < last; ++tile) {
            std::size_t const begin = tile * detail::vocab_tile;
            std::size_t const count = std::min(detail::vocab_tile, vocab - begin);
            for (std::size_t i = 0; i < count; ++i) {
                table.copy_row(begin + i, rows.view().row(i));
            }
            cpu::const_view const part = rows.view().rows_at(0, count);
            detail::multiply_rows(b, x, part, out.cols_at(begin, count), 1);
        }
    });
}

}  // namespace fpq
