// SPDX-License-Identifier: Apache-2.0
// Floor 2. NVFP4 and MXFP4 by minmax in one pass, AVX-512: 16 groups at a time, their maxima, their
// scale bytes, their codes. A batch that the lanes cannot do exactly goes to the plain loops.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fpq/quant/kernels/avx512_e2m1.hpp"
#include "fpq/quant/kernels/avx512_minmax.hpp"
#include "fpq/quant/kernels/avx512_prefetch.hpp"
#include "fpq/quant/kernels/plain_groups.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// plain_groups of x (Values) times factor.
template <std::size_t Values, class T>
void plain_batch(T const* x, float factor, quant_format const& format,
                 observer_options const& options, std::uint8_t* codes, std::uint8_t* scales) {
    float w[Values];
    for (std::size_t i = 0; i < Values; ++i) {
        w[i] = to_float(x[i]) * factor;
    }
    plain_groups(w, Values, format, options, codes, scales, nullptr);
}

/// Scales and codes of `batches` times 16 groups of x times table.factor, contiguous. All scales of
/// a few batches come first: their latency would stall the codes that wait for them. `source` is
/// what the values are read or made from next to x: the memory to be asked for ahead of time.
template <std::size_t Group, class T>
FPQ_AVX512 inline void e2m1_minmax_avx512(T const* x, std::size_t batches, e2m1_table const& table,
                                          scale_lanes const& rule, quant_format const& format,
                                          observer_options const& options, std::uint8_t* codes,
                                          std::uint8_t* scales, T const* source) {
    constexpr std::size_t values = 16 * Group;
    constexpr std::size_t ahead = 4096 / values;
    e2m1_row const* const rows = table.rows.get();
    float const* const units = table.cell_unit.get();
    for (std::size_t first = 0; first < batches; first += ahead) {
        std::size_t const count = batches - first < ahead ? batches - first : ahead;
        __mmask16 strange[ahead];
        __mmask16 clipping[ahead];
        for (std::size_t b = 0; b < count; ++b) {
            prefetch_ahead(source + (first + b) * values, values * sizeof(T) / 2);
            __m512i const amax = _mm512_castps_si512(
                _mm512_mul_ps(_mm512_castsi512_ps(largest_of_16<Group>(x + b * values)),
                              _mm512_set1_ps(table.factor)));
            scale_lanes_512 const found =
                Group == 16 ? e4m3_lanes(amax, rule) : e8m0_lanes(amax, rule);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(scales + b * 16),
                             _mm512_cvtepi32_epi8(found.bytes));
            strange[b] = found.strange;
            clipping[b] = found.clipping;
        }
        for (std::size_t b = 0; b < count; ++b) {
            // Half of the lines here: both loops shall keep memory busy.
            prefetch_ahead(source + (first + b) * values + values / 2, values * sizeof(T) / 2);
            if (strange[b] != 0) {
                plain_batch<values>(x, table.factor, format, options, codes, scales);
            } else if (clipping[b] != 0) {
                for (std::size_t i = 0; i < values; i += 128) {
                    _mm512_storeu_si512(codes + i / 2, e2m1_encode_128<Group, true>(
                                                           x + i, scales + i / Group, rows, units));
                }
            } else {
                for (std::size_t i = 0; i < values; i += 128) {
                    _mm512_storeu_si512(codes + i / 2, e2m1_encode_128<Group, false>(
                                                           x + i, scales + i / Group, rows, units));
                }
            }
            x += values;
            codes += values / 2;
            scales += 16;
        }
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
