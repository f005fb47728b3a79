// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The fast quantizer with a fused block Hadamard rotation, for bf16 and fp16 matrices
// and the rules that need only the group's maximum, or QuTLASS's quest. The rotation leaves each
// lane with 16 neighbouring values in float32; from there on it is quantize_packed.cuh.
#pragma once

#include <cstdint>

#include "fpq/cuda/quantize/rotate_rows.cuh"

namespace fpq::cuda {

/// 8 codes of FP4 from values times `half`.
__device__ inline std::uint32_t e2m1_word_of_floats(float const* v, float half) {
    std::uint32_t pattern[8];
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        pattern[i] = e2m1_pattern(v[i] * half);
    }
    return with_signs_of_floats(pack_e2m1_patterns(pattern), v);
}

/// 1 / stored, 0 for a stored 0; without the slow way of IEEE division.
template <class Block>
__device__ float inverse_of_stored(std::uint32_t byte) {
    if constexpr (Block::has_global_scale) {
        return byte == 0 ? 0.0F : __fdividef(1.0F, e4m3::decode(static_cast<std::uint8_t>(byte)));
    } else {
        return exp2_int(127 - static_cast<int>(byte));
    }
}

/// quest_scale with the card's own square root.
__device__ inline float quick_quest_scale(float mean, float mean_square) {
    float const variance = mean_square - mean * mean;
    float root;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(root) : "f"(variance));
    return (variance < 0.0F ? 1.0F : root) * quest_factor + qutlass_epsilon;
}

/// max |v|, as a tree.
__device__ inline float largest_of(float const (&v)[16]) {
    float m[8];
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        m[i] = fmaxf(fabsf(v[i]), fabsf(v[i + 8]));
    }
    return fmaxf(fmaxf(fmaxf(m[0], m[1]), fmaxf(m[2], m[3])),
                 fmaxf(fmaxf(m[4], m[5]), fmaxf(m[6], m[7])));
}

/// Scale byte and codes of 16 rotated values (unnormalised) of one lane; a lane of an MX format
/// shares its group with its neighbour. All lanes enter. `v` may change. NaN counts as 0.
template <class Block, bool Quest>
__device__ std::uint32_t quantize_rotated_segment(float (&v)[16], float norm,
                                                  plain_rule<Block> const& rule,
                                                  mx_rule_constants const& mx,
                                                  std::uint32_t (&out)[2]) {
    constexpr bool wide = !Block::has_global_scale;
    constexpr unsigned all = 0xFFFFFFFFu;
    float a = 0.0F;  // the maximum, or quest's scale
    if constexpr (Quest) {
        float sum = 0.0F;
        float squares = 0.0F;
        FPQ_UNROLL
        for (int i = 0; i < 16; ++i) {
            float const x = v[i] * norm;
            sum += x;
            squares += x * x;
        }
        if constexpr (wide) {
            sum += __shfl_xor_sync(all, sum, 1);
            squares += __shfl_xor_sync(all, squares, 1);
        }
        constexpr float per = wide ? 1.0F / 32.0F : 1.0F / 16.0F;
        a = quick_quest_scale(sum * per, squares * per);
    } else {
        a = largest_of(v);
        if constexpr (wide) {
            a = fmaxf(a, __shfl_xor_sync(all, a, 1));
        }
        a *= norm;
    }
    std::uint32_t byte;
    float r;
    if (__any_sync(all, !(rule.plain_global && is_plain_maximum(a)))) {
        // Rare: values meet the stored scale before the global one, so that nothing overflows.
        byte = wide    ? std::uint32_t{mx_byte(mx, a)}
               : Quest ? max(std::uint32_t{e4m3_byte(a * rule.global)}, 1u)
                       : rule.byte_of(a);
        float const inverse = inverse_of_stored<Block>(byte);
        FPQ_UNROLL
        for (float& x : v) {
            x = x * norm * inverse;
        }
        r = 0.5F * rule.global;
    } else {
        byte =
            Quest && !wide ? max(std::uint32_t{e4m3_byte(a * rule.global)}, 1u) : rule.byte_of(a);
        r = rule.steps(byte).hi * norm;
    }
    out[0] = e2m1_word_of_floats(v, r);
    out[1] = e2m1_word_of_floats(v + 8, r);
    return byte;
}

/// A warp a turn takes 16 block rows, a lane 16 columns (twice 16 for size 128) of two of them.
template <class Half, class Block, int Size, bool Swizzled, bool Quest>
__global__ void __launch_bounds__(rotate_threads)
    quantize_rotated(quantize_work const work, rotation_map const map) {
    constexpr std::uint32_t halves = rotation_halves<Size>;
    constexpr unsigned wide = Block::has_global_scale ? 0u : 1u;
    // Between the scale bytes of the two halves of size 128: the next scale tile, or two groups on.
    constexpr std::uint32_t half_scales = wide == 0 ? 512 : 2;
    __shared__ half_reciprocal table[plain_rule<Block>::table_entries];
    plain_rule<Block> const rule(work, work.method, table);
    mx_rule_constants const mx = mx_constants(work.method, false, rule.global);
    std::uint32_t const lane = threadIdx.x % 32;
    rotation_operand<Half, Size> operand;
    operand.prepare(lane);
    std::uint32_t const segs = work.map.segs;
    std::uint32_t const step = gridDim.x * (rotate_threads / 32);
    for (std::uint32_t warp = blockIdx.x * (rotate_threads / 32) + threadIdx.x / 32;
         warp < map.warps; warp += step) {
        rotate_rows<Half, Size> own;
        swizzled_lane lanes{};
        if constexpr (Swizzled) {
            lanes = place_lane<wide != 0, Size>(map, work.map.tiles, warp, lane);
            own.row[0] = lanes.row;
            own.row[1] = lanes.row + lanes.below;
            own.seg[0] = own.seg[1] = lanes.block * (4 * halves) + (lane & 3u);
        } else {
            own.place(map, warp, lane);
        }
        own.load(work.x, work.stride, map.rows, segs);
        FPQ_UNROLL
        for (std::uint32_t q = 0; q < 2; ++q) {
            float v[halves][16];
            own.rotate(q, operand, v);
            FPQ_UNROLL
            for (std::uint32_t h = 0; h < halves; ++h) {
                std::uint32_t out[2];
                std::uint32_t const byte = quantize_rotated_segment<Block, Quest>(
                    v[h], hadamard_norm<Size>, rule, mx, out);
                std::uint32_t const s = own.seg[q] + 4 * h;
                if (own.row[q] >= map.rows || s >= segs) {
                    continue;
                }
                std::uint32_t const at = own.row[q] * segs + s;  // below 2^31: the launcher's limit
                reinterpret_cast<uint2*>(work.codes)[at] = {out[0], out[1]};
                if ((s & wide) == 0) {
                    std::uint32_t const scale =
                        Swizzled ? lanes.scale + q * lanes.scale_below + h * half_scales
                                 : at >> wide;
                    work.scales[scale] = static_cast<std::uint8_t>(byte);
                }
            }
        }
    }
}

}  // namespace fpq::cuda
