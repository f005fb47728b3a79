// SPDX-License-Identifier: Apache-2.0
// Sizes of the owning matrix and that its view points into it.
#include "fpq/quant/packed_matrix.hpp"

#include "catch.hpp"

TEST_CASE("make_packed reserves what the format says", "[quant]") {
    fpq::packed_matrix const nv = fpq::make_packed(fpq::nvfp4, 3, 172, 512.0F);
    REQUIRE(nv.codes.size() == 3 * 86);
    REQUIRE(nv.scales.size() == 3 * 11);
    REQUIRE(nv.zeros.empty());
    REQUIRE(nv.view().zeros == nullptr);
    REQUIRE(nv.view().codes == nv.codes.data());
    REQUIRE(nv.view().global_scale == 512.0F);

    fpq::packed_matrix const asym = fpq::make_packed(fpq::int_format(3, 32, false), 2, 172, 1.0F);
    REQUIRE(asym.codes.size() == 2 * 65);
    REQUIRE(asym.scales.size() == 2 * 6 * 2);
    REQUIRE(asym.zeros.size() == 2 * 6);
    REQUIRE(asym.view().zeros == asym.zeros.data());

    fpq::packed_matrix const one =
        fpq::make_packed(fpq::fp4(0, fpq::granularity::tensor), 5, 7, 1.0F);
    REQUIRE(one.scales.size() == 2);
    REQUIRE(one.codes.size() == 5 * 4);
}
