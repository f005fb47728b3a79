// SPDX-License-Identifier: Apache-2.0
#include "fpq/pipeline/recipe.hpp"

#include "catch.hpp"

using namespace fpq;

namespace {

std::string refusal(recipe r) {
    try {
        settle(r);
    } catch (error const& e) {
        REQUIRE(e.category() == error_category::usage);
        return e.what();
    }
    return {};
}

recipe nv() {
    recipe r;
    r.family = format_family::nvfp;
    return r;
}

}  // namespace

TEST_CASE("nvfp and mxfp force their group and scale and say so", "[pipeline]") {
    recipe r = nv();
    r.w_group_size = 128;
    std::vector<std::string> const notes = settle(r);
    REQUIRE(r.w_group_size == 16);
    REQUIRE(r.a_group_size == 16);
    REQUIRE(r.scale_precision == scale_kind::e4m3);
    REQUIRE(notes.size() == 3);
    REQUIRE(notes[0] == "changed weight group_size to 16 for nvfp");
    REQUIRE(weight_format(r) == nvfp4);

    r.family = format_family::mxfp;
    REQUIRE(settle(r).size() == 3);
    REQUIRE(r.w_group_size == 32);
    REQUIRE(weight_format(r) == mxfp4);
    REQUIRE(settle(r).empty());
}

TEST_CASE("six and eight bits of mxfp choose their element", "[pipeline]") {
    recipe r;
    r.family = format_family::mxfp;
    r.w_bits = 6;
    REQUIRE(weight_format(r) == mxfp6_e2m3);
    r.element = "e3m2";
    REQUIRE(weight_format(r) == mxfp6_e3m2);
    r.w_bits = 8;
    r.element = "auto";
    REQUIRE(weight_format(r) == mxfp8_e4m3);
    r.element = "e5m2";
    REQUIRE(weight_format(r) == mxfp8_e5m2);
}

TEST_CASE("a group size that is not given is the whole row", "[pipeline]") {
    recipe r;
    REQUIRE(weight_format(r).grain == granularity::channel);
    r.w_group_size = 32;
    REQUIRE(weight_format(r) == int_format(4, 32));
    r.w_grain = granularity::tensor;
    REQUIRE(weight_format(r).grain == granularity::tensor);
}

TEST_CASE("impossible recipes are refused by the flag at fault", "[pipeline]") {
    recipe r = nv();
    r.w_bits = 5;
    REQUIRE(refusal(r) == "w_bits: nvfp: expected 4 or 16, found 5");
    r = recipe{};
    r.w_bits = 9;
    REQUIRE(refusal(r).starts_with("w_bits: int"));
    r = nv();
    r.gptq = true;
    REQUIRE(refusal(r).starts_with("dataset_name_or_path: GPTQ"));
    r = nv();
    r.a_bits = 4;
    REQUIRE(refusal(r).starts_with("dataset_name_or_path: nvfp inputs"));
    r = nv();
    r.exported = export_kind::realquant;
    REQUIRE(refusal(r).starts_with("save_path"));
    r.save_path = "x";
    REQUIRE(refusal(r).empty());
    r.exported = export_kind::pseudoquant;
    r.layout = dialect::compressed_tensors;
    REQUIRE(refusal(r).starts_with("export_format: pseudoquant"));
    r = recipe{};
    r.scale_precision = scale_kind::e4m3;
    REQUIRE(refusal(r).starts_with("scale_precision: int"));
    r = recipe{};
    r.exported = export_kind::realquant;
    r.save_path = "x";
    REQUIRE(refusal(r).starts_with("export_quantized_model"));
    r = recipe{};
    r.sequence_length = 1;
    REQUIRE(refusal(r).starts_with("sequence_length"));
    r = recipe{};
    r.rel_damp = -1;
    REQUIRE(refusal(r).starts_with("rel_damp"));
    r = recipe{};
    r.w_group_size = 0;
    REQUIRE(refusal(r).starts_with("w_group_size"));
}

TEST_CASE("the MX rule follows the client that will read the file", "[pipeline]") {
    recipe r;
    r.family = format_family::mxfp;
    REQUIRE(recipe_mx_rule(r) == scale_rule::fp_quant);
    r.exported = export_kind::realquant;
    REQUIRE(recipe_mx_rule(r) == scale_rule::fp_quant);
    r.layout = dialect::compressed_tensors;
    REQUIRE(recipe_mx_rule(r) == scale_rule::even);
}
