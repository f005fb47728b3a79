// SPDX-License-Identifier: Apache-2.0
// Polishing on the device, the parts that need none: the eight lanes of a row run in step against
// the CPU's loop, how many rows fit, and what is refused.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/polish_lanes.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/polish.hpp"

namespace {

using block = fpq::cuda::polish_block;

/// x^T x of correlated values, so that most codes have something to gain.
std::vector<float> correlated(std::size_t n, std::uint64_t stream) {
    fpq::philox const source{71, stream};
    std::size_t const tokens = 3 * n;
    std::vector<float> x(tokens * n);
    for (std::size_t t = 0; t < tokens; ++t) {
        float carry = 0;
        for (std::size_t j = 0; j < n; ++j) {
            carry = 0.9F * carry + source.normal_at(t * n + j);
            x[t * n + j] = carry * (1.0F + static_cast<float>(j % 5));
        }
    }
    std::vector<float> h(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            float sum = 0;
            for (std::size_t t = 0; t < tokens; ++t) {
                sum += x[t * n + i] * x[t * n + j];
            }
            h[i * n + j] = h[j * n + i] = sum;
        }
    }
    return h;
}

/// The block of columns from `first` on of row r, by eight lanes in step; as polish_block_kernel
/// does it. Updates codes and errors, and returns the changes.
template <class Codec>
std::vector<float> by_lanes(Codec codec, fpq::detail::descent_input const& in,
                            fpq::detail::descent_state& state, std::size_t r, std::size_t first) {
    std::size_t const n = in.h.rows;
    std::size_t const groups = in.format.groups(n);
    std::vector<float> h(static_cast<std::size_t>(block::width * block::pitch), 0.0F);
    std::vector<float> curvature(block::width, 0.0F);
    for (std::size_t i = 0; i < block::width && first + i < n; ++i) {
        curvature[i] = in.h(first + i, first + i) + in.damping;
        for (std::size_t j = 0; j < block::width && first + j < n; ++j) {
            h[i * block::pitch + j] = in.h(first + i, first + j);
        }
    }
    fpq::cuda::polish_lane lanes[block::lanes] = {};
    for (int lane = 0; lane < block::lanes; ++lane) {
        for (int s = 0; s < block::held; ++s) {
            auto& a = lanes[lane];
            std::size_t const c = first + static_cast<std::size_t>(block::column(lane, s));
            bool const inside = c < n;
            fpq::group_scale const scale =
                inside ? state.scales[r * groups + c / in.format.group_of(n)]
                       : fpq::group_scale{0, 0, 1.0F};
            a.slope[s] = inside ? state.slope[r * n + c] : 0.0F;
            a.error[s] = inside ? state.errors[r * n + c] : 0.0F;
            a.w[s] = inside ? in.w(state.row0 + r, c) : 0.0F;
            a.step[s] = scale.value;
            a.zero[s] = scale.zero;
            a.codes[s] = inside ? state.codes[r * n + c] : std::uint8_t{0};
        }
    }
    for (int s = 0; s < block::held; ++s) {
        for (int owner = 0; owner < block::lanes; ++owner) {
            float delta = 0;
            for (int lane = 0; lane < block::lanes; ++lane) {
                auto const column = static_cast<std::size_t>(block::column(lane, s));
                float const found = lanes[lane].reround(codec, s, curvature[column], lane == owner);
                REQUIRE((lane == owner || found == 0.0F));
                delta = lane == owner ? found : delta;
            }
            for (int lane = 0; lane < block::lanes && delta != 0.0F; ++lane) {
                lanes[lane].feed(s, delta,
                                 h.data() + block::column(owner, s) * block::pitch + lane);
            }
        }
    }
    std::vector<float> change(block::width, 0.0F);
    for (int lane = 0; lane < block::lanes; ++lane) {
        for (int s = 0; s < block::held; ++s) {
            auto const c = static_cast<std::size_t>(block::column(lane, s));
            change[c] = lanes[lane].change[s];
            if (first + c < n) {
                state.codes[r * n + first + c] = lanes[lane].codes[s];
                state.errors[r * n + first + c] = lanes[lane].error[s];
            }
        }
    }
    return change;
}

