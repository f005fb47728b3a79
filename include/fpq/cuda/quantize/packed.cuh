// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The fast quantizer of bf16 and fp16 matrices without rotation, for the rules that need
// only the group's maximum. A thread owns 16 values: one NVFP4 group, or half an MX group whose
// other half is its neighbour's. Two 16-byte loads, packed maxima, one reciprocal a group, about
// ten instructions a value, one 8-byte store (16 for MXFP8).
//
// Non-finite values and maxima or global scales near the ends of float32 take a careful way round
// by division, a whole warp at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/cuda/quantize/e2m1_codes.cuh"
#include "fpq/cuda/quantize/work.cuh"

namespace fpq::cuda {

inline constexpr unsigned quantize_threads = 256;

/// 16 values of 16 bits.
struct half_segment {
    std::uint32_t word[8];

    __device__ void load(void const* from) {
        auto const* const p = static_cast<uint4 const*>(from);
        uint4 const a = __ldg(p);
        uint4 const b = __ldg(p + 1);
        word[0] = a.x, word[1] = a.y, word[2] = a.z, word[3] = a.w;
        word[4] = b.x, word[5] = b.y, word[6] = b.z, word[7] = b.w;
    }
    __device__ void clear() {
        FPQ_UNROLL
        for (std::uint32_t& w : word) {
            w = 0;
        }
    }
    /// Largest magnitude; NaN if one is there.
    template <class Half>
    __device__ float maximum() const {
        using op = half_words<Half>;
        std::uint32_t m[4];
        FPQ_UNROLL
        for (int i = 0; i < 4; ++i) {
            m[i] = op::max_magnitude(word[i], word[i + 4]);
        }
        std::uint32_t all =
            op::max_magnitude(op::max_magnitude(m[0], m[1]), op::max_magnitude(m[2], m[3]));
        all = op::max_magnitude(all, permute_bytes(all, all, 0x1032u));
        return fabsf(op::low(all));
    }
};

/// Eight E2M1 codes of words first .. first + 3.
template <class Half>
__device__ std::uint32_t e2m1_word(std::uint32_t const (&pair)[4], half_reciprocal r) {
    using op = half_words<Half>;
    std::uint32_t pattern[8];
    FPQ_UNROLL
    for (int i = 0; i < 4; ++i) {
        pattern[2 * i] = e2m1_pattern(half_quotient(op::low(pair[i]), r));
        pattern[2 * i + 1] = e2m1_pattern(half_quotient(op::high(pair[i]), r));
    }
    return with_signs_of_pairs(pack_e2m1_patterns(pattern), pair);
}

/// Four E4M3 codes of two words. Signs come from the words: a sum of two products of -0 may be +0.
template <class Half>
__device__ std::uint32_t e4m3_word(std::uint32_t first, std::uint32_t second, half_reciprocal r) {
    using op = half_words<Half>;
    half_reciprocal const whole{2.0F * r.hi, 2.0F * r.lo};
    std::uint32_t const codes =
        e4m3_pair(half_quotient(op::low(first), whole), half_quotient(op::high(first), whole)) |
        (e4m3_pair(half_quotient(op::low(second), whole), half_quotient(op::high(second), whole))
         << 16);
    std::uint32_t const signs = permute_bytes(first, second, 0x7531u);
    return (codes & 0x7F7F7F7Fu) | (signs & 0x80808080u);
}

/// The codes of a segment.
template <class Half, class Block>
__device__ void encode_segment(half_segment const& x, half_reciprocal r, std::uint32_t (&out)[4]) {
    std::uint32_t const(&w)[8] = x.word;
    if constexpr (Block::element::bits == 8) {
        FPQ_UNROLL
        for (int i = 0; i < 4; ++i) {
            out[i] = e4m3_word<Half>(w[2 * i], w[2 * i + 1], r);
        }
    } else {
        out[0] = e2m1_word<Half>({w[0], w[1], w[2], w[3]}, r);
        out[1] = e2m1_word<Half>({w[4], w[5], w[6], w[7]}, r);
    }
}

/// The careful way: scale byte and codes of a segment by division. All lanes of a warp enter.
template <class Half, class Block>
__device__ std::uint32_t quantize_carefully(half_segment const& x, quantize_work const& work,
                                            float global, std::uint32_t (&out)[4]) {
    group_rule const rule{Block::format, work.method, global, false, {}};
    float v[16];
    float a = 0.0F;
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        v[2 * i] = to_float(Half{static_cast<std::uint16_t>(x.word[i])});
        v[2 * i + 1] = to_float(Half{static_cast<std::uint16_t>(x.word[i] >> 16)});
        a = fmaxf(a, fmaxf(fabsf(v[2 * i]), fabsf(v[2 * i + 1])));
    }
    if constexpr (!Block::has_global_scale) {
        a = fmaxf(a, __shfl_xor_sync(0xFFFFFFFFu, a, 1));
    }
    std::uint8_t const byte =
        Block::has_global_scale
            ? nv_byte_of_maximum(work.method, a, global)
            : mx_byte(mx_constants(work.method, Block::element::bits == 8, global), a);
    float const s = step_of(Block::scale, byte, global);
    constexpr int bits = Block::element::bits;
    std::uint32_t codes[4] = {};
#pragma unroll 1
    for (int i = 0; i < 16; ++i) {
        codes[i * bits / 32] |= std::uint32_t{code_of(rule, v[i], s, 0)} << (i * bits % 32);
    }
    FPQ_UNROLL
    for (int i = 0; i < 4; ++i) {
        out[i] = codes[i];
    }
    return byte;
}

