// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/verify.hpp and the refusals of dialect/quantized_source.hpp: each fault that an
// engine would load in silence is put into a good export, and must be named.
#include "fpq/dialect/quantized_source.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/config.hpp"
#include "support/dialects.hpp"
#include "support/export_fixture.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq_test::packed_fixture;
using fpq_test::temporary_directory;

namespace {

std::string const q = "model.layers.0.self_attn.q_proj";
std::string const k = "model.layers.0.self_attn.k_proj";
std::string const v = "model.layers.0.self_attn.v_proj";

struct exported {
    temporary_directory dir;
    packed_fixture weight = fpq_test::random_packed(fpq::nvfp4, 4, 64, 512.0F, 1);
    std::vector<fpq::linear_record> records;
    bool pseudo = false;

    exported() {
        for (std::string const& name : {q, k, v}) {
            records.push_back({name, weight.view(), 256.0F, nullptr, nullptr, 0});
        }
    }
    std::filesystem::path write(fpq::dialect const& kind) {
        fpq::export_plan plan = fpq_test::plan_of(records, fpq_test::scheme_for(fpq::nvfp4, true));
        plan.pseudo = pseudo;
        return fpq_test::write_export(dir.path() / "m", kind, records, plan);
    }
};

std::vector<std::string> findings(std::filesystem::path const& dir) {
    return fpq_test::findings_of(fpq::checkpoint(dir), nullptr);
}

/// With the graph of a Llama of one layer whose q, k and v have the shapes of `exported`.
std::vector<std::string> graph_findings(std::filesystem::path const& dir) {
    fpq::model_config config;
    config.family = &fpq::families::llama;
    config.hidden_size = 64;
    config.intermediate_size = 64;
    config.layers = 1;
    config.heads = config.kv_heads = 1;
    config.head_dim = 4;
    config.vocab_size = 4;
    config.tied_head = true;
    fpq::model_graph const graph(config);
    return fpq_test::findings_of(fpq::checkpoint(dir), &graph);
}

fpq::model_config config_of(fpq::checkpoint const& source) {
    return fpq::read_model_config(source.config(), "config.json", fpq::shipped_architectures);
}

bool names(std::vector<std::string> const& lines, std::string const& part) {
    for (std::string const& line : lines) {
        UNSCOPED_INFO(line);
        if (line.find(part) != std::string::npos) {
            return true;
        }
    }
    return false;
}

void edit_config(std::filesystem::path const& dir,
                 std::function<void(nlohmann::json&)> const& edit) {
    nlohmann::json config = nlohmann::json::parse(fpq_test::read_text(dir / "config.json"));
    edit(config);
    fpq_test::write_text(dir / "config.json", config.dump());
}

/// Overwrites bytes of a tensor in place.
void patch(std::filesystem::path const& dir, std::string const& tensor, std::size_t at,
           std::string const& bytes) {
    std::filesystem::path const file = dir / "model.safetensors";
    std::size_t offset = 0;
    {
        fpq::safetensors_file const read(file);
        std::byte const* const first = read.tensors().front().bytes.data();
        std::byte const* const last = read.tensors().back().bytes.data();
        for (fpq::tensor_ref const& t : read.tensors()) {
            if (t.name == tensor) {
                offset = static_cast<std::size_t>(t.bytes.data() - first);
            }
        }
        offset += std::filesystem::file_size(file) - read.tensors().back().bytes.size() -
                  static_cast<std::size_t>(last - first);
    }
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(offset + at));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Writes the tensors of a checkpoint again, edited, into one file.
void rewrite(std::filesystem::path const& dir,
             std::function<bool(fpq_test::raw_tensor&)> const& keep) {
    std::vector<fpq_test::raw_tensor> tensors;
    {
        fpq::checkpoint const read(dir);
        for (std::string const& name : read.names()) {
            fpq::tensor_ref const& t = read.at(name);
            fpq_test::raw_tensor raw{
                t.name, t.type, t.shape,
                std::string(reinterpret_cast<char const*>(t.bytes.data()), t.bytes.size())};
            if (keep(raw)) {
                tensors.push_back(raw);
            }
        }
    }
    fpq_test::write_text(dir / "model.safetensors", fpq_test::safetensors_bytes(tensors));
}

}  // namespace

