// SPDX-License-Identifier: Apache-2.0
// Causal attention of one window with grouped key/value heads, in float32.
//
// Floor 6. Queries are taken in tiles; the scores of a tile against all keys up to its last
// query are held whole, so softmax is exact and needs no rescaling, and memory is one tile of
// scores per thread. Products are those of linalg/matmul.hpp. No sliding window, no cache
// (forward.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

namespace detail {

/// Queries whose scores are held at once.
inline constexpr std::size_t attention_tile = 64;

/// One head, queries [begin, begin + count); `scores` has room for count * (begin + count).
inline void attend_tile(matrix_view<const float> q, matrix_view<const float> k,
                        matrix_view<const float> v, std::size_t begin, std::size_t count,
                        matrix_view<float> out, float* scores) {
    const std::size_t keys = begin + count;
    const matrix_view<float> s = as_view(scores, count, keys);
    const matrix_view<float> y = out.rows_at(begin, count);
    const float scale = 1.0F / std::sqrt(static_cast<float>(q.cols));
    matmul_nt(q.rows_at(begin, count), k.rows_at(0, keys), s, 1);
    float sums[attention_tile];
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t visible = begin + i + 1;
        float* const row = s.row(i);
        sums[i] = exp_and_sum(row, visible, scale, largest(row, visible));
        std::fill(row + visible, row + keys, 0.0F);
    }
    matmul_nn(s, v.rows_at(0, keys), y, 1);
    for (std::size_t i = 0; i < count; ++i) {
        const float inverse = 1.0F / sums[i];
        for (std::size_t j = 0; j < y.cols; ++j) {
            y(i, j) *= inverse;
        }
    }
}

}  // namespace detail

/// out = softmax(q k^T / sqrt(head_dim), causal) v for one window; token i sees tokens 0..i.
/// q, out: (tokens, heads * head_dim); k, v: (tokens, kv_heads * head_dim), already rotated; query
/// head h reads key/value head h / (heads / kv_heads). Results do not depend on `threads`.
inline void causal_attention(matrix_view<const float> q, matrix_view<const float> k,
                             matrix_view<const float> v, matrix_view<float> out,
                             const attention_shape& shape, int threads) {
    const std::size_t tokens = q.rows;
    const std::size_t tiles = (tokens + detail::attention_tile - 1) / detail::attention_tile;
    const std::size_t items = tiles * shape.heads;
    const std::size_t queries_per_kv = shape.heads / shape.kv_heads;
    // Items alternate between the cheapest and the dearest tiles left, so that chunks weigh alike.
    const std::size_t chunk = std::max<std::size_t>(1, items / 16);
    parallel_for(items, chunk, threads, [&](std::size_t first, std::size_t last) {
        cpu::tensor scores(detail::attention_tile, tokens);
        for (std::size_t item = first; item < last; ++item) {
            const std::size_t step = item / shape.heads;
            const std::size_t head = item % shape.heads;
            const std::size_t tile = step % 2 == 0 ? step / 2 : tiles - 1 - step / 2;
            const std::size_t begin = tile * detail::attention_tile;
            const std::size_t count = std::min(detail::attention_tile, tokens - begin);
            const std::size_t column = head * shape.head_dim;
            const std::size_t kv_column = head / queries_per_kv * shape.head_dim;
            detail::attend_tile(q.cols_at(column, shape.head_dim),
                                k.cols_at(kv_column, shape.head_dim),
                                v.cols_at(kv_column, shape.head_dim), begin, count,
                                out.cols_at(column, shape.head_dim), scores.view().data);
        }
    });
}

}  // namespace fpq
