// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Attention of one query of each sequence to its cache. A block takes up to `Group`
// query heads of one key head; a part of it, `Lanes` lanes with eight values each, takes every
// parts-th key with a running maximum of its own, and at the end the parts are joined in their
// order. One query a head is too little for the tensor cores: the time is that of reading the
// cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

inline constexpr int cached_attention_threads = 128;

struct cached_attention_work {
    bf16 const* q;
    bf16 const* k;
    bf16 const* v;
    bf16* out;
    std::size_t q_stride;  // values from sequence to sequence
    std::size_t k_stride;  // values from token to token
    std::size_t v_stride;
    std::size_t out_stride;
    std::size_t capacity;  // tokens from sequence to sequence
    std::uint32_t length;
    std::uint32_t kv_heads;
    std::uint32_t queries_a_key;  // query heads of a key head
    std::uint32_t chunks;         // blocks that share them out
    std::uint32_t head_dim;
    float scale;  // times log2 e
};

/// One lane's part of the heads of a block: eight values of each.
template <int Lanes, int Group>
struct cached_attention_lane {
    static constexpr int width = 8;
    static constexpr int parts = cached_attention_threads / Lanes;
    static constexpr int held = Group <= 4 ? 4 : 2;  // keys whose copies are under way together

    float q[Group][width];  // times the scale
    float out[Group][width] = {};
    float top[Group];       // running maximum of a head's scores, in units of log 2
    float sum[Group] = {};  // of its probabilities, before the division
    float score[held][Group];

    __device__ cached_attention_lane(bf16 const* from, std::uint32_t head_dim, std::uint32_t given,
                                     bool active, float scale) {
        FPQ_UNROLL
        for (int g = 0; g < Group; ++g) {
            top[g] = bits_of<float>(0xFF800000u);  // -infinity
            values<bf16, width> raw = {};
            if (active && g < static_cast<int>(given)) {
                raw = values<bf16, width>::load(from + static_cast<std::uint32_t>(g) * head_dim);
            }
            raw.unpack(q[g]);
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                q[g][i] *= scale;
            }
        }
    }

    /// score[slot] = q k, in every lane of the part; -infinity where there is no such key.
    __device__ void multiply_key(int slot, values<bf16, width> const& key, bool there) {
        float x[width];
        key.unpack(x);
        FPQ_UNROLL
        for (int g = 0; g < Group; ++g) {
            float dot = 0.0F;
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                dot = fma_rn(q[g][i], x[i], dot);
            }
            FPQ_UNROLL
            for (int distance = Lanes / 2; distance > 0; distance /= 2) {
                dot += __shfl_xor_sync(0xFFFFFFFFu, dot, distance);
            }
            score[slot][g] = there ? dot : bits_of<float>(0xFF800000u);
        }
    }

    /// Scores become probabilities before the division; what was summed is brought to the new
    /// maximum.
    __device__ void softmax() {
        FPQ_UNROLL
        for (int g = 0; g < Group; ++g) {
            float most = top[g];
            FPQ_UNROLL
            for (int u = 0; u < held; ++u) {
                most = fmaxf(most, score[u][g]);
            }
            // A part that has seen no key yet: any finite maximum makes its terms 0.
            float const shift = most == bits_of<float>(0xFF800000u) ? 0.0F : most;
            float const shrink = ptx::exp2_approximate(top[g] - shift);
            top[g] = most;
            float terms = 0.0F;
            FPQ_UNROLL
            for (int u = 0; u < held; ++u) {
                score[u][g] = ptx::exp2_approximate(score[u][g] - shift);
                terms += score[u][g];
            }
            sum[g] = fma_rn(sum[g], shrink, terms);
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                out[g][i] *= shrink;
            }
        }
    }

    /// out += probability value.
    __device__ void multiply_value(int slot, values<bf16, width> const& value) {
        float x[width];
        value.unpack(x);
        FPQ_UNROLL
        for (int g = 0; g < Group; ++g) {
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                out[g][i] = fma_rn(score[slot][g], x[i], out[g][i]);
            }
        }
    }
};

/// What the parts of a block leave for their joining.
template <int Lanes, int Group>
struct cached_attention_parts {
    using state = cached_attention_lane<Lanes, Group>;
    float tops[state::parts][Group];
    float sums[state::parts][Group];
    alignas(16) float outs[state::parts][Group][Lanes * state::width];
};

