// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Neighbouring values of a bf16 or float32 row in one access: eight (16 or 32 bytes,
// aligned to 16), or one where rows have no such alignment. In registers they are float32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/ptx/half_words.cuh"

namespace fpq::cuda {

/// Width neighbours of a row of T, as they lie in memory.
template <class T, int Width>
struct values;

template <>
struct values<bf16, 8> {
    uint4 words;

    __device__ static values load(bf16 const* from) {
        return {*reinterpret_cast<uint4 const*>(from)};
    }
    __device__ void unpack(float (&x)[8]) const {
        std::uint32_t const w[4] = {words.x, words.y, words.z, words.w};
        FPQ_UNROLL
        for (int i = 0; i < 4; ++i) {
            x[2 * i] = half_words<bf16>::low(w[i]);
            x[2 * i + 1] = half_words<bf16>::high(w[i]);
        }
    }
    __device__ static void store(bf16* to, float const (&x)[8]) {
        using words_of = half_words<bf16>;
        *reinterpret_cast<uint4*>(to) =
            make_uint4(words_of::pack(x[0], x[1]), words_of::pack(x[2], x[3]),
                       words_of::pack(x[4], x[5]), words_of::pack(x[6], x[7]));
    }
};

template <>
struct values<float, 8> {
    float4 low;
    float4 high;

    __device__ static values load(float const* from) {
        auto const* const p = reinterpret_cast<float4 const*>(from);
        return {p[0], p[1]};
    }
    __device__ void unpack(float (&x)[8]) const {
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
    }
    __device__ static void store(float* to, float const (&x)[8]) {
        auto* const p = reinterpret_cast<float4*>(to);
        p[0] = make_float4(x[0], x[1], x[2], x[3]);
        p[1] = make_float4(x[4], x[5], x[6], x[7]);
    }
};

template <>
struct values<bf16, 4> {
    uint2 words;

    __device__ static values load(bf16 const* from) {
        return {*reinterpret_cast<uint2 const*>(from)};
    }
    __device__ void unpack(float (&x)[4]) const {
        x[0] = half_words<bf16>::low(words.x), x[1] = half_words<bf16>::high(words.x);
        x[2] = half_words<bf16>::low(words.y), x[3] = half_words<bf16>::high(words.y);
    }
    __device__ static void store(bf16* to, float const (&x)[4]) {
        *reinterpret_cast<uint2*>(to) =
            make_uint2(half_words<bf16>::pack(x[0], x[1]), half_words<bf16>::pack(x[2], x[3]));
    }
};

template <>
struct values<float, 4> {
    float4 all;

    __device__ static values load(float const* from) {
        return {*reinterpret_cast<float4 const*>(from)};
    }
    __device__ void unpack(float (&x)[4]) const {
        x[0] = all.x, x[1] = all.y, x[2] = all.z, x[3] = all.w;
    }
};

template <>
struct values<bf16, 1> {
    bf16 one;

    __device__ static values load(bf16 const* from) { return {*from}; }
    __device__ void unpack(float (&x)[1]) const { x[0] = to_float(one); }
    __device__ static void store(bf16* to, float const (&x)[1]) { *to = to_bf16(x[0]); }
};

template <>
struct values<float, 1> {
    float one;

    __device__ static values load(float const* from) { return {*from}; }
    __device__ void unpack(float (&x)[1]) const { x[0] = one; }
    __device__ static void store(float* to, float const (&x)[1]) { *to = x[0]; }
};

/// x as T holds it.
template <class T>
__device__ float rounded(float x) {
    if constexpr (sizeof(T) == 2) {
        return half_words<bf16>::low(half_words<bf16>::pack(x, 0.0F));
    } else {
        return x;
    }
}

}  // namespace fpq::cuda
