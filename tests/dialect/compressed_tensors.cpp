// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/compressed_tensors.hpp, modelopt.hpp and registry.hpp: golden bytes, config, one
// weight in every dialect, refusals.
#include "fpq/dialect/compressed_tensors.hpp"

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "support/dialects.hpp"
#include "support/export_fixture.hpp"
#include "support/files.hpp"

using fpq_test::packed_fixture;
using fpq_test::plan_of;
using fpq_test::scheme_for;
using fpq_test::temporary_directory;
using fpq_test::write_export;

namespace {

std::string const module = "model.layers.0.self_attn.o_proj";

std::string refused(fpq::dialect const& kind, fpq::export_plan const& plan) {
    std::optional<fpq::refusal> const why = fpq::refuses(kind, plan);
    return why ? why->where + ": expected " + why->expected + ", found " + why->found : "";
}

bool same_bytes(fpq::tensor_ref const& t, std::vector<std::uint8_t> const& want) {
    return t.bytes.size() == want.size() &&
           std::memcmp(t.bytes.data(), want.data(), want.size()) == 0;
}

}  // namespace

TEST_CASE("golden rows are written as compressed-tensors reads them", "[io]") {
    for (packed_fixture const& golden : {fpq_test::golden_nvfp4(), fpq_test::golden_mxfp4()}) {
        for (bool const activations : {false, true}) {
            bool const nv = golden.format == fpq::nvfp4;
            temporary_directory dir;
            std::vector<fpq::linear_record> const records{
                {module, golden.view(), 384.0F, nullptr, nullptr, 0}};
            write_export(dir.path() / "m", fpq::compressed_tensors, records,
                         plan_of(records, scheme_for(golden.format, activations)));
            fpq::checkpoint const read(dir.path() / "m");
            CHECK(same_bytes(read.at(module + ".weight_packed"), golden.codes));
            CHECK(same_bytes(read.at(module + ".weight_scale"), golden.scales));
            CHECK(read.at(module + ".weight_packed").type == fpq::dtype::u8);
            CHECK(read.at(module + ".weight_scale").type ==
                  (nv ? fpq::dtype::f8_e4m3 : fpq::dtype::u8));
            CHECK(read.contains(module + ".weight_global_scale") == nv);
            CHECK(read.contains(module + ".input_global_scale") == (nv && activations));
            fpq::stored_linear const w = fpq::quantized_source(read).linear(module);
            CHECK(w.weight.global_scale == golden.global_scale);
            CHECK(w.input.has_value() == activations);
            CHECK(w.act_global_scale == (nv && activations ? 384.0F : 1.0F));
            CHECK(w.forward_matrix.empty());
            CHECK(w.weight(0, 63) == golden.view()(0, 63));
            CHECK(read.config().at("torch_dtype") == "float16");
            CHECK(fpq_test::findings_of(read, nullptr).empty());
        }
    }
}

TEST_CASE("the compressed-tensors config is the documented one", "[io]") {
    auto const config = [](fpq::export_plan const& plan) {
        return fpq::compressed_tensors.files(plan, {}).front().content.at("quantization_config");
    };
    fpq::export_plan plan = plan_of({}, scheme_for(fpq::nvfp4, true));
    CHECK(config(plan) == nlohmann::json::parse(R"({
      "quant_method": "compressed-tensors", "version": "0.13.0",
      "format": "nvfp4-pack-quantized", "quantization_status": "compressed",
      "global_compression_ratio": null, "kv_cache_scheme": null, "sparsity_config": {},
      "transform_config": {}, "ignore": ["lm_head"],
      "config_groups": {"group_0": {"targets": ["Linear"], "format": "nvfp4-pack-quantized",
        "output_activations": null,
        "weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16,
          "symmetric": true, "dynamic": false, "actorder": null, "block_structure": null,
          "observer": "memoryless_minmax", "observer_kwargs": {},
          "scale_dtype": "torch.float8_e4m3fn", "zp_dtype": null},
        "input_activations": {"num_bits": 4, "type": "float", "strategy": "tensor_group",
          "group_size": 16, "symmetric": true, "dynamic": "local", "actorder": null,
          "block_structure": null, "observer": "static_minmax", "observer_kwargs": {},
          "scale_dtype": "torch.float8_e4m3fn", "zp_dtype": null}}}})"));
    plan = plan_of({}, scheme_for(fpq::nvfp4, false));
    plan.omit_scale_dtype = true;
    nlohmann::json const a16 = config(plan)["config_groups"]["group_0"];
    CHECK(a16.at("input_activations").is_null());
    CHECK_FALSE(a16.at("weights").contains("scale_dtype"));
    plan = plan_of({}, scheme_for(fpq::mxfp4, true));
    plan.omit_scale_dtype = true;
    nlohmann::json const mx = config(plan)["config_groups"]["group_0"];
    CHECK(mx.at("format") == "mxfp4-pack-quantized");
    CHECK(mx.at("weights").at("strategy") == "group");
    CHECK(mx.at("weights").at("group_size") == 32);
    CHECK(mx.at("weights").at("scale_dtype") == "torch.uint8");
    CHECK(mx.at("input_activations").at("dynamic") == true);
}

