// SPDX-License-Identifier: Apache-2.0
// Wing cuda. RMSNorm of query and key heads (where a model has it) and their rotation in one pass,
// in place; or queries in place while keys and values go to their slots of a pool. Sums and
// products in float32 in the CPU's order; rounded to bf16 once, at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/rope_map.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

inline constexpr int rope_threads = 256;

struct rope_work {
    bf16* q;
    std::size_t q_stride;
    bf16* k;
    std::size_t k_stride;
    std::uint32_t heads;
    std::uint32_t kv_heads;
    std::size_t tokens;
    std::uint32_t length;           // tokens of a window
    std::int32_t const* positions;  // (tokens), or null: token % length
    float const* cos;               // (positions, head_dim / 2)
    float const* sin;
    float const* q_norm;  // (head_dim), or null
    float const* k_norm;
    float eps;
    rope_map map;
    // Token i's keys go to row i of keys, or, where there are slots, with its values to row
    // slots[i] of theirs, if that is not negative.
    bf16* keys;
    std::size_t keys_stride;
    std::int32_t const* slots;  // (tokens), or null
    bf16 const* v;
    std::size_t v_stride;
    bf16* heads_values;
    std::size_t values_stride;
};

/// One lane's part of one head: rms_norm over the group's lanes, then the rotation.
template <int Width, int Lanes>
__device__ void norm_and_rotate(float (&a)[Width], float (&b)[Width], float const* norm, float eps,
                                std::uint32_t half, std::uint32_t at, bool active,
                                float const (&c)[Width], float const (&s)[Width]) {
    if (norm != nullptr) {
        values<float, Width> raw[2] = {};  // under way while squares are summed
        if (active) {
            raw[0] = values<float, Width>::load(norm + at);
            raw[1] = values<float, Width>::load(norm + half + at);
        }
        float squares = 0.0F;
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            squares = fma_rn(a[i], a[i], squares);
        }
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            squares = fma_rn(b[i], b[i], squares);
        }
        FPQ_UNROLL
        for (int distance = Lanes / 2; distance > 0; distance /= 2) {
            squares += __shfl_xor_sync(0xFFFFFFFFu, squares, distance);
        }
        float const mean = div_rn(squares, static_cast<float>(2 * half));
        float const inverse = div_rn(1.0F, sqrt_rn(add_rn(mean, eps)));
        float w[2][Width];
        raw[0].unpack(w[0]);
        raw[1].unpack(w[1]);
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            a[i] = mul_rn(w[0][i], mul_rn(a[i], inverse));
            b[i] = mul_rn(w[1][i], mul_rn(b[i], inverse));
        }
    }
    FPQ_UNROLL
    for (int i = 0; i < Width; ++i) {
        float const x = a[i];
        float const y = b[i];
        a[i] = add_rn(mul_rn(x, c[i]), -mul_rn(y, s[i]));
        b[i] = add_rn(mul_rn(y, c[i]), mul_rn(x, s[i]));
    }
}

template <int Width, int Lanes, int Held>
__global__ void __launch_bounds__(rope_threads) rope_kernel(rope_work const work) {
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();
    constexpr int held = Held;
    constexpr unsigned groups = rope_threads / Lanes;
    std::size_t const group = std::size_t{blockIdx.x} * groups + threadIdx.x / Lanes;
    std::size_t const token = work.map.token(group);
    std::uint32_t const head = work.map.head(group);
    std::uint32_t const half = work.map.half;
    std::uint32_t const at = threadIdx.x % Lanes * Width;
    // Idle lanes go on: they take part in the shuffles.
    bool const active = token < work.tokens && at < half;
    std::uint32_t const turned = work.heads + work.kv_heads;
    std::uint32_t const all = turned + (work.slots != nullptr ? work.kv_heads : 0);

    std::int32_t const slot = active && work.slots != nullptr ? work.slots[token] : 0;

    // Heads in order: those of queries, of keys, and, where they are stored, of values.
    auto const from = [&](std::uint32_t h) -> bf16 const* {
        if (h < work.heads) {
            return work.q + token * work.q_stride + std::size_t{h} * 2 * half + at;
        }
        return h < turned
                   ? work.k + token * work.k_stride + std::size_t{h - work.heads} * 2 * half + at
                   : work.v + token * work.v_stride + std::size_t{h - turned} * 2 * half + at;
    };
    auto const to = [&](std::uint32_t h) -> bf16* {
        if (h < work.heads) {
            return work.q + token * work.q_stride + std::size_t{h} * 2 * half + at;
        }
        std::size_t const row = work.slots != nullptr ? static_cast<std::size_t>(slot) : token;
        return h < turned ? work.keys + row * work.keys_stride +
                                std::size_t{h - work.heads} * 2 * half + at
                          : work.heads_values + row * work.values_stride +
                                std::size_t{h - turned} * 2 * half + at;
    };
    values<bf16, Width> first[held] = {};
    values<bf16, Width> second[held] = {};
    float c[Width] = {};
    float s[Width] = {};
    if (active) {
        FPQ_UNROLL
        for (int i = 0; i < held; ++i) {
            if (head + i < all) {
                first[i] = values<bf16, Width>::load(from(head + i));
                second[i] = values<bf16, Width>::load(from(head + i) + half);
            }
        }
        std::size_t const position = work.positions != nullptr
                                         ? static_cast<std::size_t>(work.positions[token])
                                         : token % work.length;
        values<float, Width>::load(work.cos + position * half + at).unpack(c);
        values<float, Width>::load(work.sin + position * half + at).unpack(s);
    }
    FPQ_UNROLL
    for (int i = 0; i < held; ++i) {
        std::uint32_t const h = head + i;
        float a[Width];
        float b[Width];
        first[i].unpack(a);
        second[i].unpack(b);
        norm_and_rotate<Width, Lanes>(a, b, h < work.heads ? work.q_norm : work.k_norm, work.eps,
                                      half, at, active, c, s);
        if (!active || h >= all || (h >= work.heads && slot < 0)) {
            continue;
        }
        if (h < turned) {
            values<bf16, Width>::store(to(h), a);
            values<bf16, Width>::store(to(h) + half, b);
        } else {
            *reinterpret_cast<values<bf16, Width>*>(to(h)) = first[i];
            *reinterpret_cast<values<bf16, Width>*>(to(h) + half) = second[i];
        }
    }
}

}  // namespace fpq::cuda
