// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/fp_quant.hpp: golden bytes, pseudoquant as the decode of realquant, config keys,
// and what the dialect cannot hold.
#include "fpq/dialect/fp_quant.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "support/export_fixture.hpp"
#include "support/files.hpp"

using fpq_test::golden_fp_quant_mxfp4;
using fpq_test::golden_nvfp4;
using fpq_test::packed_fixture;
using fpq_test::plan_of;
using fpq_test::temporary_directory;
using fpq_test::write_export;

namespace {

std::string const module = "model.layers.0.self_attn.o_proj";

/// Blocks of 32 around a plain or a rotated weight, rounded as the client rounds.
fpq::scheme how(fpq::quant_format const& format, bool inputs = true,
                fpq::transform_kind kind = fpq::transform_kind::identity) {
    fpq::scheme s = fpq_test::scheme_for(format, inputs, fpq::scale_rule::fp_quant);
    s.transform = {kind, 32, 42};
    return s;
}

/// The value that the golden bytes stand for.
float golden_value(std::size_t i) {
    float const v = (static_cast<float>((i * 37) % 64) - 31.5F) / 8.0F;
    return i >= 32 && i < 48 ? 0.0F : i >= 16 && i < 32 ? v / 16.0F : v;
}

std::vector<std::uint8_t> raw(fpq::tensor_ref const& t) {
    std::vector<std::uint8_t> out(t.bytes.size());
    if (!out.empty()) {
        std::memcpy(out.data(), t.bytes.data(), out.size());
    }
    return out;
}

}  // namespace

TEST_CASE("golden NVFP4 and MXFP4 rows are written as the client reads them", "[io]") {
    for (packed_fixture const& golden : {golden_nvfp4(), golden_fp_quant_mxfp4()}) {
        bool const nv = golden.format == fpq::nvfp4;
        temporary_directory dir;
        std::vector<fpq::linear_record> const records{
            {module, golden.view(), 64.0F, nullptr, nullptr, 0}};
        write_export(dir.path() / "m", fpq::fp_quant, records,
                     plan_of(records, how(golden.format)));
        std::uint64_t const block = nv ? 16 : 32;  // the client's default without a transform
        fpq::checkpoint const read(dir.path() / "m");
        CHECK(raw(read.at(module + ".qweight")) == golden.codes);
        CHECK(raw(read.at(module + ".scales")) == golden.scales);
        CHECK(read.at(module + ".scales").type == fpq::dtype::u8);
        CHECK(read.at(module + ".qweight").shape == std::vector<std::uint64_t>{1, 32});
        CHECK(read.at(module + ".scales").shape == std::vector<std::uint64_t>{1, nv ? 4U : 2U});
        CHECK(read.at(module + ".forward_hadamard_matrix").shape ==
              std::vector<std::uint64_t>{block, block});
        CHECK(fpq::load_floats(read.at(module + ".weight_global_scale"))[0] == golden.global_scale);
        CHECK(fpq::load_floats(read.at(module + ".act_global_scale"))[0] == (nv ? 64.0F : 3.0F));
        CHECK_FALSE(read.contains(module + ".weight"));
        // The bytes decode to the source within half a step of the coarsest code, 1/6 of the amax.
        fpq::packed_view const w = fpq::quantized_source(read).linear(module).weight;
        for (std::size_t i = 0; i < 64; ++i) {
            INFO(i);
            float const amax = i / 16 == 1 ? 0.25F : 4.0F;
            CHECK(std::fabs(w(0, i) - golden_value(i)) <= (nv ? amax : 4.0F) / 6.0F);
        }
    }
}