/// Takes tokens [begin, end) into a lane: row(token) is where a token's keys and values lie, from
/// this lane's own columns of row 0.
template <int Lanes, int Group, class Row>
__device__ __forceinline__ void walk_keys(cached_attention_lane<Lanes, Group>& lane,
                                          bf16 const* keys, std::size_t k_stride,
                                          bf16 const* heads_values, std::size_t v_stride,
                                          std::uint32_t begin, std::uint32_t end, bool active,
                                          Row const& row) {
    using state = cached_attention_lane<Lanes, Group>;
    constexpr int width = state::width;
    constexpr int parts = state::parts;
    constexpr int held = state::held;
    std::uint32_t const part = threadIdx.x / Lanes;
    for (; begin < end; begin += parts * held) {
        values<bf16, width> k[held] = {};
        values<bf16, width> v[held] = {};
        FPQ_UNROLL
        for (int u = 0; u < held; ++u) {
            std::uint32_t const token = begin + part + static_cast<std::uint32_t>(u * parts);
            if (active && token < end) {
                auto const at = row(token);
                k[u] = values<bf16, width>::load(keys + at * k_stride);
                v[u] = values<bf16, width>::load(heads_values + at * v_stride);
            }
        }
        FPQ_UNROLL
        for (int u = 0; u < held; ++u) {
            std::uint32_t const token = begin + part + static_cast<std::uint32_t>(u * parts);
            lane.multiply_key(u, k[u], token < end);
        }
        lane.softmax();
        FPQ_UNROLL
        for (int u = 0; u < held; ++u) {
            lane.multiply_value(u, v[u]);
        }
    }
}

/// Joins the parts of a block in their order: store(head, column, maximum, sum of probabilities,
/// eight sums of values) for every eight columns of the `given` heads, each from one thread. Every
/// thread of the block calls it.
template <int Lanes, int Group, class Store>
__device__ __forceinline__ void join_parts(cached_attention_lane<Lanes, Group> const& lane,
                                           cached_attention_parts<Lanes, Group>& shared,
                                           std::uint32_t given, std::uint32_t head_dim,
                                           Store const& store) {
    using state = cached_attention_lane<Lanes, Group>;
    constexpr int width = state::width;
    constexpr int parts = state::parts;
    std::uint32_t const part = threadIdx.x / Lanes;
    std::uint32_t const at = threadIdx.x % Lanes * width;
    FPQ_UNROLL
    for (int g = 0; g < Group; ++g) {
        if (at == 0) {
            shared.tops[part][g] = lane.top[g];
            shared.sums[part][g] = lane.sum[g];
        }
        values<float, width>::store(&shared.outs[part][g][at], lane.out[g]);
    }
    __syncthreads();
    std::uint32_t const pieces = head_dim / width;
    for (std::uint32_t item = threadIdx.x; item < given * pieces;
         item += cached_attention_threads) {
        std::uint32_t const g = item / pieces;
        std::uint32_t const from = item % pieces * width;
        float most = shared.tops[0][g];
        for (int p = 1; p < parts; ++p) {
            most = fmaxf(most, shared.tops[p][g]);
        }
        float total = 0.0F;
        float x[width] = {};
        for (int p = 0; p < parts; ++p) {
            float const weight = ptx::exp2_approximate(shared.tops[p][g] - most);
            total = fma_rn(shared.sums[p][g], weight, total);
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                x[i] =
                    fma_rn(shared.outs[p][g][from + static_cast<std::uint32_t>(i)], weight, x[i]);
            }
        }
        store(g, from, most, total, x);
    }
}

/// x / total as eight bf16.
__device__ __forceinline__ void store_quotients(bf16* to, float total, float (&x)[8]) {
    float const inverse = div_rn(1.0F, total);
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        x[i] = mul_rn(x[i], inverse);
    }
    values<bf16, 8>::store(to, x);
}

template <int Lanes, int Group>
__global__ void __launch_bounds__(cached_attention_threads)
    cached_attention_kernel(cached_attention_work const work) {
    using state = cached_attention_lane<Lanes, Group>;
    __shared__ cached_attention_parts<Lanes, Group> shared;

    std::uint32_t const pair = blockIdx.x / work.chunks;
    std::uint32_t const kv_head = pair % work.kv_heads;
    std::uint32_t const sequence = pair / work.kv_heads;
    std::uint32_t const among = blockIdx.x % work.chunks * Group;
    std::uint32_t const given = min(work.queries_a_key - among, std::uint32_t{Group});
    std::size_t const column = std::size_t{kv_head * work.queries_a_key + among} * work.head_dim;
    std::uint32_t const at = threadIdx.x % Lanes * state::width;
    // Idle lanes go on: they take part in the shuffles.
    bool const active = at < work.head_dim;

    state lane(work.q + sequence * work.q_stride + column + at, work.head_dim, given, active,
               work.scale);
    std::size_t const first = sequence * work.capacity;
    std::size_t const kv_column = std::size_t{kv_head} * work.head_dim + at;
    walk_keys(lane, work.k + first * work.k_stride + kv_column, work.k_stride,
              work.v + first * work.v_stride + kv_column, work.v_stride, 0, work.length, active,
              [](std::uint32_t token) { return token; });
    bf16* const out = work.out + sequence * work.out_stride + column;
    join_parts(lane, shared, given, work.head_dim,
               [&](std::uint32_t g, std::uint32_t from, float, float total, float(&x)[8]) {
                   store_quotients(out + std::size_t{g} * work.head_dim + from, total, x);
               });
}

}  // namespace fpq::cuda