fpq::cuda::gptq_layer good_layer() {
    static float const w[1] = {};
    static std::uint8_t bytes[1] = {};
    fpq::cuda::gptq_layer layer;
    layer.w = w;
    layer.type = fpq::float_type::fp32;
    layer.rows = 4;
    layer.cols = 32;
    layer.w_stride = 32;
    layer.scales = bytes;
    layer.codes = bytes;
    return layer;
}

}  // namespace

TEST_CASE("eight lanes in step polish a block as the CPU does, bit for bit", "[cuda]") {
    std::size_t const rows = 12;
    for (std::size_t const n : {64u, 96u, 172u}) {
        auto const h = correlated(n, n);
        fpq::philox const source{72, n};
        std::vector<float> w(rows * n);
        for (std::size_t i = 0; i < w.size(); ++i) {
            w[i] = 0.05F * source.normal_at(i);
        }
        auto const wv = fpq::as_view(static_cast<float const*>(w.data()), rows, n);
        for (auto const& format :
             {fpq::nvfp4, fpq::mxfp4, fpq::mxfp6_e2m3, fpq::mxfp6_e3m2, fpq::mxfp8_e4m3,
              fpq::mxfp8_e5m2, fpq::fp4(32), fpq::int_format(4, 32), fpq::int_format(3, 16, false),
              fpq::int_format(4, 0, false, fpq::granularity::tensor),
              fpq::int_format(8, 0, false, fpq::granularity::channel)}) {
            fpq::observer_options options;
            options.global_scale = format.has_global ? 1024.0F : 1.0F;
            fpq::packed_matrix const q = fpq::quantize(wv, format, options, 1);
            fpq::detail::descent_input const in{wv,     fpq::as_view(h.data(), n, n), 3.5F,
                                                format, options.global_scale,         block::width,
                                                nullptr};
            fpq::detail::descent_state ours;
            fpq::detail::visit_codec(format, [&](auto codec) {
                ours = fpq::detail::unpack_chunk(codec, in, q, 0, rows);
            });
            ours.slope.resize(rows * n);
            fpq::detail::errors_times_h(in, ours, ours.slope.data(), 1);
            auto theirs = ours;
            std::size_t changes = 0;
            for (std::size_t r = 0; r < rows; ++r) {
                for (std::size_t first = 0; first < n; first += block::width) {
                    std::size_t const width = std::min<std::size_t>(block::width, n - first);
                    std::vector<float> want(block::width, 0.0F);
                    fpq::detail::visit_codec(format, [&](auto codec) {
                        fpq::detail::visit_codes<decltype(codec)>{}(in, theirs, r, first, width,
                                                                    want.data());
                    });
                    auto const found = fpq::cuda::visit_gptq_codec(
                        format.element, format.symmetric,
                        [&](auto codec) { return by_lanes(codec, in, ours, r, first); });
                    REQUIRE((found == want));
                    for (float const d : found) {
                        changes += d != 0.0F ? 1 : 0;
                    }
                }
            }
            INFO("element " << static_cast<int>(format.element) << " n " << n);
            CHECK((ours.codes == theirs.codes));
            CHECK((ours.errors == theirs.errors));
            CHECK(changes > 10);
        }
    }
}

