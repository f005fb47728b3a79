// SPDX-License-Identifier: Apache-2.0
// fpq/solve/codec_lanes.hpp: the loops without branches against codec.hpp, bit for bit.
#include "fpq/solve/codec_lanes.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/format/block.hpp"

namespace {

/// Values that could go wrong under `step`: every code's value, the midpoints above and below it
/// with their neighbours, both zeros, subnormals, infinities, NaN, and random bit patterns.
template <class Element>
std::vector<float> hard_values(float step) {
    std::vector<float> out{0.0F, -0.0F, 1e-45F, -1e-45F, 1e-38F, 3.4e38F};
    for (int code = 0; code < (1 << Element::bits); ++code) {
        float const v = Element::decode(static_cast<std::uint8_t>(code));
        float const next = Element::decode(static_cast<std::uint8_t>(code == 0 ? 0 : code - 1));
        for (float const x : {v, 0.5F * (v + next), 1.5F * v}) {
            auto const bits = fpq::bits_of<std::uint32_t>(x * step);
            for (std::uint32_t const near : {bits - 1u, bits, bits + 1u}) {
                out.push_back(fpq::bits_of<float>(near));
            }
        }
    }
    fpq::philox const source{5, 1};
    for (std::uint64_t i = 0; i < 4000; ++i) {
        out.push_back(fpq::bits_of<float>(source.at(i)));
        out.push_back(step * 4.0F * source.normal_at(i));
    }
    out.push_back(std::numeric_limits<float>::infinity());
    out.push_back(-std::numeric_limits<float>::infinity());
    out.push_back(std::numeric_limits<float>::quiet_NaN());
    out.resize((out.size() + fpq::detail::codec_lanes - 1) / fpq::detail::codec_lanes *
               fpq::detail::codec_lanes);
    return out;
}

template <class Element>
void check_element() {
    using codec = fpq::detail::symmetric_codec<Element>;
    for (float const step : {1.0F, 0.0123F, 0x1p-100F, 3e20F, -0.7F}) {
        auto const values = hard_values<Element>(step);
        std::vector<float> const steps(fpq::detail::codec_lanes, step);
        std::vector<std::uint8_t> const zeros(fpq::detail::codec_lanes, 0);
        for (std::size_t i = 0; i < values.size(); i += fpq::detail::codec_lanes) {
            fpq::detail::rounded_lanes fast;
            fpq::detail::rounded_lanes plain;
            fpq::detail::lane_codec<codec>::round(values.data() + i, steps.data(), zeros.data(),
                                                  fast);
            fpq::detail::round_lanes_plain<codec>(values.data() + i, steps.data(), zeros.data(),
                                                  plain);
            for (std::size_t r = 0; r < fpq::detail::codec_lanes; ++r) {
                INFO("value " << values[i + r] << " step " << step);
                REQUIRE(fast.code[r] == plain.code[r]);
                REQUIRE(fpq::bits_of<std::uint32_t>(fast.value[r]) ==
                        fpq::bits_of<std::uint32_t>(plain.value[r]));
            }
        }
    }
}

}  // namespace

TEST_CASE("rounding many rows at once gives the bits of rounding one", "[solve]") {
    check_element<fpq::e2m1>();
    check_element<fpq::e2m3>();
    check_element<fpq::e3m2>();
    check_element<fpq::e4m3>();
    check_element<fpq::e5m2>();
    check_element<fpq::signed_integer<4>>();
    check_element<fpq::signed_integer<8>>();
}