TEST_CASE("every format of compressed-tensors is read back with its inputs", "[io]") {
    struct row {
        fpq::quant_format weight;
        fpq::quant_format input;
        char const* format;
        char const* codes;
    };
    for (row const& r :
         {row{fpq::nvfp4, fpq::nvfp4, "nvfp4-pack-quantized", ".weight_packed"},
          row{fpq::mxfp4, fpq::mxfp4, "mxfp4-pack-quantized", ".weight_packed"},
          row{fpq::mxfp6_e2m3, fpq::mxfp8_e4m3, "mxfp6-pack-quantized", ".weight_packed"},
          row{fpq::mxfp8_e4m3, fpq::mxfp8_e4m3, "mxfp8-quantized", ".weight"}}) {
        INFO(r.format);
        float const global = r.weight.has_global ? 64.0F : 1.0F;
        packed_fixture w = fpq_test::random_packed(r.weight, 6, 64, global, 5);
        for (std::uint8_t& code : w.codes) {
            code = (code & 0x7F) == 0x7F ? std::uint8_t{0} : code;  // no NaN of E4M3
        }
        fpq::scheme s = scheme_for(r.weight, true);
        s.input->format = r.input;
        temporary_directory dir;
        std::vector<fpq::linear_record> const records{
            {module, w.view(), 256.0F, nullptr, nullptr, 0}};
        write_export(dir.path() / "m", fpq::compressed_tensors, records, plan_of(records, s));
        fpq::checkpoint const read(dir.path() / "m");
        CHECK(read.config()["quantization_config"]["format"] == r.format);
        CHECK(same_bytes(read.at(module + r.codes), w.codes));
        fpq::quantized_source const source(read);
        REQUIRE(source.modules() == std::vector<std::string>{module});
        fpq::stored_linear const back = source.linear(module);
        CHECK(back.weight.format == r.weight);
        REQUIRE(back.input.has_value());
        CHECK(back.input->format == r.input);
        for (std::size_t i = 0; i < 6 * 64; ++i) {
            REQUIRE(back.weight(i / 64, i % 64) == w.view()(i / 64, i % 64));
        }
        CHECK(fpq_test::findings_of(read, nullptr).empty());
    }
}

TEST_CASE("several schemes lie in groups of their own and are read by module", "[io]") {
    packed_fixture const a = fpq_test::random_packed(fpq::nvfp4, 4, 64, 64.0F, 1);
    packed_fixture const b = fpq_test::random_packed(fpq::mxfp4, 4, 64, 1.0F, 2);
    std::string const other = "model.layers.0.mlp.down_proj";
    std::vector<fpq::linear_record> const records{{module, a.view(), 256.0F, nullptr, nullptr, 0},
                                                  {other, b.view(), 1.0F, nullptr, nullptr, 0}};
    fpq::export_plan plan = plan_of(records, scheme_for(fpq::nvfp4, true));
    plan.schemes.push_back(scheme_for(fpq::mxfp4, false));
    plan.linears[1].how = 1;
    temporary_directory dir;
    write_export(dir.path() / "m", fpq::compressed_tensors, records, plan);
    fpq::checkpoint const read(dir.path() / "m");
    nlohmann::json const& q = read.config()["quantization_config"];
    CHECK(q["format"] == "mixed-precision");
    CHECK(q["config_groups"]["group_0"]["targets"] == std::vector<std::string>{module});
    CHECK(q["config_groups"]["group_1"]["targets"] == std::vector<std::string>{other});
    fpq::quantized_source const source(read);
    CHECK(source.linear(module).weight.format == fpq::nvfp4);
    CHECK(source.linear(module).input.has_value());
    CHECK(source.linear(other).weight.format == fpq::mxfp4);
    CHECK_FALSE(source.linear(other).input.has_value());
    CHECK(fpq_test::findings_of(read, nullptr).empty());
    for (fpq::dialect const* const kind : {&fpq::fp_quant, &fpq::modelopt}) {
        CHECK(refused(*kind, plan).find("one scheme for all modules") != std::string::npos);
    }
}