TEST_CASE("sound exports of every dialect and plain checkpoints have no findings", "[io]") {
    for (fpq::dialect const* const kind : fpq::dialects) {
        exported e;
        CHECK(findings(e.write(*kind)).empty());
    }
    temporary_directory dir;
    fpq::checkpoint const plain(fpq_test::make_tiny_checkpoint(dir.path() / "plain", {}));
    fpq::model_graph const graph(config_of(plain));
    CHECK(fpq_test::findings_of(plain, &graph).empty());
}

TEST_CASE("unequal scalars of fused modules are named", "[io]") {
    for (fpq::dialect const* const kind : {&fpq::fp_quant, &fpq::compressed_tensors}) {
        exported e;
        e.records[1].weight.global_scale = 256.0F;
        e.records[2].act_global_scale = 128.0F;
        auto const lines = graph_findings(e.write(*kind));
        CHECK(names(lines, "'" + k + "': unequal weight global scales"));
        CHECK(names(lines, "'" + v + "': unequal activation global scales"));
    }
}

TEST_CASE("a fused module that is quantized alone is named, and one that nobody lists", "[io]") {
    exported e;
    e.records.pop_back();
    CHECK(names(graph_findings(e.write(fpq::compressed_tensors)), v + "': only one is quantized"));
    rewrite(e.dir.path() / "m", [](fpq_test::raw_tensor& t) {
        if (t.name == "model.norm.weight") {
            t = {v + ".weight", fpq::dtype::bf16, {4, 64}, std::string(512, '\0')};
        }
        return true;
    });
    CHECK(names(findings(e.dir.path() / "m"), v + "': neither quantized nor listed"));
    edit_config(e.dir.path() / "m", [](nlohmann::json& c) {
        c["quantization_config"]["ignore"] = {"re:.*self_attn.*", "lm_head"};
    });
    auto const lines = findings(e.dir.path() / "m");
    CHECK_FALSE(names(lines, "neither quantized"));
    CHECK(names(lines, q + "': quantized but listed"));
}

TEST_CASE("the list is read in each dialect's spelling, and what cannot be read is named", "[io]") {
    auto const with_ignored = [](fpq::dialect const& kind, char const* entry) {
        exported e;
        std::filesystem::path const at = e.write(kind);
        edit_config(at, [entry](nlohmann::json& c) {
            c["quantization_config"]["ignore"] = {entry, "lm_head"};
        });
        return findings(at);
    };
    std::string const listed = q + "': quantized but listed";
    CHECK(names(with_ignored(fpq::modelopt, "model.*.q_proj"), listed));
    CHECK_FALSE(names(with_ignored(fpq::compressed_tensors, "model.*.q_proj"), listed));
    CHECK_FALSE(names(with_ignored(fpq::compressed_tensors, "re:q_proj"), listed));
    CHECK(names(with_ignored(fpq::compressed_tensors, "re:.*("),
                "pattern 're:.*(' is not understood: byte 6"));
}

TEST_CASE("NaN and negative scale bytes are named by tensor and byte", "[io]") {
    for (char const byte : {'\x7f', '\xff', '\x81'}) {
        exported e;
        std::filesystem::path const at = e.write(fpq::fp_quant);
        patch(at, k + ".scales", 5, std::string(1, byte));
        CHECK(names(findings(at), "tensor '" + k + ".scales': byte 5"));
        fpq::checkpoint const read(at);
        CHECK_THROWS_WITH(fpq::quantized_source(read).linear(k),
                          Catch::Contains("bad block scale"));
    }
    exported e;
    e.pseudo = true;
    std::filesystem::path const at = e.write(fpq::fp_quant);
    patch(at, k + ".dqweight", 2, std::string("\xc0\x7f", 2));
    CHECK(names(findings(at), "tensor '" + k + ".dqweight': element 1"));
}

TEST_CASE("global scales that are zero, infinite or no bf16 value are named", "[io]") {
    exported e;
    std::filesystem::path const at = e.write(fpq::fp_quant);
    patch(at, k + ".weight_global_scale", 0, std::string(4, '\0'));
    patch(at, v + ".act_global_scale", 0, std::string("\x00\x00\x80\x7f", 4));
    patch(at, q + ".weight_global_scale", 0, std::string("\x01\x00\x80\x3f", 4));
    auto const lines = findings(at);
    CHECK(names(lines, k + ".weight_global_scale': expected a finite positive"));
    CHECK(names(lines, v + ".act_global_scale': expected a finite positive"));
    CHECK(names(lines, "warning: module '" + q));
}

