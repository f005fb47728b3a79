// SPDX-License-Identifier: Apache-2.0
// The searches for a scale, many groups at once, against the plain walk, bit for bit: formats,
// rules, simd levels, input types, awkward values and widths.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/quantize.hpp"
#include "quant/kernel_cases.hpp"
#include "support/limited_simd.hpp"

using fpq::bf16;
using fpq::packed_matrix;
using fpq::scale_grid;
using fpq::scale_rule;
using fpq_test::data;
using fpq_test::levels;
using fpq_test::limited_simd;
using fpq_test::setting;
using fpq_test::what;

namespace {

enum observer : int { mse, sweep, weighted_sweep };

/// settings() and more groups, with one observer; `weight` outlives the result.
std::vector<setting> searches(int observer, std::vector<float> const& weight) {
    std::vector<setting> all = fpq_test::settings();
    all.push_back({fpq::int_format(2, 16), {}});
    all.push_back({fpq::int_format(4, 48), {.signed_end = false}});
    all.push_back({fpq::int_format(5, 0, true, fpq::granularity::channel), {}});
    all.push_back({fpq::int_format(4, 0, false, fpq::granularity::tensor), {}});
    all.push_back(
        {{fpq::element_kind::e2m1, fpq::scale_kind::e4m3, fpq::granularity::group, 20}, {}});
    all.push_back(
        {{fpq::element_kind::int4, fpq::scale_kind::e4m3, fpq::granularity::group, 32}, {}});
    all.push_back(
        {{fpq::element_kind::int8, fpq::scale_kind::e8m0, fpq::granularity::group, 32}, {}});
    all.push_back(
        {{fpq::element_kind::e4m3, fpq::scale_kind::fp16, fpq::granularity::group, 64}, {}});
    for (setting& s : all) {
        s.options.rule = observer == mse ? scale_rule::mse : scale_rule::sweep;
        if (observer == weighted_sweep) {
            s.options.column_weight = weight;
        }
    }
    return all;
}

std::vector<float> some_weights(std::size_t cols) {
    std::vector<float> weight(cols);
    for (std::size_t i = 0; i < cols; ++i) {
        weight[i] = i % 11 == 0 ? 0.0F : 0.1F + static_cast<float>(i % 7);
    }
    return weight;
}

/// Every observer on rows x cols of each kind of data.
template <class T>
void compare(std::size_t rows, std::size_t cols, std::size_t stride, int threads) {
    std::vector<float> const weight = some_weights(cols);
    for (int kind = 0; kind < fpq_test::data_kinds; ++kind) {
        std::vector<float> const x = data(kind, rows * stride);
        std::vector<T> in(x.size());
        std::transform(x.begin(), x.end(), in.begin(), fpq_test::narrow<T>);
        std::vector<float> wide(in.size());
        std::transform(in.begin(), in.end(), wide.begin(), [](T v) { return fpq::to_float(v); });
        fpq::matrix_view<float const> const w{wide.data(), rows, cols, stride};
        for (int observer : {mse, sweep, weighted_sweep}) {
            for (setting const& s : searches(observer, weight)) {
                scale_grid const scales = fpq::reference::find_scales(w, s.format, s.options);
                packed_matrix const expected =
                    fpq::reference::encode_with(w, s.format, scales, s.options.global_scale);
                for (fpq::simd_level level : levels()) {
                    limited_simd const only(level);
                    INFO(what(s, level) << ", data " << kind << ", observer " << observer << ", "
                                        << rows << " x " << cols);
                    scale_grid const found = fpq::find_scales(w, s.format, s.options, threads);
                    REQUIRE(found.bytes == expected.scales);
                    REQUIRE(found.zeros == expected.zeros);
                    REQUIRE(std::equal(found.value.begin(), found.value.end(), scales.value.begin(),
                                       scales.value.end()));
                    packed_matrix const q =
                        fpq::quantize(fpq::matrix_view<T const>{in.data(), rows, cols, stride},
                                      s.format, s.options, threads);
                    REQUIRE(q.scales == expected.scales);
                    REQUIRE(q.zeros == expected.zeros);
                    REQUIRE(q.codes == expected.codes);
                }
            }
        }
    }
}

}  // namespace

TEST_CASE("searching kernels give the bytes of the plain walk", "[quant][kernels]") {
    compare<float>(6, 300, 311, 2);
    compare<float>(9, 40, 40, 1);
    compare<float>(5, 7, 7, 3);
    compare<float>(2, 1024, 1024, 1);
    compare<bf16>(3, 272, 272, 2);
}
