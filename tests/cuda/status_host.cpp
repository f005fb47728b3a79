// SPDX-License-Identifier: Apache-2.0
// What launchers return, and the sizes that the enums of the wing stand for. Needs no GPU.
#include "fpq/cuda/api/status.hpp"

#include <string>

#include "catch.hpp"
#include "fpq/cuda/api/types.hpp"

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
    using fpq::cuda::block_format;
    REQUIRE(fpq::cuda::group_of(block_format::nvfp4) == 16);
    REQUIRE(fpq::cuda::group_of(block_format::mxfp4) == 32);
    REQUIRE(fpq::cuda::code_bits(block_format::mxfp8) == 8);
    REQUIRE(std::string(name_of(block_format::mxfp4)) == "mxfp4");
}