TEST_CASE("pseudoquant is the bf16 decode of realquant, bit for bit", "[io]") {
    for (fpq::quant_format const& format : {fpq::nvfp4, fpq::mxfp4}) {
        bool const nv = format == fpq::nvfp4;
        packed_fixture const w = fpq_test::random_packed(format, 24, 96, nv ? 517.3F : 3.0F, 7);
        std::vector<float> matrix(32 * 32);
        for (std::size_t i = 0; i < matrix.size(); ++i) {
            matrix[i] = static_cast<float>(i % 7) / 8.0F;
        }
        fpq::linear_record const record{module, w.view(), 96.5F, matrix.data(), nullptr, 32};
        temporary_directory dir;
        fpq::export_plan plan = plan_of({record}, how(format, true, fpq::transform_kind::gsr));
        write_export(dir.path() / "real", fpq::fp_quant, {record}, plan);
        plan.pseudo = true;
        write_export(dir.path() / "pseudo", fpq::fp_quant, {record}, plan);
        fpq::checkpoint const real(dir.path() / "real");
        fpq::checkpoint const pseudo(dir.path() / "pseudo");
        fpq::stored_linear const a = fpq::quantized_source(real).linear(module);
        fpq::stored_linear const b = fpq::quantized_source(pseudo).linear(module);
        CHECK(pseudo.at(module + ".dqweight").type == fpq::dtype::bf16);
        CHECK(b.weight.codes == nullptr);
        REQUIRE(b.dense.size() == 24 * 96);
        for (std::size_t i = 0; i < b.dense.size(); ++i) {
            float const want = fpq::round_to_bf16(a.weight(i / 96, i % 96));
            REQUIRE(std::memcmp(&want, &b.dense[i], 4) == 0);
        }
        CHECK(a.forward_matrix == matrix);
        CHECK(b.forward_matrix == matrix);
        CHECK(a.transform_block == 32);
        CHECK(a.act_global_scale == (nv ? 96.5F : 3.0F));
        CHECK(b.act_global_scale == a.act_global_scale);
        CHECK(a.weight.global_scale == w.global_scale);
        REQUIRE(a.input.has_value());
        CHECK(a.input->format == format);
        CHECK(a.input->rule == fpq::scale_rule::minmax);
        CHECK(a.input->mx == fpq::scale_rule::fp_quant);
    }
}

TEST_CASE("the config has every key of the dialect and keeps the source's", "[io]") {
    nlohmann::json const source = {{"torch_dtype", "float32"}, {"rope_theta", 1e6}, {"x", {1, 2}}};
    fpq::export_plan plan = plan_of({}, how(fpq::mxfp4, true, fpq::transform_kind::hadamard));
    plan.schemes[0].transform.block = 128;
    plan.pseudo = true;
    nlohmann::json const config = fpq::fp_quant.files(plan, source).front().content;
    CHECK(config.at("quantization_config") ==
          nlohmann::json::parse(R"({"quant_method":"fp_quant","forward_dtype":"mxfp4",
            "forward_method":"abs_max","backward_dtype":"bf16","hadamard_group_size":128,
            "modules_to_not_convert":["lm_head"],"pseudoquantization":true,
            "store_master_weights":false,"transform_init":"hadamard"})"));
    CHECK(config.at("torch_dtype") == "bfloat16");
    CHECK(config.at("rope_theta") == 1e6);
    CHECK(config.at("x") == source.at("x"));
    CHECK_FALSE(config.contains("fpq"));
    CHECK_FALSE(config.contains("dtype"));
    plan.schemes[0].input.reset();
    nlohmann::json const a16 = fpq::fp_quant.files(plan, {{"dtype", "float16"}}).front().content;
    CHECK(a16.at("dtype") == "bfloat16");
    CHECK_FALSE(a16.contains("torch_dtype"));
    CHECK(a16.at("fpq").at("activation_bits") == 16);
}

TEST_CASE("W4A16 is read back as such, with a neutral activation global scale", "[io]") {
    temporary_directory dir;
    packed_fixture const golden = golden_fp_quant_mxfp4();
    std::vector<fpq::linear_record> const records{
        {module, golden.view(), 1.0F, nullptr, nullptr, 0}};
    write_export(dir.path() / "m", fpq::fp_quant, records,
                 plan_of(records, how(fpq::mxfp4, false)));
    fpq::checkpoint const read(dir.path() / "m");
    fpq::stored_linear const w = fpq::quantized_source(read).linear(module);
    CHECK_FALSE(w.input.has_value());
    CHECK(w.act_global_scale == 3.0F);  // of E8M0 scales, 1
    CHECK(w.forward_matrix[0] == 1.0F);
    CHECK(w.forward_matrix[1] == 0.0F);
}

