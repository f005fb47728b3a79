// SPDX-License-Identifier: Apache-2.0
// What an engine may count on at compile time: constexpr encode and decode, trivially copyable
// descriptions and views, and the sizes of blocks. Static assertions only.
#include <type_traits>

#include "fpq/format.hpp"

static_assert(fpq::e2m1::decode(fpq::e2m1::encode(5.0F)) == 4.0F, "ties go to the even code");
static_assert(fpq::e2m1::encode(100.0F) == fpq::e2m1::max_code);
static_assert(fpq::e4m3::max == 448.0F);
static_assert(fpq::e5m2::max == 57344.0F);
static_assert(fpq::to_float(fpq::to_bf16(1.0F)) == 1.0F);
static_assert(sizeof(fpq::bf16) == 2 && sizeof(fpq::fp16) == 2);
static_assert(std::is_trivially_copyable_v<fpq::quant_format>);
static_assert(std::is_trivially_copyable_v<fpq::packed_view>);
static_assert(std::is_trivially_copyable_v<fpq::matrix_view<float>>);
static_assert(std::is_convertible_v<fpq::matrix_view<float>, fpq::matrix_view<float const>>);
static_assert(!std::is_convertible_v<fpq::matrix_view<float const>, fpq::matrix_view<float>>);
static_assert(fpq::nvfp4.row_bytes(172) == 86 && fpq::nvfp4.groups(172) == 11);
static_assert(fpq::mxfp4.row_bytes(33) == 17 && fpq::mxfp4.groups(33) == 2);