TEST_CASE("a gain that rounding could have made up changes no code", "[cuda]") {
    // w = 1/2 lies between the codes 0 and 1 of step 1; of the slope s, going from 0 to 1 gains
    // 2 s - 1, and 1e-5 of the step's square counts as nothing.
    for (float const slope : {0.5F, 0.500001F, 0.500004F, 0.50001F, 0.51F}) {
        fpq::cuda::polish_lane lane{};
        lane.slope[0] = slope;
        lane.error[0] = 0.5F;
        lane.w[0] = 0.5F;
        lane.step[0] = 1.0F;
        fpq::cuda::integer_codec const codec{4};
        bool const gains = slope > 0.500005F;
        CHECK(lane.reround(codec, 0, 1.0F, false) == 0.0F);  // another lane's column
        CHECK(lane.reround(codec, 0, 0.0F, true) == 0.0F);   // a column that costs nothing
        CHECK(lane.codes[0] == 0);
        CHECK(lane.reround(codec, 0, 1.0F, true) == (gains ? -1.0F : 0.0F));
        CHECK(lane.codes[0] == (gains ? 1 : 0));
        CHECK(lane.error[0] == (gains ? -0.5F : 0.5F));
        float const h[block::width] = {1.0F};
        lane.feed(0, gains ? -1.0F : 0.0F, h);
        CHECK(lane.reround(codec, 0, 1.0F, true) == 0.0F);  // and there it stays
    }
}

TEST_CASE("a block's columns are owned once, and polishing keeps to its memory", "[cuda]") {
    std::vector<int> seen(block::width, 0);
    for (int lane = 0; lane < block::lanes; ++lane) {
        for (int s = 0; s < block::held; ++s) {
            ++seen.at(static_cast<std::size_t>(block::column(lane, s)));
        }
    }
    CHECK((seen == std::vector<int>(block::width, 1)));
    CHECK(fpq::cuda::polish_panel % block::width == 0);
    CHECK(fpq::cuda::polish_stride(172) == 192);
    CHECK(fpq::cuda::polish_rows_at_once(28672, 1792) == 3584);
    CHECK(fpq::cuda::polish_rows_at_once(4096, 256) > 20000);
    CHECK(fpq::cuda::polish_rows_at_once(std::size_t{1} << 30, 1) == 64);
}

TEST_CASE("a layer or a polish that makes no sense is refused by name", "[cuda]") {
    float const h[1] = {};
    fpq::cuda::polish_args const good{h, 0.5F, 2, 0};
    CHECK(fpq::cuda::check_polish(good_layer(), good).ok());
    auto const refused = [&](auto spoil, char const* word) {
        fpq::cuda::gptq_layer layer = good_layer();
        fpq::cuda::polish_args args = good;
        spoil(layer, args);
        auto const s = fpq::cuda::check_polish(layer, args);
        INFO(s.text);
        CHECK(s.code == fpq::cuda::status_code::invalid_argument);
        CHECK(std::string(s.text).find(std::string("polish_codes: ") + word) == 0);
    };
    refused([](auto& l, auto&) { l.rows = std::size_t{1} << 31; }, "rows and cols");
    refused([](auto& l, auto&) { l.cols = 0; }, "cols");
    refused([](auto& l, auto&) { l.w_stride = 31; }, "w_stride");
    refused([](auto& l, auto&) { l.format.group = 0; }, "group");
    refused([](auto& l, auto&) { l.format.symmetric = false; }, "");  // a float with zero points
    refused([](auto& l, auto&) { l.w = nullptr; }, "");
    refused([](auto& l, auto&) { l.scales = nullptr; }, "");
    refused([](auto& l, auto&) { l.codes = nullptr; }, "");
    refused([](auto& l, auto&) { l.format = fpq::int_format(4, 32, false); }, "");  // no zeros
    refused([](auto&, auto& a) { a.passes = -1; }, "passes");
    refused([](auto&, auto& a) { a.damping = -1.0F; }, "damping");
    refused([](auto&, auto& a) { a.damping = std::nanf(""); }, "damping");
    refused([](auto&, auto& a) { a.damping = std::numeric_limits<float>::infinity(); }, "damping");
    refused([](auto&, auto& a) { a.h = nullptr; }, "h");
    auto none = good_layer();
    none.rows = 0;
    none.w = nullptr;
    CHECK(fpq::cuda::check_polish(none, {}).ok());
}
