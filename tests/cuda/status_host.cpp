// SPDX-License-Identifier: Apache-2.0
// What launchers return, and the sizes that the enums of the wing stand for. Needs no GPU.
#include "fpq/cuda/api/status.hpp"

#include <string>

#include "catch.hpp"
#include "fpq/format/block.hpp"

TEST_CASE("a refused argument says what, expected and found", "[cuda]") {
    fpq::cuda::status const s = fpq::cuda::refuse("quantize: cols", "a multiple of 16", 17);
    REQUIRE_FALSE(s.ok());
    REQUIRE(s.code == fpq::cuda::status_code::invalid_argument);
    REQUIRE(std::string(s.text) == "quantize: cols: expected a multiple of 16, found 17");
    REQUIRE(fpq::cuda::from_cuda(cudaSuccess, "x").ok());
    REQUIRE(fpq::cuda::from_cuda(cudaErrorInvalidValue, "x").code ==
            fpq::cuda::status_code::device);
}

TEST_CASE("groups and code widths of the wing's formats", "[cuda]") {
    using fpq::quant_format;
    REQUIRE(fpq::nvfp4.group == 16);
    REQUIRE(fpq::mxfp4.group == 32);
    REQUIRE(fpq::element_bits(fpq::mxfp8_e4m3.element) == 8);
    REQUIRE(std::string(name_of(fpq::mxfp4)) == "mxfp4");
}