/// Turns segments a thread at a time, the grid walking the matrix; see the head of the file.
template <class Half, class Block, bool Swizzled, int Turns>
__global__ void __launch_bounds__(quantize_threads) quantize_packed(quantize_work const work) {
    constexpr unsigned wide = Block::has_global_scale ? 0u : 1u;
    __shared__ half_reciprocal table[plain_rule<Block>::table_entries];
    plain_rule<Block> const rule(work, work.method, table);
    std::uint32_t const units = work.map.units;
    std::uint32_t const step = gridDim.x * (quantize_threads * Turns);
    for (std::uint32_t base = blockIdx.x * (quantize_threads * Turns); base < units; base += step) {
        half_segment x[Turns];
        segment_place place[Turns];
        bool inside[Turns];
        FPQ_UNROLL
        for (int k = 0; k < Turns; ++k) {
            std::uint32_t const unit = base + k * quantize_threads + threadIdx.x;
            place[k] = work.map.template place<Swizzled>(unit);
            inside[k] = unit < units;
            if constexpr (Swizzled) {
                inside[k] =
                    inside[k] && place[k].row < work.map.rows && place[k].seg < work.map.segs;
            }
            x[k].clear();
            if (inside[k]) {
                x[k].load(static_cast<std::uint16_t const*>(work.x) + place[k].row * work.stride +
                          place[k].seg * segment);
            }
        }
        FPQ_UNROLL
        for (int k = 0; k < Turns; ++k) {
            float a = x[k].template maximum<Half>();
            if constexpr (wide != 0) {
                float const other = __shfl_xor_sync(0xFFFFFFFFu, a, 1);
                a = other > a || other != other ? other : a;
            }
            std::uint32_t byte;
            std::uint32_t out[4];
            if (__any_sync(0xFFFFFFFFu, !(rule.plain_global && is_plain_maximum(a)))) {
                byte = quantize_carefully<Half, Block>(x[k], work, rule.global, out);
            } else {
                byte = rule.byte_of(a);
                encode_segment<Half, Block>(x[k], rule.steps(byte), out);
            }
            std::uint32_t const unit = base + k * quantize_threads + threadIdx.x;
            if (inside[k]) {
                std::size_t const at =
                    Swizzled ? place[k].row * static_cast<std::size_t>(work.map.segs) + place[k].seg
                             : std::size_t{unit};
                if constexpr (Block::element::bits == 8) {
                    reinterpret_cast<uint4*>(work.codes)[at] = {out[0], out[1], out[2], out[3]};
                } else {
                    reinterpret_cast<uint2*>(work.codes)[at] = {out[0], out[1]};
                }
            }
            bool const owner = (threadIdx.x & wide) == 0;
            if (owner && (Swizzled ? unit < units : inside[k])) {
                work.scales[place[k].scale] = static_cast<std::uint8_t>(inside[k] ? byte : 0u);
            }
        }
    }
}

}  // namespace fpq::cuda