TEST_CASE("fp_quant refuses what its clients cannot load, by module", "[io]") {
    packed_fixture const golden = golden_nvfp4();
    fpq::linear_record record{module, golden.view(), 1.0F, nullptr, nullptr, 0};
    fpq::export_plan plan = plan_of({record}, how(fpq::nvfp4));
    auto const refused = [&](std::string const& part) {
        std::optional<fpq::refusal> const why = fpq::refuses(fpq::fp_quant, plan);
        REQUIRE(why.has_value());
        std::string const text =
            why->where + ": expected " + why->expected + ", found " + why->found;
        CHECK_THAT(text, Catch::Contains(part));
    };
    auto const fails = [&](std::string const& part) {
        CHECK_THROWS_WITH(fpq::fp_quant.write(plan, plan.linears[0], record),
                          Catch::Contains(part));
    };
    CHECK_FALSE(fpq::refuses(fpq::fp_quant, plan).has_value());
    CHECK_NOTHROW(fpq::fp_quant.write(plan, plan.linears[0], record));
    SECTION("other formats") {
        for (fpq::quant_format const& f :
             {fpq::int_format(4, 32), fpq::fp4(16), fpq::mxfp8_e4m3, fpq::mxfp6_e2m3}) {
            plan.schemes[0] = how(f);
            refused("expected nvfp4 or mxfp4");
        }
    }
    SECTION("block sizes") {
        plan.schemes[0].transform = {fpq::transform_kind::hadamard, 48, 42};
        refused("16, 32, 64 or 128, found 48");
        plan.schemes[0].transform.block = 128;
        refused(module + ": expected hadamard_group_size to divide the input width");
        plan.schemes[0] = how(fpq::mxfp4);
        plan.schemes[0].transform = {fpq::transform_kind::hadamard, 16, 42};
        refused("32, 64 or 128, found 16");
    }
    SECTION("widths") {
        plan.linears[0].in = 40;
        refused("found 40 inputs, 16");
    }
    SECTION("transforms") {
        plan.schemes[0].transform = {fpq::transform_kind::dct, 32, 42};
        refused("identity, hadamard or gsr, found dct");
        plan.schemes[0].transform.kind = fpq::transform_kind::hadamard;
        fails("a transform matrix of 32");
    }
    SECTION("rules that its clients do not round inputs by") {
        plan.schemes[0].input->rule = fpq::scale_rule::quest;
        refused("expected minmax");
        plan.schemes[0] = how(fpq::mxfp4);
        plan.schemes[0].input->mx = fpq::scale_rule::even;
        refused("mx_rule: expected fp_quant");
        plan.schemes[0] = how(fpq::mxfp4);
        plan.schemes[0].input->rule = fpq::scale_rule::quest;
        CHECK_FALSE(fpq::refuses(fpq::fp_quant, plan).has_value());
        CHECK(fpq::fp_quant.files(plan, {}).front().content["quantization_config"]
                                                           ["forward_method"] == "quest");
    }
    SECTION("scales that are NaN or negative") {
        packed_fixture bad = golden;
        for (int const byte : {0x7F, 0xFF, 0x80, 0xBA}) {
            bad.scales[2] = static_cast<std::uint8_t>(byte);
            record.weight = bad.view();
            fails("scale 2");
        }
    }
    SECTION("global scales") {
        for (float const g : {0.0F, -1.0F, std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
            record.weight.global_scale = g;
            fails("weight global scale");
        }
        record.weight.global_scale = 1.0F;
        record.act_global_scale = 0.0F;
        fails("activation global scale");
    }
    SECTION("MXFP4 with another global scale") {
        packed_fixture mx = golden_fp_quant_mxfp4();
        mx.global_scale = 2.0F;
        plan.schemes[0] = how(fpq::mxfp4);
        record.weight = mx.view();
        fails("global scale of 3 or 1");
        mx.scales[0] = 255;
        mx.global_scale = 3.0F;
        record.weight = mx.view();
        fails("scale 0");
    }
}
