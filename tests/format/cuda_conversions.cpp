// SPDX-License-Identifier: Apache-2.0
// The number formats and halves against the host conversions of the CUDA toolkit's headers, which
// need no GPU. Skipped loudly when the headers are not found. The hidden test "[.sweep]" tries all
// 2^32 float patterns (minutes); the others try probes and all bf16 and fp16 inputs.
#include "catch.hpp"

#if __has_include(<cuda_fp4.h>) && __has_include(<cuda_fp6.h>) && __has_include(<cuda_fp8.h>)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>
#pragma GCC diagnostic pop

#include <cmath>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/format/minifloat.hpp"
#include "support/number_oracle.hpp"

namespace {

using fpq_test::float_bits;
using fpq_test::float_facts;
using fpq_test::float_from;

struct cuda_e2m1 {
    using ours = fpq::e2m1;
    static int encode(float x) {
        return __nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest) & 15;
    }
    static __half_raw decode(int code) {
        return __nv_cvt_fp4_to_halfraw(static_cast<__nv_fp4_storage_t>(code), __NV_E2M1);
    }
};

template <class Ours, __nv_fp6_interpretation_t Kind>
struct cuda_fp6 {
    using ours = Ours;
    static int encode(float x) { return __nv_cvt_float_to_fp6(x, Kind, cudaRoundNearest) & 63; }
    static __half_raw decode(int code) {
        return __nv_cvt_fp6_to_halfraw(static_cast<__nv_fp6_storage_t>(code), Kind);
    }
};

template <class Ours, __nv_fp8_interpretation_t Kind>
struct cuda_fp8 {
    using ours = Ours;
    static int encode(float x) { return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, Kind); }
    static __half_raw decode(int code) {
        return __nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), Kind);
    }
};

template <class F>
void for_each_format(F check) {
    check(cuda_e2m1{}, fpq_test::e2m1_facts);
    check(cuda_fp6<fpq::e2m3, __NV_E2M3>{}, fpq_test::e2m3_facts);
    check(cuda_fp6<fpq::e3m2, __NV_E3M2>{}, fpq_test::e3m2_facts);
    check(cuda_fp8<fpq::e4m3, __NV_E4M3>{}, fpq_test::e4m3_facts);
    check(cuda_fp8<fpq::e5m2, __NV_E5M2>{}, fpq_test::e5m2_facts);
}

template <class Cuda>
bool same_encoding(float x) {
    using ours = typename Cuda::ours;
    int const mine = ours::encode(x);
    int const theirs = Cuda::encode(x);
    if (std::isnan(x) && ours::has_nan) {  // the toolkit drops the sign of NaN; ours keeps it
        return std::isnan(ours::decode(static_cast<std::uint8_t>(mine))) &&
               std::isnan(ours::decode(static_cast<std::uint8_t>(theirs)));
    }
    return mine == theirs;
}

std::vector<float> inputs_of(std::vector<double> const& levels) {
    std::vector<float> inputs = fpq_test::probes(levels);
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        inputs.push_back(float_from(bits << 16));
        inputs.push_back(fpq::to_float(fpq::fp16{static_cast<std::uint16_t>(bits)}));
    }
    return inputs;
}

int cuda_e8m0(float x, cudaRoundMode mode) {
    return __nv_cvt_float_to_e8m0(x, __NV_SATFINITE, mode);
}

}  // namespace

TEST_CASE("decoding agrees with the CUDA toolkit for every code", "[format][cuda-headers]") {
    for_each_format([](auto cuda, float_facts const& f) {
        using ours = typename decltype(cuda)::ours;
        for (int code = 0; code < 1 << f.bits(); ++code) {
            float const theirs = __half2float(__half(decltype(cuda)::decode(code)));
            float const mine = ours::decode(static_cast<std::uint8_t>(code));
            INFO(f.name << " code " << code);
            REQUIRE(std::isnan(mine) == std::isnan(theirs));
            if (!std::isnan(mine)) {
                REQUIRE(float_bits(mine) == float_bits(theirs));
            }
        }
    });
}

TEST_CASE("encoding agrees with the CUDA toolkit on probes, all bf16 and all fp16",
          "[format][cuda-headers]") {
    for_each_format([](auto cuda, float_facts const& f) {
        std::size_t wrong = 0;
        for (float const x : inputs_of(fpq_test::levels_of(f))) {
            wrong += !same_encoding<decltype(cuda)>(x);
        }
        INFO(f.name);
        CHECK(wrong == 0);
    });
}

