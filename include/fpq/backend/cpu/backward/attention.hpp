// SPDX-License-Identifier: Apache-2.0
// Floor 6. The backward verb of causal attention on the CPU. Probabilities are made again, a tile
// of queries against all keys before them, as attention.hpp makes them; nothing of size tokens^2 is
// held. Heads that share keys are one after another on one thread, so their sums have one order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cpu/attention.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

namespace detail {

/// One head of one window: all (tokens, head_dim).
struct attention_head {
    cpu::const_view q, k, v, dout;
    cpu::view dq, dk, dv;
};

/// c (a.cols, b.cols) += a^T b.
inline void add_product_tn(cpu::const_view a, cpu::const_view b, cpu::view c) {
    product(product_shape::tn, a.cols, b.cols, a.rows, 1.0F, a.data, a.stride, b.data, b.stride,
            c.data, c.stride, true);
}

/// Queries [begin, begin + count): dq of them, and their part of dk and dv. With s = q k^T scale
/// and p = softmax(s): dv += p^T dout; ds = p (dp - sum of p dp along the keys), dp = dout v^T;
/// dq = ds k scale; dk += ds^T q scale. `p_room` and `d_room` hold count * (begin + count) values.
inline void attend_tile_backward(attention_head const& h, std::size_t begin, std::size_t count,
                                 float* p_room, float* d_room) {
    std::size_t const keys = begin + count;
    cpu::view const p = as_view(p_room, count, keys);
    cpu::view const d = as_view(d_room, count, keys);
    cpu::const_view const q = h.q.rows_at(begin, count);
    cpu::const_view const dout = h.dout.rows_at(begin, count);
    float const scale = 1.0F / std::sqrt(static_cast<float>(q.cols));
    matmul_nt(q, h.k.rows_at(0, keys), p, 1);
    matmul_nt(dout, h.v.rows_at(0, keys), d, 1);
    for (std::size_t i = 0; i < count; ++i) {
        std::size_t const visible = begin + i + 1;
        float* const pi = p.row(i);
        float* const di = d.row(i);
        float const inverse = 1.0F / exp_and_sum(pi, visible, scale, largest(pi, visible));
        float const mean = dot(pi, di, visible) * inverse;
        for (std::size_t j = 0; j < visible; ++j) {
            pi[j] *= inverse;
            di[j] = scale * pi[j] * (di[j] - mean);
        }
        std::fill(pi + visible, pi + keys, 0.0F);
        std::fill(di + visible, di + keys, 0.0F);
    }
    matmul_nn(d, h.k.rows_at(0, keys), h.dq.rows_at(begin, count), 1);
    add_product_tn(d, q, h.dk.rows_at(0, keys));
    add_product_tn(p, dout, h.dv.rows_at(0, keys));
}

}  // namespace detail

/// dq, dk and dv = gradients of `attention` over windows of `length` tokens at q, k and v, as it
/// was given them (rotated), from dout at its output. Shapes as there; dq and dout (tokens, heads *
/// head_dim), dk and dv (tokens, kv_heads * head_dim); none overlaps another. Memory: two tiles of
/// scores a thread.
inline void attention_backward(cpu const& b, cpu::const_view q, cpu::const_view k,
                               cpu::const_view v, cpu::const_view dout,
                               attention_shape const& shape, std::size_t length, cpu::view dq,
                               cpu::view dk, cpu::view dv) {
    std::size_t const group = shape.heads / shape.kv_heads;
    std::size_t const width = shape.head_dim;
    std::size_t const items = q.rows / length * shape.kv_heads;
    parallel_for(items, 1, b.threads, [&](std::size_t first, std::size_t last) {
        cpu::tensor p(detail::attention_tile, length);
        cpu::tensor d(detail::attention_tile, length);
        for (std::size_t item = first; item < last; ++item) {
            std::size_t const row = item / shape.kv_heads * length;
            std::size_t const kv = item % shape.kv_heads;
            auto const of = [&](auto const& x, std::size_t head) {
                return x.rows_at(row, length).cols_at(head * width, width);
            };
            for (cpu::view const& sum : {of(dk, kv), of(dv, kv)}) {
                for (std::size_t t = 0; t < length; ++t) {
                    std::fill_n(sum.row(t), width, 0.0F);
                }
            }
            for (std::size_t head = kv * group; head < (kv + 1) * group; ++head) {
                detail::attention_head const one{of(q, head),    of(k, kv),    of(v, kv),
                                                 of(dout, head), of(dq, head), of(dk, kv),
                                                 of(dv, kv)};
                for (std::size_t t = 0; t < length; t += detail::attention_tile) {
                    detail::attend_tile_backward(one, t,
                                                 std::min(detail::attention_tile, length - t),
                                                 p.view().data, d.view().data);
                }
            }
        }
    });
}

}  // namespace fpq
