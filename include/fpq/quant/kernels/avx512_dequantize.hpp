// SPDX-License-Identifier: Apache-2.0
// Floor 2. 4-bit codes to float32 and bf16, AVX-512: a group's 16 decoded values are made once,
// then every code is one permute away. Wider codes gather from a table of 256.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/half.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// What one row's decoding needs: (table[code] - zero) * step, group by group.
struct decode_row {
    std::uint8_t const* codes;  // packed if 4 bits, else one byte a code
    std::size_t group;          // a multiple of 16
    float const* table;         // 16 or 256 values
    float const* step;          // one a group
    float const* zero;          // one a group; null: 0
};

/// Bit offsets of the codes of eight bytes, one a dword (or one a word) of the register.
struct alignas(64) shift_bytes {
    std::uint8_t at[64];
};
inline constexpr shift_bytes nibble_of_dword = [] {
    shift_bytes t{};
    for (unsigned i = 0; i < 64; ++i) {
        t.at[i] = static_cast<std::uint8_t>(i / 4 * 4);
    }
    return t;
}();
inline constexpr shift_bytes nibble_of_word = [] {
    shift_bytes t{};
    for (unsigned i = 0; i < 64; ++i) {
        t.at[i] = static_cast<std::uint8_t>(i / 2 * 4 % 64);
    }
    return t;
}();

/// The 16 decoded values of group g.
FPQ_AVX512 [[gnu::always_inline]] inline __m512 group_values(decode_row const& r, __m512 table,
                                                             std::size_t g) noexcept {
    __m512 const from_zero =
        r.zero == nullptr ? table : _mm512_sub_ps(table, _mm512_set1_ps(r.zero[g]));
    return _mm512_mul_ps(from_zero, _mm512_set1_ps(r.step[g]));
}

/// How vectors are stored: as they are, past the caches, or past the caches at addresses that are
/// not multiples of 64.
enum class store_kind { plain, past, past_shifted };

/// Stores vectors one after the other from `out` on. Only whole aligned lines may go past the
/// caches without being read first, so that shifted ones are put together from two vectors; the
/// parts of lines at both ends are stored as usual.
template <store_kind Kind>
class line_writer {
public:
    /// past_shifted: out is a multiple of 4, and not of 64.
    FPQ_AVX512 [[gnu::always_inline]] explicit line_writer(void* out) noexcept {
        std::size_t const dwords = reinterpret_cast<std::uintptr_t>(out) / 4 % 16;
        at_ = static_cast<char*>(out);
        if constexpr (Kind == store_kind::past_shifted) {
            at_ -= 4 * dwords;
            head_ = static_cast<__mmask16>((1u << dwords) - 1u);
            first_ = true;
            before_ = _mm512_setzero_si512();
            order_ = _mm512_add_epi32(
                _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                _mm512_set1_epi32(16 - static_cast<int>(dwords)));
        }
    }
    FPQ_AVX512 [[gnu::always_inline]] void put(__m512i v) noexcept {
        if constexpr (Kind == store_kind::plain) {
            _mm512_storeu_si512(at_, v);
        } else if constexpr (Kind == store_kind::past) {
            _mm512_stream_si512(reinterpret_cast<__m512i*>(at_), v);
        } else {
            __m512i const line = _mm512_permutex2var_epi32(before_, order_, v);
            if (first_) {
                _mm512_mask_storeu_epi32(at_, static_cast<__mmask16>(~head_), line);
                first_ = false;
            } else {
                _mm512_stream_si512(reinterpret_cast<__m512i*>(at_), line);
            }
            before_ = v;
        }
        at_ += 64;
    }
    /// After the last vector, of which there was one at least.
    FPQ_AVX512 [[gnu::always_inline]] void finish() noexcept {
        if constexpr (Kind == store_kind::past_shifted) {
            _mm512_mask_storeu_epi32(at_, head_,
                                     _mm512_permutex2var_epi32(before_, order_, before_));
        }
        if constexpr (Kind != store_kind::plain) {
            _mm_sfence();  // other threads see the values once this row is done
        }
    }

private:
    char* at_;
    __m512i order_;   // of the line's dwords among two vectors
    __m512i before_;  // the last vector
    __mmask16 head_;  // dwords of the first line before `out`
    bool first_;
};

/// Eight bytes of codes, in every qword: rows of codes need not be aligned.
FPQ_AVX512 [[gnu::always_inline]] inline __m512i broadcast_codes(
    std::uint8_t const* codes) noexcept {
    long long sixteen = 0;
    std::memcpy(&sixteen, codes, sizeof sixteen);
    return _mm512_set1_epi64(sixteen);
}

/// 16 codes as float32. The permute reads the low four bits of each dword.
FPQ_AVX512 [[gnu::always_inline]] inline __m512i decode_16(std::uint8_t const* codes,
                                                           __m512 values) noexcept {
    __m512i const shifts = _mm512_load_si512(nibble_of_dword.at);
    return _mm512_castps_si512(_mm512_permutexvar_ps(
        _mm512_multishift_epi64_epi8(shifts, broadcast_codes(codes)), values));
}

/// 32 codes as bf16, the first 16 from the lower half of `values`, the others from the upper.
FPQ_AVX512 [[gnu::always_inline]] inline __m512i decode_32(std::uint8_t const* codes,
                                                           __m512i values) noexcept {
    __m512i const shifts = _mm512_load_si512(nibble_of_word.at);
    __m512i const upper = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
    __m512i const both =
        _mm512_mask_blend_epi64(0xF0, broadcast_codes(codes), broadcast_codes(codes + 8));
    __m512i const index = _mm512_ternarylogic_epi32(_mm512_multishift_epi64_epi8(shifts, both),
                                                    _mm512_set1_epi16(0x0F), upper, 0xEA);
    return _mm512_permutexvar_epi16(index, values);
}

