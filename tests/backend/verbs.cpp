// SPDX-License-Identifier: Apache-2.0
// The verbs of the CPU that the model's tests do not pin down alone: what owns memory, attention
// over a cache, the vocabulary matrix, and quantization around the solvers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "support/gaussian.hpp"

using fpq_test::gaussian;

TEST_CASE("a copied tensor owns its values", "[backend]") {
    const fpq::cpu b{1};
    fpq::cpu::tensor a = fpq::make(b, 3, 5);
    std::fill_n(a.view().data, 15, 1.0F);
    const fpq::cpu::tensor copy = a;
    fpq::cpu::tensor assigned;
    assigned = a;
    a.view()(2, 4) = 7.0F;
    REQUIRE(copy.view()(2, 4) == 1.0F);
    REQUIRE(assigned.view()(2, 4) == 1.0F);
    REQUIRE(copy.rows() == 3);
    REQUIRE(copy.cols() == 5);
    REQUIRE(copy.view().stride == 5);
    assigned = std::move(a);
    REQUIRE(assigned.view()(2, 4) == 7.0F);
    const fpq::cpu::tensor nothing;
    const fpq::cpu::tensor also = nothing;
    REQUIRE(also.view().size() == 0);
}

TEST_CASE("a linear multiplies by the transpose and adds the bias to every row", "[backend]") {
    const std::vector<float> x{1, 2, 3, 4};
    const std::vector<float> w{1, 0, 0, 1, 1, 1};
    std::vector<float> y(6);
    fpq::linear(fpq::cpu{2}, fpq::as_view(x.data(), 2, 2), fpq::as_view(w.data(), 3, 2),
                {10, 20, 30}, fpq::as_view(y.data(), 2, 3));
    REQUIRE(y == std::vector<float>{11, 22, 33, 13, 24, 37});
    fpq::linear(fpq::cpu{2}, fpq::as_view(x.data(), 2, 2), fpq::as_view(w.data(), 3, 2), {},
                fpq::as_view(y.data(), 2, 3));
    REQUIRE(y == std::vector<float>{1, 2, 3, 3, 4, 7});
}

TEST_CASE("rows of heads are rotated by the position of their token", "[backend]") {
    const fpq::rope_table table(fpq::rope_config{}, 4, 40);
    const auto values = gaussian(5 * 12, 21, 1);
    const std::vector<float> norm{0.5F, 1.0F, 2.0F, 3.0F};
    for (const bool normed : {false, true}) {
        for (const std::size_t step : {0, 1, 3}) {
            std::vector<float> found = values;
            fpq::rotate_heads(fpq::cpu{2}, fpq::as_view(found.data(), 5, 12), 4,
                              normed ? norm : std::vector<float>{}, 1e-6F, table, {3, 7, step});
            std::vector<float> expected = values;
            for (std::size_t i = 0; i < 5; ++i) {
                for (std::size_t h = 0; h < 3; ++h) {
                    float* const head = expected.data() + i * 12 + h * 4;
                    double squares = 0;
                    for (std::size_t j = 0; j < 4; ++j) {
                        squares += static_cast<double>(head[j]) * static_cast<double>(head[j]);
                    }
                    for (std::size_t j = 0; normed && j < 4; ++j) {
                        head[j] *= norm[j] / static_cast<float>(std::sqrt(squares / 4 + 1e-6));
                    }
                    table.rotate(head, 7 + i % 3 * step);  // windows of 3 tokens
                }
            }
            for (std::size_t i = 0; i < found.size(); ++i) {
                REQUIRE(found[i] == Approx(expected[i]).margin(1e-5));
            }
        }
    }
}