TEST_CASE("e8m0 agrees with the CUDA toolkit, down and up", "[format][cuda-headers]") {
    std::vector<double> levels;
    for (int code = 0; code < 256; ++code) {
        auto const byte = static_cast<std::uint8_t>(code);
        __nv_bfloat16_raw const raw = __nv_cvt_e8m0_to_bf16raw(byte);
        float const theirs = float_from(static_cast<std::uint32_t>(raw.x) << 16);
        INFO("code " << code);
        if (code == 255) {
            REQUIRE(std::isnan(theirs));
            REQUIRE(std::isnan(fpq::e8m0::decode(byte)));
        } else {
            REQUIRE(float_bits(fpq::e8m0::decode(byte)) == float_bits(theirs));
            levels.push_back(double{theirs});
        }
    }
    for (float const x : inputs_of(levels)) {
        if (std::signbit(x)) {
            continue;  // a scale is not negative
        }
        INFO("input " << x << " bits " << float_bits(x));
        REQUIRE(int{fpq::e8m0::encode_floor(x)} == cuda_e8m0(x, cudaRoundZero));
        REQUIRE(int{fpq::e8m0::encode_ceil(x)} == cuda_e8m0(x, cudaRoundPosInf));
    }
}

TEST_CASE("fp16 and bf16 agree with the CUDA toolkit", "[core][cuda-headers]") {
    std::vector<double> half_levels;
    std::vector<double> brain_levels;
    for (std::uint32_t bits = 0; bits < 0x7C00u; ++bits) {
        half_levels.push_back(fpq_test::half_value(static_cast<std::uint16_t>(bits)));
    }
    for (std::uint32_t bits = 0; bits < 0x7F80u; ++bits) {
        brain_levels.push_back(double{float_from(bits << 16)});
    }
    std::vector<float> inputs = inputs_of(half_levels);
    std::vector<float> const more = fpq_test::probes(brain_levels);
    inputs.insert(inputs.end(), more.begin(), more.end());
    std::size_t wrong = 0;
    for (float const x : inputs) {
        std::uint16_t const narrow = fpq::to_fp16(x).bits;
        std::uint16_t const brain = fpq::to_bf16(x).bits;
        if (std::isnan(x)) {  // the toolkit makes one canonical NaN of all; ours keeps payloads
            wrong += (narrow & 0x7E00) != 0x7E00 || (brain & 0x7FC0) != 0x7FC0;
            continue;
        }
        wrong += narrow != static_cast<__half_raw>(__float2half_rn(x)).x;
        wrong += brain != static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x;
    }
    CHECK(wrong == 0);
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        auto const low = static_cast<std::uint16_t>(bits);
        __half_raw raw_half;
        raw_half.x = low;
        float const theirs = __half2float(__half(raw_half));
        float const mine = fpq::to_float(fpq::fp16{low});
        INFO("fp16 " << bits);
        REQUIRE(std::isnan(mine) == std::isnan(theirs));
        if (!std::isnan(mine)) {
            REQUIRE(float_bits(mine) == float_bits(theirs));
        }
    }
}

TEST_CASE("all 2^32 float patterns encode as the CUDA toolkit's do", "[.sweep]") {
    for_each_format([](auto cuda, float_facts const& f) {
        std::size_t wrong = 0;
        std::uint32_t bits = 0;
        do {
            wrong += !same_encoding<decltype(cuda)>(float_from(bits));
        } while (++bits != 0);
        INFO(f.name);
        CHECK(wrong == 0);
    });
    std::size_t wrong = 0;
    for (std::uint32_t bits = 0; bits < 0x80000000u; ++bits) {
        float const x = float_from(bits);
        wrong += int{fpq::e8m0::encode_floor(x)} != cuda_e8m0(x, cudaRoundZero);
        wrong += int{fpq::e8m0::encode_ceil(x)} != cuda_e8m0(x, cudaRoundPosInf);
        if (!std::isnan(x)) {
            wrong += fpq::to_fp16(x).bits != static_cast<__half_raw>(__float2half_rn(x)).x;
            wrong +=
                fpq::to_bf16(x).bits != static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x;
        }
    }
    CHECK(wrong == 0);
}

#else

#include <cstdio>

TEST_CASE("formats against the CUDA toolkit's conversions", "[format][cuda-headers]") {
    std::puts(
        "SKIPPED: the CUDA toolkit's headers (cuda_fp4.h, cuda_fp6.h, cuda_fp8.h) were not found; "
        "number formats were not compared with them");
    SUCCEED();
}

#endif
