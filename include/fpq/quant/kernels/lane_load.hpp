// SPDX-License-Identifier: Apache-2.0
// Floor 2. Eight groups of a row into the lanes of a block: value i of group l goes to
// [i * 8 + l], times a power of two.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"

#if FPQ_X86_KERNELS
#include <immintrin.h>
#endif

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// to[i * 8 + l] = from[l * n + i] * unit[l], without its sign if magnitudes; n a multiple of 16.
inline void load_lanes_generic(float const* from, std::size_t n, float const* unit, bool magnitudes,
                               float* to) noexcept {
    std::uint32_t const kept = magnitudes ? 0x7FFFFFFFu : 0xFFFFFFFFu;
    for (std::size_t l = 0; l < lane_groups; ++l) {
        for (std::size_t i = 0; i < n; ++i) {
            float const x = from[l * n + i] * unit[l];
            to[i * lane_groups + l] = bits_of<float>(bits_of<std::uint32_t>(x) & kept);
        }
    }
}

#if FPQ_X86_KERNELS
FPQ_AVX2 inline void load_lanes_avx2(float const* from, std::size_t n, float const* unit,
                                     bool magnitudes, float* to) noexcept {
    __m256 const units = _mm256_loadu_ps(unit);
    __m256 const kept = _mm256_castsi256_ps(_mm256_set1_epi32(magnitudes ? 0x7FFFFFFF : -1));
    for (std::size_t i = 0; i < n; i += 4) {
        // Four values of eight lanes: lane l beside lane l + 4.
        __m256 row[4];
        for (std::size_t l = 0; l < 4; ++l) {
            row[l] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + l * n + i)),
                                          _mm_loadu_ps(from + (l + 4) * n + i), 1);
        }
        __m256 const a = _mm256_unpacklo_ps(row[0], row[1]);
        __m256 const b = _mm256_unpacklo_ps(row[2], row[3]);
        __m256 const c = _mm256_unpackhi_ps(row[0], row[1]);
        __m256 const d = _mm256_unpackhi_ps(row[2], row[3]);
        __m256 const value[4] = {_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE),
                                 _mm256_shuffle_ps(c, d, 0x44), _mm256_shuffle_ps(c, d, 0xEE)};
        for (std::size_t k = 0; k < 4; ++k) {
            _mm256_storeu_ps(to + (i + k) * lane_groups,
                             _mm256_and_ps(_mm256_mul_ps(value[k], units), kept));
        }
    }
}
#endif

inline void load_lanes_at([[maybe_unused]] simd_level level, float const* from, std::size_t n,
                          float const* unit, bool magnitudes, float* to) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        load_lanes_avx2(from, n, unit, magnitudes, to);
        return;
    }
#endif
    load_lanes_generic(from, n, unit, magnitudes, to);
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END