TEST_CASE("attention over a cache is the last row of attention over the window", "[backend]") {
    constexpr std::size_t length = 9;
    constexpr std::size_t sequences = 3;
    const fpq::attention_shape shape{6, 2, 8};
    constexpr std::size_t wide = 48;
    constexpr std::size_t narrow = 16;
    const auto q = gaussian(sequences * length * wide, 22, 1);
    const auto k = gaussian(sequences * length * narrow, 22, 2);
    const auto v = gaussian(sequences * length * narrow, 22, 3);
    std::vector<float> whole(q.size());
    for (std::size_t s = 0; s < sequences; ++s) {
        fpq::attention(fpq::cpu{1}, fpq::as_view(q.data() + s * length * wide, length, wide),
                       fpq::as_view(k.data() + s * length * narrow, length, narrow),
                       fpq::as_view(v.data() + s * length * narrow, length, narrow), shape, length,
                       fpq::as_view(whole.data() + s * length * wide, length, wide));
    }
    std::vector<float> together(q.size());  // one window below the other
    fpq::attention(fpq::cpu{2}, fpq::as_view(q.data(), sequences * length, wide),
                   fpq::as_view(k.data(), sequences * length, narrow),
                   fpq::as_view(v.data(), sequences * length, narrow), shape, length,
                   fpq::as_view(together.data(), sequences * length, wide));
    REQUIRE(together == whole);
    std::vector<float> first;
    for (const int threads : {1, 3}) {
        fpq::cpu::cache cache(sequences, length, narrow);
        std::vector<float> all;
        for (std::size_t t = 0; t < length; ++t) {
            // Row s of a step lies at token t of sequence s.
            const auto at = [&](const std::vector<float>& x, std::size_t width) {
                return fpq::matrix_view<const float>{x.data() + t * width, sequences, width,
                                                     length * width};
            };
            std::vector<float> out(sequences * wide, -1.0F);
            fpq::cached_attention(fpq::cpu{threads}, at(q, wide), at(k, narrow), at(v, narrow),
                                  shape, t, cache, fpq::as_view(out.data(), sequences, wide));
            for (std::size_t s = 0; s < sequences; ++s) {
                for (std::size_t j = 0; j < wide; ++j) {
                    REQUIRE(out[s * wide + j] ==
                            Approx(whole[(s * length + t) * wide + j]).margin(1e-5));
                }
            }
            all.insert(all.end(), out.begin(), out.end());
        }
        first = threads == 1 ? all : first;
        REQUIRE(all == first);
    }
}

TEST_CASE("the vocabulary matrix embeds and gives logits, across its tiles", "[backend]") {
    constexpr std::size_t vocab = 1100;  // two whole tiles and a rest
    constexpr std::size_t width = 7;
    const auto values = gaussian(vocab * width, 23, 1);
    const fpq::cpu b{3};
    const fpq::cpu::table table = fpq::table_of(b, fpq::as_view(values.data(), vocab, width));
    const std::vector<std::int32_t> tokens{1099, 0, 512};
    std::vector<float> x(3 * width);
    fpq::embed(b, table, tokens, fpq::as_view(x.data(), 3, width));
    std::vector<float> logits(3 * vocab);
    fpq::logits(b, fpq::as_view(x.data(), 3, width), table, fpq::as_view(logits.data(), 3, vocab));
    for (std::size_t i = 0; i < 3; ++i) {
        const float* const row = values.data() + static_cast<std::size_t>(tokens[i]) * width;
        REQUIRE(std::equal(row, row + width, x.data() + i * width));
        for (std::size_t t = 0; t < vocab; ++t) {
            double dot = 0;
            for (std::size_t j = 0; j < width; ++j) {
                dot += static_cast<double>(row[j]) * static_cast<double>(values[t * width + j]);
            }
            REQUIRE(logits[i * vocab + t] == Approx(dot).margin(1e-5));
        }
    }
}