TEST_CASE("one weight decodes to the same bits from every dialect", "[io]") {
    packed_fixture const w = fpq_test::random_packed(fpq::nvfp4, 8, 64, 512.0F, 3);
    std::vector<fpq::linear_record> const records{{module, w.view(), 256.0F, nullptr, nullptr, 0}};
    for (fpq::dialect const* const kind : fpq::dialects) {
        INFO(kind->name);
        temporary_directory dir;
        write_export(dir.path() / "m", *kind, records,
                     plan_of(records, scheme_for(fpq::nvfp4, true)));
        fpq::checkpoint const read(dir.path() / "m");
        fpq::quantized_source const source(read);
        CHECK(source.kind() == kind);
        REQUIRE(source.modules() == std::vector<std::string>{module});
        CHECK_FALSE(source.is_quantized("model.norm"));
        fpq::stored_linear const back = source.linear(module);
        CHECK(back.act_global_scale == 256.0F);
        CHECK(back.weight.global_scale == 512.0F);
        for (std::size_t i = 0; i < 8 * 64; ++i) {
            REQUIRE(back.weight(i / 64, i % 64) == w.view()(i / 64, i % 64));
        }
        CHECK(fpq_test::findings_of(read, nullptr).empty());
    }
}

TEST_CASE("compressed-tensors and modelopt refuse what they cannot hold", "[io]") {
    packed_fixture const mx = fpq_test::golden_fp_quant_mxfp4();
    fpq::linear_record const record{module, mx.view(), 1.0F, nullptr, nullptr, 0};
    fpq::export_plan plan = plan_of({record}, scheme_for(fpq::mxfp4, true));
    CHECK_THROWS_WITH(fpq::compressed_tensors.write(plan, plan.linears[0], record),
                      Catch::Contains("global scale of 1") && Catch::Contains(module));
    CHECK(refused(fpq::modelopt, plan).find("expected nvfp4, found mxfp4") != std::string::npos);
    plan.schemes[0].weight->mx = fpq::scale_rule::fp_quant;
    CHECK(refused(fpq::compressed_tensors, plan).find(": mx_rule: expected even") !=
          std::string::npos);
    plan.schemes[0] = scheme_for(fpq::mxfp4, true);
    plan.schemes[0].input->mx = fpq::scale_rule::fp_quant;
    CHECK(refused(fpq::compressed_tensors, plan).find(": mx_rule: expected even") !=
          std::string::npos);
    for (fpq::dialect const* const kind : {&fpq::compressed_tensors, &fpq::modelopt}) {
        fpq::export_plan const good = plan_of({record}, scheme_for(fpq::nvfp4, true));
        CHECK(refused(*kind, good).empty());
        fpq::export_plan bad = good;
        bad.linears[0].in = 172;
        CHECK(refused(*kind, bad).find("found 172 inputs, 16") != std::string::npos);
        bad = good;
        bad.pseudo = true;
        CHECK(refused(*kind, bad).find("pseudoquant") != std::string::npos);
        bad = good;
        bad.schemes[0].transform.kind = fpq::transform_kind::hadamard;
        CHECK(refused(*kind, bad).find("found hadamard") != std::string::npos);
        bad = good;
        bad.schemes[0].weight->format = fpq::int_format(4, 128);
        CHECK(refused(*kind, bad).find("nvfp4") != std::string::npos);
        bad = good;
        bad.schemes[0].input->rule = fpq::scale_rule::sweep;
        CHECK(refused(*kind, bad).find("a_observer") != std::string::npos);
        bad = good;
        bad.schemes[0].weight.reset();
        CHECK(refused(*kind, bad).find("w_bits 16") != std::string::npos);
    }
    fpq::export_plan head = plan_of({record}, scheme_for(fpq::nvfp4, true));
    head.linears[0].head = true;
    CHECK(refused(fpq::compressed_tensors, head).empty());
    CHECK(refused(fpq::modelopt, head).find("--ignore " + module) != std::string::npos);
}
