// SPDX-License-Identifier: Apache-2.0
// Names and widths of the container's tensor types, each written out a second time.
#include "fpq/io/safetensors/dtype.hpp"

#include "catch.hpp"
#include "fpq/core/half.hpp"

namespace {

static_assert(fpq::parse_dtype("BF16") == fpq::dtype::bf16);
static_assert(!fpq::parse_dtype("bf16").has_value());
static_assert(fpq::dtype_bits(fpq::dtype::f4) == 4);

struct dtype_fact {
    fpq::dtype type;
    char const* name;
    std::size_t bits;
};

dtype_fact const facts[] = {{fpq::dtype::boolean, "BOOL", 8},
                            {fpq::dtype::f4, "F4", 4},
                            {fpq::dtype::f6_e2m3, "F6_E2M3", 6},
                            {fpq::dtype::f6_e3m2, "F6_E3M2", 6},
                            {fpq::dtype::u8, "U8", 8},
                            {fpq::dtype::i8, "I8", 8},
                            {fpq::dtype::f8_e5m2, "F8_E5M2", 8},
                            {fpq::dtype::f8_e4m3, "F8_E4M3", 8},
                            {fpq::dtype::f8_e8m0, "F8_E8M0", 8},
                            {fpq::dtype::f8_e4m3fnuz, "F8_E4M3FNUZ", 8},
                            {fpq::dtype::f8_e5m2fnuz, "F8_E5M2FNUZ", 8},
                            {fpq::dtype::i16, "I16", 16},
                            {fpq::dtype::u16, "U16", 16},
                            {fpq::dtype::f16, "F16", 16},
                            {fpq::dtype::bf16, "BF16", 16},
                            {fpq::dtype::i32, "I32", 32},
                            {fpq::dtype::u32, "U32", 32},
                            {fpq::dtype::f32, "F32", 32},
                            {fpq::dtype::c64, "C64", 64},
                            {fpq::dtype::f64, "F64", 64},
                            {fpq::dtype::i64, "I64", 64},
                            {fpq::dtype::u64, "U64", 64}};

}  // namespace

TEST_CASE("every tensor type has its name and width, and the name parses back", "[format]") {
    for (dtype_fact const& fact : facts) {
        INFO(fact.name);
        CHECK(fpq::dtype_name(fact.type) == fact.name);
        CHECK(fpq::dtype_bits(fact.type) == fact.bits);
        CHECK(fpq::parse_dtype(fact.name) == fact.type);
    }
    CHECK(std::size(facts) == std::size(fpq::detail::dtype_table));
}

TEST_CASE("unknown names of tensor types are refused", "[format]") {
    for (char const* name : {"", "F", "f32", "F32 ", "BF160", "Q4_0"}) {
        CHECK_FALSE(fpq::parse_dtype(name).has_value());
    }
}
