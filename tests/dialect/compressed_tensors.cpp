// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/compressed_tensors.hpp, modelopt.hpp and exporter.hpp: golden bytes, config, one
// weight in every dialect, refusals.
#include "fpq/dialect/compressed_tensors.hpp"

#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/dialect/verify.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "support/export_fixture.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq::dialect;
using fpq_test::packed_fixture;
using fpq_test::temporary_directory;
using fpq_test::write_export;

namespace {

std::string const module = "model.layers.0.self_attn.o_proj";

fpq::export_facts facts_of(fpq::quant_format const& format, bool activations) {
    fpq::export_facts facts;
    facts.format = format;
    facts.activations = activations;
    return facts;
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
            write_export(dir.path() / "m", dialect::compressed_tensors,
                         {{module, golden.view(), 384.0F, activations, nullptr, nullptr, 0}},
                         facts_of(golden.format, activations));
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
            CHECK(w.quantizes_input == activations);
            CHECK(w.act_global_scale == (nv && activations ? 384.0F : 1.0F));
            CHECK(w.forward_matrix.empty());
            CHECK(w.weight(0, 63) == golden.view()(0, 63));
            CHECK(read.config().at("torch_dtype") == "float16");
            CHECK(fpq::verify_checkpoint(read).empty());
        }
    }
}

TEST_CASE("the compressed-tensors config is the documented one", "[io]") {
    fpq::export_facts facts = facts_of(fpq::nvfp4, true);
    facts.unquantized_modules = {"lm_head"};
    CHECK(fpq::compressed_tensors_config(facts) == nlohmann::json::parse(R"({
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
    facts.omit_scale_dtype = true;
    facts.activations = false;
    nlohmann::json const a16 = fpq::compressed_tensors_config(facts)["config_groups"]["group_0"];
    CHECK(a16.at("input_activations").is_null());
    CHECK_FALSE(a16.at("weights").contains("scale_dtype"));
    facts.format = fpq::mxfp4;
    facts.activations = true;
    nlohmann::json const mx = fpq::compressed_tensors_config(facts)["config_groups"]["group_0"];
    CHECK(mx.at("format") == "mxfp4-pack-quantized");
    CHECK(mx.at("weights").at("strategy") == "group");
    CHECK(mx.at("weights").at("group_size") == 32);
    CHECK(mx.at("weights").at("scale_dtype") == "torch.uint8");
    CHECK(mx.at("input_activations").at("dynamic") == true);
}

TEST_CASE("one weight decodes to the same bits from every dialect", "[io]") {
    packed_fixture const w = fpq_test::random_packed(fpq::nvfp4, 8, 64, 512.0F, 3);
    fpq::linear_record const record{module, w.view(), 256.0F, true, nullptr, nullptr, 0};
    for (dialect const kind : {dialect::fp_quant, dialect::compressed_tensors, dialect::modelopt}) {
        INFO(fpq::dialect_name(kind));
        temporary_directory dir;
        write_export(dir.path() / "m", kind, {record}, facts_of(fpq::nvfp4, true));
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
        CHECK(fpq::verify_checkpoint(read).empty());
    }
}

TEST_CASE("compressed-tensors and modelopt refuse what they cannot hold", "[io]") {
    packed_fixture const mx = fpq_test::golden_fp_quant_mxfp4();
    fpq::linear_record record{module, mx.view(), 1.0F, true, nullptr, nullptr, 0};
    fpq::export_facts facts = facts_of(fpq::mxfp4, true);
    CHECK_THROWS_WITH(fpq::compressed_tensors_tensors(record, facts),
                      Catch::Contains("global scale of 1") && Catch::Contains(module));
    CHECK_THROWS_WITH(fpq::plan_linear(dialect::modelopt, module, 1, 64, facts, ""),
                      Catch::Contains("expected nvfp4"));
    facts.format = fpq::nvfp4;
    packed_fixture const nv = fpq_test::golden_nvfp4();
    record.weight = nv.view();
    record.has_act = false;
    CHECK_THROWS_WITH(fpq::compressed_tensors_tensors(record, facts),
                      Catch::Contains("an activation global scale"));
    for (dialect const kind : {dialect::compressed_tensors, dialect::modelopt}) {
        CHECK_THROWS_WITH(fpq::plan_linear(kind, module, 4, 172, facts, ""),
                          Catch::Contains("found 172 inputs, 16"));
        fpq::export_facts bad = facts;
        bad.pseudo = true;
        CHECK_THROWS_WITH(fpq::check_export(kind, bad), Catch::Contains("pseudoquant"));
        bad.pseudo = false;
        bad.transform = "hadamard";
        CHECK_THROWS_WITH(fpq::check_export(kind, bad), Catch::Contains("found hadamard"));
        bad.transform = "identity";
        bad.format = fpq::int_format(4, 128);
        CHECK_THROWS_WITH(fpq::check_export(kind, bad), Catch::Contains("nvfp4"));
    }
}

TEST_CASE("dialect names are read with either separator", "[io]") {
    CHECK(fpq::parse_dialect("compressed_tensors") == dialect::compressed_tensors);
    CHECK(fpq::parse_dialect("compressed-tensors") == dialect::compressed_tensors);
    CHECK(fpq::parse_dialect("fp_quant") == dialect::fp_quant);
    CHECK_FALSE(fpq::parse_dialect("gguf").has_value());
}

TEST_CASE("the list of unquantized linears comes from the plan", "[io]") {
    std::vector<fpq::tensor_plan> const plan{
        {"model.embed_tokens.weight", fpq::dtype::bf16, {8, 4}, ""},
        {"model.layers.0.mlp.up_proj.weight", fpq::dtype::bf16, {8, 4}, ""},
        {"model.layers.0.input_layernorm.weight", fpq::dtype::bf16, {4}, ""},
        {"model.layers.0.mlp.down_proj.weight_packed", fpq::dtype::u8, {8, 4}, ""}};
    CHECK(fpq::unquantized_linears(plan) ==
          std::vector<std::string>{"model.layers.0.mlp.up_proj", "lm_head"});
}