/// n values, a multiple of 16.
FPQ_AVX512 inline void decode_nibbles_avx512(decode_row const& r, std::size_t n, float* out) {
    __m512 const table = _mm512_loadu_ps(r.table);
    std::uint8_t const* codes = r.codes;
    std::size_t g = 0;
    for (std::size_t i = 0; i < n; ++g) {
        __m512 const values = group_values(r, table, g);
        std::size_t const end = i + r.group < n ? i + r.group : n;
        for (; i < end; i += 16, codes += 8) {
            _mm512_storeu_si512(out + i, decode_16(codes, values));
        }
    }
}

/// The same rounded to bf16; no value is a NaN whose payload the rounding would carry out of.
FPQ_AVX512 [[gnu::always_inline]] inline __m256i narrow_bf16(__m512 x) noexcept {
    __m512i const bits = _mm512_castps_si512(x);
    __m512i const odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i const up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
}

/// n values, a multiple of 32; steps and zeros as for float.
FPQ_AVX512 inline void decode_nibbles_avx512(decode_row const& r, std::size_t n, bf16* out) {
    __m512 const table = _mm512_loadu_ps(r.table);
    std::uint8_t const* codes = r.codes;
    std::size_t g = 0;     // the next group
    std::size_t left = 0;  // values of the one before it
    __m256i last = _mm256_setzero_si256();
    for (std::size_t i = 0; i < n; i += 32, codes += 16) {
        if (left == 0) {
            last = narrow_bf16(group_values(r, table, g++));
            left = r.group;
        }
        __m256i const low = last;
        left -= 16;
        if (left == 0) {
            last = narrow_bf16(group_values(r, table, g++));
            left = r.group;
        }
        left -= 16;
        _mm512_storeu_si512(
            out + i, decode_32(codes, _mm512_inserti64x4(_mm512_castsi256_si512(low), last, 1)));
    }
}

/// 16 decoded values for each byte that a scale may be.
template <class T>
struct byte_values {
    alignas(64) T at[256][16];
};

/// table (16) times step (256). A NaN step has no payload.
FPQ_AVX512 inline void fill_byte_values(float const* table, float const* step,
                                        byte_values<float>& out) noexcept {
    for (std::size_t byte = 0; byte < 256; ++byte) {
        _mm512_store_ps(out.at[byte],
                        _mm512_mul_ps(_mm512_loadu_ps(table), _mm512_set1_ps(step[byte])));
    }
}
FPQ_AVX512 inline void fill_byte_values(float const* table, float const* step,
                                        byte_values<bf16>& out) noexcept {
    for (std::size_t byte = 0; byte < 256; ++byte) {
        __m512 const values = _mm512_mul_ps(_mm512_loadu_ps(table), _mm512_set1_ps(step[byte]));
        _mm256_store_si256(reinterpret_cast<__m256i*>(out.at[byte]), narrow_bf16(values));
    }
}

/// 32 values a step of one-byte scales of whole groups of Group (16 or 32); n a multiple of 32.
template <std::size_t Group, store_kind Kind>
FPQ_AVX512 inline void decode_by_byte_avx512(std::uint8_t const* codes, std::uint8_t const* scales,
                                             std::size_t n, byte_values<float> const& values,
                                             float* out) noexcept {
    line_writer<Kind> lines(out);
    for (std::size_t i = 0; i < n; i += 32) {
        lines.put(decode_16(codes + i / 2, _mm512_load_ps(values.at[scales[i / Group]])));
        lines.put(
            decode_16(codes + i / 2 + 8, _mm512_load_ps(values.at[scales[(i + 16) / Group]])));
    }
    lines.finish();
}
template <std::size_t Group, store_kind Kind>
FPQ_AVX512 inline void decode_by_byte_avx512(std::uint8_t const* codes, std::uint8_t const* scales,
                                             std::size_t n, byte_values<bf16> const& values,
                                             bf16* out) noexcept {
    line_writer<Kind> lines(out);
    for (std::size_t i = 0; i < n; i += 32) {
        auto const* const low = reinterpret_cast<__m256i const*>(values.at[scales[i / Group]]);
        auto const* const high =
            reinterpret_cast<__m256i const*>(values.at[scales[(i + 16) / Group]]);
        __m512i const both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_load_si256(low)),
                                                _mm256_load_si256(high), 1);
        lines.put(decode_32(codes + i / 2, both));
    }
    lines.finish();
}

/// The same, past the caches if `past` and `out` allow it.
template <std::size_t Group, class T>
FPQ_AVX512 inline void decode_by_byte_avx512(std::uint8_t const* codes, std::uint8_t const* scales,
                                             std::size_t n, byte_values<T> const& values, T* out,
                                             bool past) noexcept {
    auto const address = reinterpret_cast<std::uintptr_t>(out);
    if (!past || n == 0 || address % 4 != 0) {
        decode_by_byte_avx512<Group, store_kind::plain>(codes, scales, n, values, out);
    } else if (address % 64 == 0) {
        decode_by_byte_avx512<Group, store_kind::past>(codes, scales, n, values, out);
    } else {
        decode_by_byte_avx512<Group, store_kind::past_shifted>(codes, scales, n, values, out);
    }
}

/// n values of one byte each, a multiple of 16.
FPQ_AVX512 inline void decode_bytes_avx512(decode_row const& r, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; i += 16) {
        std::size_t const g = i / r.group;
        __m512i const code =
            _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(r.codes + i)));
        __m512 const value = _mm512_i32gather_ps(code, r.table, 4);
        _mm512_storeu_ps(out + i, group_values(r, value, g));
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
