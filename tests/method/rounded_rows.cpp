// SPDX-License-Identifier: Apache-2.0
// fpq/method/rounded_rows.hpp: rounding straight from the file gives the bytes of rounding floats.
#include "fpq/method/rounded_rows.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/core/random.hpp"
#include "fpq/solve/rtn.hpp"

namespace {

/// Random values of one type at any alignment.
struct stored_values {
    stored_values(fpq::dtype type, std::size_t rows, std::size_t cols, std::size_t shift)
        : storage(rows * cols * 4 + 16), wide(rows * cols) {
        fpq::philox const source{3, 9};
        std::size_t const width = fpq::dtype_bits(type) / 8;
        std::byte* const at = storage.data() + shift;
        for (std::size_t i = 0; i < wide.size(); ++i) {
            float const x = 0.05F * source.normal_at(i);
            std::uint16_t const half =
                type == fpq::dtype::bf16 ? fpq::to_bf16(x).bits : fpq::to_fp16(x).bits;
            if (type == fpq::dtype::f32) {
                std::memcpy(at + i * width, &x, 4);
            } else {
                std::memcpy(at + i * width, &half, 2);
            }
            wide[i] = fpq::detail::load_float(type, at + i * width);
        }
        tensor = {"w", type, {rows, cols}, std::span(at, wide.size() * width), nullptr};
    }

    std::vector<std::byte> storage;
    std::vector<float> wide;
    fpq::tensor_ref tensor;
};

}  // namespace

TEST_CASE("a stored tensor rounds to the codes of its float32 copy", "[pipeline]") {
    std::size_t const rows = 531;  // a job of 512 and one that ends raggedly
    std::size_t const cols = 160;
    for (fpq::dtype const type : {fpq::dtype::bf16, fpq::dtype::f16, fpq::dtype::f32}) {
        for (std::size_t const shift : {std::size_t{0}, std::size_t{1}}) {
            stored_values const w(type, rows, cols, shift);
            auto const view = fpq::as_view(static_cast<float const*>(w.wide.data()), rows, cols);
            float const amax = fpq::detail::finite_amax(w.tensor, 2);
            CHECK(amax == fpq::amax(fpq::cpu{2}, view));
            for (fpq::quant_format const& format :
                 {fpq::nvfp4, fpq::mxfp4, fpq::fp4(32), fpq::int_format(4, 32, false)}) {
                fpq::solve_options options;
                options.threads = 1;
                options.observer.global_scale =
                    fpq::default_global_scale(format, amax, true, options.observer.mx);
                auto const expected = fpq::rtn(view, nullptr, format, options, "w");
                fpq::packed_matrix found;
                fpq::error_stats const error =
                    fpq::detail::round_tensor(w.tensor, rows, cols, format, options.observer, amax,
                                              2, found)
                        .error;
                CHECK(found.codes == expected.weight.codes);
                CHECK(found.scales == expected.weight.scales);
                CHECK(found.zeros == expected.weight.zeros);
                auto const decoded = fpq::dequantize(expected.weight.view(), 1);
                double const sqnr =
                    fpq::measure_error(view, fpq::as_view(decoded.data(), rows, cols)).sqnr_db();
                CHECK(error.sqnr_db() == Approx(sqnr).epsilon(1e-6));
            }
        }
    }
}

TEST_CASE("signal and noise of very small and very large weights stay numbers", "[pipeline]") {
    std::vector<float> const pattern{1.0F, -0.7F, 0.3F, 0.11F, -5.9F, 2.2F, 0.0F, 1.3F};
    for (float const size : {1e-36F, 1e-20F, 1.0F, 1e36F}) {
        std::vector<float> w(32);
        for (std::size_t i = 0; i < w.size(); ++i) {
            w[i] = size * pattern[i % pattern.size()];
        }
        fpq::packed_matrix q;
        auto const error =
            fpq::detail::round_rows(fpq::as_view(static_cast<float const*>(w.data()), 1, w.size()),
                                    fpq::mxfp4, {}, 5.9F * size, 1, q)
                .error;
        CHECK(error.sqnr_db() > 10.0);
        CHECK(error.sqnr_db() < 40.0);
    }
}

TEST_CASE("NaN and infinity are refused by tensor and element, wherever they lie", "[pipeline]") {
    for (std::size_t const at : {std::size_t{0}, std::size_t{17}, std::size_t{5000}}) {
        std::vector<float> w(5001, 1.0F);
        w[at] = at == 17 ? std::numeric_limits<float>::quiet_NaN()
                         : -std::numeric_limits<float>::infinity();
        fpq::tensor_ref const t{"w", fpq::dtype::f32, {5001}, std::as_bytes(std::span(w)), nullptr};
        try {
            (void)fpq::detail::finite_amax(t, 2);
            FAIL("accepted");
        } catch (fpq::error const& why) {
            CHECK(why.category() == fpq::error_category::input);
            CHECK(std::string(why.what()).find("element " + std::to_string(at)) !=
                  std::string::npos);
        }
    }
}