TEST_CASE("a table of part of a wider matrix holds that part", "[backend]") {
    const std::vector<float> wide{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const fpq::cpu::table table = fpq::table_of(fpq::cpu{1}, {wide.data(), 2, 3, 5});
    std::vector<float> row(3);
    table.copy_row(1, row.data());
    REQUIRE(row == std::vector<float>{6, 7, 8});
}

TEST_CASE("the largest magnitude is that of any row, sign and thread count", "[backend]") {
    auto x = gaussian(100 * 3, 24, 1);
    x[97 * 3 + 2] = -50.0F;
    x[40] = std::numeric_limits<float>::quiet_NaN();
    for (const int threads : {1, 3}) {
        REQUIRE(fpq::amax(fpq::cpu{threads}, fpq::as_view(x.data(), 100, 3)) == 50.0F);
    }
    REQUIRE(fpq::amax(fpq::cpu{1}, fpq::cpu::const_view{}) == 0.0F);
}

TEST_CASE("decoded weights are those of the codes in bf16, their error is measured before that",
          "[backend]") {
    constexpr std::size_t rows = 70;
    constexpr std::size_t cols = 48;
    const auto w = gaussian(rows * cols, 25, 1, 0.05F);
    fpq::quant_args args;
    args.format = fpq::int_format(4, 16, true);  // fp16 steps: products that bf16 cannot hold
    const auto view = fpq::as_view(w.data(), rows, cols);
    const auto q = fpq::quantize(view, args.format, fpq::observer_of(args, 1.0F), 1);
    const auto exact = fpq::dequantize(q.view(), 1);
    std::vector<float> found = w;
    fpq::local_loss local;
    const fpq::error_stats error =
        fpq::decode_weights(fpq::cpu{2}, q.view(), fpq::as_view(found.data(), rows, cols), local);
    const fpq::error_stats expected =
        fpq::measure_error(view, fpq::as_view(exact.data(), rows, cols));
    REQUIRE(error.noise == expected.noise);
    REQUIRE(error.signal == expected.signal);
    bool rounded = false;
    for (std::size_t i = 0; i < found.size(); ++i) {
        REQUIRE(found[i] == fpq::round_to_bf16(exact[i]));
        rounded = rounded || found[i] != exact[i];
    }
    REQUIRE(rounded);
}

TEST_CASE("inputs are quantized under the global scale that is given", "[backend]") {
    const auto x = gaussian(5 * 32, 26, 1);
    fpq::quant_args args;
    args.format = fpq::nvfp4;
    // 2688 / 3.5 is 768, the largest power of two below it 512.
    REQUIRE(fpq::global_scale_of(args, 3.5F) == 512.0F);
    args.pow2_global = false;
    REQUIRE(fpq::global_scale_of(args, 3.5F) == 768.0F);
    const float scale = 700.0F;  // no power of two, which would move all scales alike
    std::vector<float> found = x;
    fpq::fake_quantize(fpq::cpu{2}, args, scale, fpq::as_view(found.data(), 5, 32));
    fpq::observer_options observer;
    observer.global_scale = scale;
    const auto q = fpq::quantize(fpq::as_view(x.data(), 5, 32), args.format, observer, 1);
    REQUIRE(found == fpq::dequantize(q.view(), 1));
    args.format = fpq::int_format(4, 16, true);
    REQUIRE(fpq::global_scale_of(args, 3.0F) == 1.0F);
}

TEST_CASE("scores of a position by hand", "[backend]") {
    // Probabilities 1/8, 2/8, 5/8 and, of the reference, 1/4, 1/2, 1/4.
    const std::vector<float> logits{0.0F, std::log(2.0F), std::log(5.0F)};
    const std::vector<float> reference{1.0F, 1.0F + std::log(2.0F), 1.0F};
    const std::vector<std::int32_t> targets{1};
    std::vector<fpq::position_score> scores(1);
    fpq::score(fpq::cpu{1}, fpq::as_view(logits.data(), 1, 3), fpq::as_view(reference.data(), 1, 3),
               targets, scores);
    REQUIRE(scores[0].nll == Approx(std::log(4.0)));
    REQUIRE(scores[0].reference_nll == Approx(std::log(2.0)));
    REQUIRE(scores[0].kl ==
            Approx(0.25 * std::log(2.0) + 0.5 * std::log(2.0) + 0.25 * std::log(0.4)));
    REQUIRE_FALSE(scores[0].same_top);
    fpq::score(fpq::cpu{1}, fpq::as_view(logits.data(), 1, 3), {}, targets, scores);
    REQUIRE(scores[0].nll == Approx(std::log(4.0)));
    REQUIRE(scores[0].reference_nll == 0.0F);
}
