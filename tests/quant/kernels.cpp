// SPDX-License-Identifier: Apache-2.0
// Every kernel against the plain loops, bit for bit: formats, simd levels, input types, awkward
// values and widths.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/quant/quantize.hpp"
#include "quant/kernel_cases.hpp"
#include "support/limited_simd.hpp"

using fpq::bf16;
using fpq::fp16;
using fpq::observer_options;
using fpq::packed_matrix;
using fpq::quant_format;
using fpq::scale_rule;
using fpq::simd_level;
using fpq_test::limited_simd;

using fpq_test::data;
using fpq_test::levels;
using fpq_test::narrow;
using fpq_test::setting;
using fpq_test::settings;
using fpq_test::what;

namespace {

/// Bytes that differ between kernels and plain loops, over all data sets and levels.
template <class T>
void compare(std::size_t rows, std::size_t cols, std::size_t stride, int threads) {
    for (int kind = 0; kind < 6; ++kind) {
        std::vector<float> const x = data(kind, rows * stride);
        std::vector<T> in(x.size());
        std::transform(x.begin(), x.end(), in.begin(), narrow<T>);
        std::vector<float> wide(in.size());
        std::transform(in.begin(), in.end(), wide.begin(), [](T v) { return fpq::to_float(v); });
        for (setting const& s : settings()) {
            packed_matrix const expected =
                fpq::reference::quantize({wide.data(), rows, cols, stride}, s.format, s.options);
            for (simd_level level : levels()) {
                limited_simd const only(level);
                packed_matrix const q =
                    fpq::quantize(fpq::matrix_view<T const>{in.data(), rows, cols, stride},
                                  s.format, s.options, threads);
                INFO(what(s, level) << ", data " << kind << ", " << rows << " x " << cols);
                REQUIRE(q.scales == expected.scales);
                REQUIRE(q.zeros == expected.zeros);
                REQUIRE(q.codes == expected.codes);
            }
        }
    }
}

}  // namespace

TEST_CASE("quantizing kernels give the bytes of the plain loops", "[quant][kernels]") {
    for (std::size_t cols : {1024, 512, 40, 7, 300}) {
        compare<float>(3, cols, cols, 1);
    }
    compare<float>(5, 300, 320, 1);
    compare<float>(300, 512, 512, 2);
}

TEST_CASE("16-bit inputs are quantized as their float values", "[quant][kernels]") {
    for (std::size_t cols : {1024, 300}) {
        compare<bf16>(3, cols, cols, 1);
        compare<fp16>(3, cols, cols, 1);
    }
    compare<bf16>(5, 40, 48, 1);
    compare<fp16>(5, 40, 48, 1);
}

TEST_CASE("E2M1 thresholds are the least weights of each code", "[quant][kernels]") {
    using fpq::bits_of;
    using fpq::kernels::e2m1_input;
    for (float global : {1.0F, 3.0F, 512.0F, 2688.0F / 3.7F, 0.0123F}) {
        for (e2m1_input const input :
             {e2m1_input{}, e2m1_input{.factor = 0.088388346F}, e2m1_input{.unseen = 0xFFFFu}}) {
            for (fpq::scale_kind kind : {fpq::scale_kind::e4m3, fpq::scale_kind::e8m0}) {
                fpq::kernels::e2m1_table const table =
                    fpq::kernels::make_e2m1_table(kind, global, input);
                REQUIRE(table.low < table.high);
                std::size_t wrong = 0;
                for (int byte = table.low; byte <= table.high; ++byte) {
                    auto const at = static_cast<std::size_t>(byte);
                    std::uint8_t const stored[2] = {static_cast<std::uint8_t>(byte), 0};
                    float const s = fpq::effective_scale(fpq::decode_scale(kind, stored), global);
                    auto const code_of = [&](std::uint32_t w) {
                        return fpq::e2m1::encode(bits_of<float>(w) * input.factor / s);
                    };
                    for (std::size_t cell = 0; cell < 32; ++cell) {
                        std::uint32_t const t = table.rows[at].threshold[cell];
                        int const code = fpq::kernels::e2m1_code_at(cell);
                        int const sign = fpq::kernels::e2m1_negative_at(cell) ? 8 : 0;
                        if (code >= 8) {
                            wrong += t != 0;
                            continue;
                        }
                        wrong += code_of(t) != (code + 1) + sign;
                        wrong += code_of(t - 1 - input.unseen) != code + sign;
                    }
                }
                INFO("global " << global);
                REQUIRE(wrong == 0);
            }
        }
    }
}

TEST_CASE("a least scale's values reach nine steps", "[quant][kernels]") {
    // Up to 1.5 least scales are rounded down to one: 6 * 1.5 steps of it.
    for (float top : {8.9F, 8.96F, 8.98F, 8.999F, -8.98F}) {
        std::vector<float> x(512);
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] = (i % 16 == 5 ? top : top * static_cast<float>(i % 7) / 8.0F) * 0x1p-9F;
        }
        auto const w = fpq::as_view<float const>(x.data(), 1, x.size());
        packed_matrix const expected = fpq::reference::quantize(w, fpq::nvfp4, {});
        packed_matrix const q = fpq::quantize(w, fpq::nvfp4, {}, 1);
        REQUIRE(expected.scales == std::vector<std::uint8_t>(32, 1));
        REQUIRE(q.scales == expected.scales);
        REQUIRE(q.codes == expected.codes);
    }
}

