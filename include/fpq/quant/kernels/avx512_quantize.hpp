// SPDX-License-Identifier: Apache-2.0
// Floor 2. NVFP4 and MXFP4 by minmax in one pass, AVX-512: 16 groups at a time, their maxima, their
// scale bytes, their codes. A batch that the lanes cannot do exactly goes to the plain loops.
#pragma once

#include "fpq/quant/kernels/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fpq/quant/kernels/avx512_e2m1.hpp"
#include "fpq/quant/kernels/avx512_minmax.hpp"
#include "fpq/quant/kernels/plain_groups.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Asks for the lines of so many bytes, 16 KiB further on: the processor's own prefetcher stops at
/// every page. Addresses past the end are harmless.
FPQ_AVX512 [[gnu::always_inline]] inline void prefetch_ahead(void const* x,
                                                             std::size_t bytes) noexcept {
    auto const address = reinterpret_cast<std::uintptr_t>(x) + 16384;
    for (std::size_t line = 0; line < bytes; line += 64) {
        // Not pointer arithmetic: that may not leave the array.
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        _mm_prefetch(reinterpret_cast<char const*>(address + line), _MM_HINT_T0);
    }
}

/// Scales and codes of `batches` times 16 groups of x, contiguous. All scales of a few batches come
/// first: their latency would stall the codes that wait for them.
template <std::size_t Group, class T>
FPQ_AVX512 inline void e2m1_minmax_avx512(T const* x, std::size_t batches, e2m1_table const& table,
                                          scale_lanes const& rule, quant_format const& format,
                                          observer_options const& options, std::uint8_t* codes,
                                          std::uint8_t* scales) {
    constexpr std::size_t values = 16 * Group;
    constexpr std::size_t ahead = 4096 / values;
    e2m1_row const* const rows = table.rows.data();
    float const* const units = table.cell_unit.data();
    for (std::size_t first = 0; first < batches; first += ahead) {
        std::size_t const count = batches - first < ahead ? batches - first : ahead;
        __mmask16 strange[ahead];
        __mmask16 clipping[ahead];
        for (std::size_t b = 0; b < count; ++b) {
            prefetch_ahead(x + b * values, values * sizeof(T));
            __m512i const amax = largest_of_16<Group>(x + b * values);
            scale_lanes_512 const found =
                Group == 16 ? e4m3_lanes(amax, rule) : e8m0_lanes(amax, rule);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(scales + b * 16),
                             _mm512_cvtepi32_epi8(found.bytes));
            strange[b] = found.strange;
            clipping[b] = found.clipping;
        }
        for (std::size_t b = 0; b < count; ++b) {
            __m512i seen = _mm512_setzero_si512();
            if (strange[b] != 0) {
                plain_groups(x, values, format, options, codes, scales, nullptr);
            } else if (clipping[b] != 0) {
                for (std::size_t i = 0; i < values; i += 128) {
                    _mm512_storeu_si512(
                        codes + i / 2,
                        e2m1_encode_128<Group, true>(x + i, scales + i / Group, rows, units, seen));
                }
            } else {
                for (std::size_t i = 0; i < values; i += 128) {
                    _mm512_storeu_si512(codes + i / 2,
                                        e2m1_encode_128<Group, false>(x + i, scales + i / Group,
                                                                      rows, units, seen));
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