TEST_CASE("missing, misshapen and left-over tensors are named", "[io]") {
    exported e;
    std::filesystem::path const at = e.write(fpq::fp_quant);
    rewrite(at, [](fpq_test::raw_tensor& t) {
        if (t.name == q + ".scales") {
            t.shape = {8, 2};
        }
        if (t.name == v + ".scales") {
            t.type = fpq::dtype::i8;
        }
        return t.name != k + ".qweight" && t.name != v + ".forward_hadamard_matrix";
    });
    auto const lines = findings(at);
    CHECK(names(lines, q + ".scales': expected [4, 4], found [8, 2]"));
    CHECK(names(lines, k + ".scales' belongs to no quantized module"));
    CHECK(names(lines, v + ".scales': expected U8, found I8"));
}

TEST_CASE("stale shards and foreign config files are named", "[io]") {
    exported e;
    std::filesystem::path const at = e.write(fpq::fp_quant);
    fpq_test::write_text(at / "model-00001-of-00002.safetensors", "old");
    fpq_test::write_text(at / "hf_quant_config.json", "{}");
    auto const lines = findings(at);
    CHECK(names(lines, "stale shard model-00001-of-00002.safetensors"));
    CHECK(names(lines, "hf_quant_config.json stands beside another dialect"));
}

TEST_CASE("shapes that disagree with the model's config are named", "[io]") {
    temporary_directory dir;
    fpq_test::tiny_checkpoint_options options;
    options.edit = [](fpq_test::raw_tensor& t) {
        if (t.name == "model.layers.1.self_attn.k_proj.weight") {
            t.shape = {64, 32};
        }
        if (t.name == "model.layers.0.mlp.up_proj.weight") {
            t.name = "model.layers.0.mlp.renamed.weight";
        }
    };
    fpq::checkpoint const read(fpq_test::make_tiny_checkpoint(dir.path() / "m", options));
    fpq::model_graph const graph(config_of(read));
    auto const lines = fpq_test::findings_of(read, &graph);
    CHECK(names(lines, "layers.1.self_attn.k_proj': expected [32, 64], found [64, 32]"));
    CHECK(names(lines, "layers.0.mlp.up_proj': expected its tensors, found none"));
}

TEST_CASE("dialects and variants that we do not read are refused by config key", "[io]") {
    struct row {
        fpq::dialect const* kind;
        char const* pointer;
        nlohmann::json value;
        char const* part;
    };
    for (row const& r : std::vector<row>{
             {&fpq::fp_quant, "/quant_method", "gptq", "found \"gptq\""},
             {&fpq::fp_quant, "/forward_dtype", "mxfp8", "nvfp4 or mxfp4"},
             {&fpq::fp_quant, "/forward_method", "quest", "forward_method"},
             {&fpq::fp_quant, "/hadamard_group_size", "x", "hadamard_group_size"},
             {&fpq::fp_quant, "/hadamard_group_size", 0, "hadamard_group_size"},
             {&fpq::fp_quant, "/modules_to_not_convert", 3, "modules_to_not_convert"},
             {&fpq::compressed_tensors, "/config_groups/group_0/format", "pack-quantized",
              "format"},
             {&fpq::compressed_tensors, "/config_groups", nullptr, "at least one group"},
             {&fpq::compressed_tensors, "/config_groups/group_0/weights/num_bits", 8, "4-bit"},
             {&fpq::compressed_tensors, "/transform_config", {{"a", 1}}, "transform_config"},
             {&fpq::modelopt, "/quant_algo", "FP8", "quant_algo"}}) {
        exported e;
        std::filesystem::path const at = e.write(*r.kind);
        edit_config(at, [&](nlohmann::json& c) {
            c["quantization_config"][nlohmann::json::json_pointer(r.pointer)] = r.value;
        });
        fpq::checkpoint const read(at);
        INFO(r.pointer);
        CHECK_THROWS_WITH(fpq::quantized_source(read), Catch::Contains(r.part));
    }
    exported e;
    std::filesystem::path const at = e.write(fpq::fp_quant);
    fpq::checkpoint const read(at);
    CHECK_THROWS_WITH(fpq::quantized_source(read).linear("model.norm"),
                      Catch::Contains("not a quantized linear"));
}