TEST_CASE("the limit lowers the level and is lifted again", "[quant][kernels]") {
    simd_level const best = fpq::simd_level_of_processor();
    {
        limited_simd const only(simd_level::generic);
        REQUIRE(fpq::active_simd_level() == simd_level::generic);
    }
    REQUIRE(fpq::active_simd_level() == best);
}

TEST_CASE("dequantizing kernels give the bits of the plain loop", "[quant][kernels]") {
    for (std::size_t cols : {1024, 512, 40, 7, 300}) {
        for (int kind = 0; kind < 4; ++kind) {
            std::vector<float> const x = data(kind, 5 * cols);
            for (setting const& s : settings()) {
                packed_matrix q =
                    fpq::reference::quantize(fpq::as_view(x.data(), 5, cols), s.format, s.options);
                if (kind == 3) {  // any bytes, scales of NaN and infinity too
                    for (std::size_t i = 0; i < q.codes.size(); ++i) {
                        q.codes[i] = static_cast<std::uint8_t>(i * 167 + i / 256);
                    }
                    for (std::size_t i = 0; i < q.scales.size(); ++i) {
                        q.scales[i] = static_cast<std::uint8_t>(i * 167 + 13);
                    }
                }
                std::vector<float> expected(5 * cols);
                fpq::reference::dequantize_into(q.view(), fpq::as_view(expected.data(), 5, cols));
                std::vector<float> out(5 * (cols + 3));
                std::vector<bf16> narrow(5 * (cols + 3));
                for (simd_level level : levels()) {
                    limited_simd const only(level);
                    fpq::dequantize_into(q.view(), {out.data(), 5, cols, cols + 3}, 1);
                    fpq::dequantize_into(
                        q.view(), fpq::matrix_view<bf16>{narrow.data(), 5, cols, cols + 3}, 2);
                    std::size_t wrong = 0;
                    for (std::size_t i = 0; i < 5 * cols; ++i) {
                        std::size_t const at = i / cols * (cols + 3) + i % cols;
                        wrong += fpq::bits_of<std::uint32_t>(out[at]) !=
                                 fpq::bits_of<std::uint32_t>(expected[i]);
                        wrong += narrow[at].bits != fpq::to_bf16(expected[i]).bits;
                    }
                    INFO(what(s, level) << ", data " << kind << ", " << cols << " columns");
                    REQUIRE(wrong == 0);
                }
            }
        }
    }
}

TEST_CASE("large outputs are written past the caches with the same bits", "[quant][kernels]") {
    std::size_t const rows = 2200;
    std::size_t const cols = 4096;  // 34 MiB of float
    std::vector<float> const x = data(0, cols * 4);
    packed_matrix q = fpq::reference::quantize(fpq::as_view(x.data(), 4, cols), fpq::nvfp4,
                                               {.global_scale = 512});
    std::vector<float> expected(4 * cols);
    fpq::reference::dequantize_into(q.view(), fpq::as_view(expected.data(), 4, cols));
    packed_matrix tall = fpq::make_packed(fpq::nvfp4, rows, cols, 512.0F);
    for (std::size_t i = 0; i < tall.codes.size(); ++i) {
        tall.codes[i] = q.codes[i % q.codes.size()];
    }
    for (std::size_t i = 0; i < tall.scales.size(); ++i) {
        tall.scales[i] = q.scales[i % q.scales.size()];
    }
    std::vector<float> out(rows * cols + 32);
    std::vector<bf16> narrow(2 * rows * cols + 32);
    packed_matrix taller = tall;
    taller.rows *= 2;
    taller.codes.insert(taller.codes.end(), tall.codes.begin(), tall.codes.end());
    taller.scales.insert(taller.scales.end(), tall.scales.begin(), tall.scales.end());
    for (std::size_t shift : {0, 1, 4, 15}) {  // of the output, in floats
        std::fill(out.begin(), out.end(), -1.0F);
        fpq::dequantize_into(tall.view(), fpq::as_view(out.data() + shift, rows, cols), 2);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < rows * cols; ++i) {
            wrong += out[shift + i] != expected[i % expected.size()];
        }
        for (std::size_t i = 0; i < 32; ++i) {  // nothing outside
            wrong += out[i < shift ? i : rows * cols + i] != -1.0F;
        }
        fpq::dequantize_into(taller.view(), fpq::as_view(narrow.data() + shift, 2 * rows, cols), 2);
        for (std::size_t i = 0; i < 2 * rows * cols; ++i) {
            wrong += narrow[shift + i].bits != fpq::to_bf16(expected[i % expected.size()]).bits;
        }
        REQUIRE(wrong == 0);
    }
}
