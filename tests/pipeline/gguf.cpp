// SPDX-License-Identifier: Apache-2.0
// The line into a GGUF file, beside a compressed-tensors export of the same run: the same codes,
// scales and other tensors, under other names and in the order of rows that the file has.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/dialect/gguf.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/model/load.hpp"
#include "pipeline/line.hpp"
#include "support/files.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::small_run;
using fpq_test::temporary_directory;

namespace {

harness_flags run_into(std::filesystem::path const& place, std::string const& model,
                       format_family family, std::string const& layout) {
    harness_flags f = small_run(family);
    f.model = fpq_test::repo_model(model);
    f.evaluation.perplexity = false;
    f.output.kind = export_kind::realquant;
    f.output.layout = layout;
    f.output.directory = place / (layout == "gguf" ? "g" : "c");
    return f;
}

/// Refuses any difference between the file and the export.
void compare(gguf_file const& file, checkpoint const& other, model_graph const& graph) {
    quantized_source const quantized(other);
    std::size_t compared = 0;
    for (linear_node const& node : graph.linears()) {
        stored_linear const stored = quantized.linear(node.module);
        packed_view const& w = stored.weight;
        gguf_name const name = gguf_name_of(graph, node);
        gguf_tensor const& t = file.at(name.name + ".weight");
        INFO(node.module);
        REQUIRE(t.type == *ggml_type_of(w.format));
        REQUIRE(t.dims == std::vector<std::uint64_t>{node.in, node.out});
        ggml_parts const parts = unpack_ggml(t.type, t.bytes, node.out, node.in);
        std::size_t const codes = w.format.row_bytes(node.in);
        std::size_t const scales = w.format.groups(node.in);
        bool same = true;
        for (std::size_t row = 0; row < node.out; ++row) {
            std::size_t const from = gguf_source_row(row, node.out, name.heads);
            same = same && std::memcmp(parts.codes.data() + row * codes, w.codes + from * codes,
                                       codes) == 0;
            same = same && std::memcmp(parts.scales.data() + row * scales, w.scales + from * scales,
                                       scales) == 0;
        }
        REQUIRE(same);
        if (w.format.has_global) {
            float scale = 0.0F;
            std::memcpy(&scale, file.at(name.name + ".scale").bytes.data(), sizeof scale);
            REQUIRE(scale * w.global_scale == 1.0F);  // both are powers of two
        }
        ++compared;
    }
    REQUIRE(compared == 28);
    tensor_ref const& embedding = other.at(graph.embedding() + ".weight");
    gguf_tensor const& table = file.at("token_embd.weight");
    REQUIRE(table.type == ggml_type::bf16);
    REQUIRE(table.bytes.size() == embedding.bytes.size());
    REQUIRE(std::memcmp(table.bytes.data(), embedding.bytes.data(), table.bytes.size()) == 0);
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        for (norm_node const& norm : graph.norms(layer)) {
            std::vector<float> const values = load_floats(other.at(norm.tensor));
            gguf_tensor const& t = file.at(gguf_name_of(graph, norm.tensor)->name);
            REQUIRE(t.bytes.size() == values.size() * sizeof(float));
            REQUIRE(std::memcmp(t.bytes.data(), values.data(), t.bytes.size()) == 0);
        }
    }
}

void replace_in(std::filesystem::path const& path, std::uint64_t at, char byte) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
}

}  // namespace

TEST_CASE("a GGUF file holds what a compressed-tensors export of the same run does", "[pipeline]") {
    for (std::string const model : {"tiny-llama", "tiny-qwen3"}) {
        for (format_family const family : {format_family::nvfp, format_family::mxfp}) {
            temporary_directory const out;
            for (std::string const layout : {"gguf", "compressed-tensors"}) {
                run_report const report = go(run_into(out.path(), model, family, layout));
                CHECK(report.layout == layout);
            }
            INFO(model << " " << name_of(family));
            checkpoint const other(out.path() / "c");
            gguf_file const file(out.path() / "g" / "model.gguf");
            compare(file, other, model_graph(load_model_config(other, shipped_architectures)));
            CHECK(verify_gguf(file.path()).empty());
            auto const* const tokens =
                find_gguf_array<std::string>(file.metadata(), "tokenizer.ggml.tokens");
            REQUIRE(tokens != nullptr);
            CHECK(tokens->size() == 4096);
            CHECK(*find_gguf<std::string>(file.metadata(), "tokenizer.ggml.pre") ==
                  (model == "tiny-llama" ? "llama-bpe" : "qwen2"));
            CHECK(*find_gguf<std::uint32_t>(file.metadata(), "general.file_type") ==
                  (family == format_family::nvfp ? 39 : 38));
        }
    }
}

TEST_CASE("GPTQ solves alike into a GGUF file, and folded norms are in it", "[pipeline]") {
    temporary_directory const out;
    for (std::string const layout : {"gguf", "compressed-tensors"}) {
        harness_flags f = run_into(out.path(), "tiny-llama", format_family::nvfp, layout);
        f.gptq = true;
        f.smooth = smooth_rule::smoothquant;
        (void)go(f);
    }
    checkpoint const other(out.path() / "c");
    compare(gguf_file(out.path() / "g" / "model.gguf"), other,
            model_graph(load_model_config(other, shipped_architectures)));
}

TEST_CASE("a GGUF file is written anew in its place, and stays beside other weights",
          "[pipeline]") {
    temporary_directory const out;
    harness_flags f = run_into(out.path(), "tiny-llama", format_family::mxfp, "gguf");
    auto const stays = [&] {
        run_report const report = go(f);
        return std::any_of(report.notes.begin(), report.notes.end(), [](std::string const& note) {
            return note.starts_with("model.gguf stays beside");
        });
    };
    CHECK_FALSE(stays());
    CHECK_FALSE(stays());
    f.output.layout = "compressed-tensors";
    CHECK(stays());
    CHECK(std::filesystem::exists(f.output.directory / "model.gguf"));
    CHECK(std::filesystem::exists(f.output.directory / "model.safetensors"));
    f.output.layout = "gguf";
    CHECK_FALSE(stays());
    CHECK_FALSE(std::filesystem::exists(f.output.directory / "model.safetensors"));
}

TEST_CASE("faults of a GGUF file are named", "[pipeline]") {
    temporary_directory const out;
    (void)go(run_into(out.path(), "tiny-llama", format_family::nvfp, "gguf"));
    std::filesystem::path const path = out.path() / "g" / "model.gguf";
    std::uint64_t weight = 0;
    std::uint64_t scale = 0;
    std::uint64_t norm = 0;
    {
        gguf_file const file(path);
        auto const* const begin = file.tensors().front().bytes.data() - file.head_bytes();
        auto const at = [&](char const* name) {
            return static_cast<std::uint64_t>(file.at(name).bytes.data() - begin);
        };
        weight = at("blk.1.attn_v.weight");
        scale = at("blk.1.attn_v.scale");
        norm = at("blk.2.ffn_norm.weight");
    }
    auto const found = [&](std::uint64_t at, char byte) {
        std::filesystem::path const copy = out.path() / "copy.gguf";
        std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
        replace_in(copy, at, byte);
        std::vector<std::string> const lines = verify_gguf(copy);
        return lines.empty() ? std::string() : lines.front();
    };
    CHECK(verify_gguf(path).empty());
    CHECK(found(weight + 2, '\x7F').find("'blk.1.attn_v.weight': scale 2") != std::string::npos);
    CHECK(found(weight + 2, '\x80').find("'blk.1.attn_v.weight': scale 2") != std::string::npos);
    CHECK(found(weight + 37, '\x7F').find("scale 5") != std::string::npos);  // the second block
    CHECK(found(weight + 5, '\x7F').empty());  // codes may be anything
    CHECK(found(scale + 3, '\xFF').find("'blk.1.attn_v.scale'") != std::string::npos);
    CHECK(found(norm + 3, '\x7F').empty());  // large, and finite
    CHECK(found(norm + 2, '\xFF').empty());
    CHECK(found(4, '\x09').find("unsupported GGUF version") != std::string::npos);
}

TEST_CASE("what GGUF cannot hold is refused before anything is written", "[pipeline]") {
    temporary_directory const out;
    auto const refused = [&](harness_flags const& f, std::string const& part) {
        std::string line;
        try {
            (void)go(f);
        } catch (error const& why) {
            line = why.what();
        }
        INFO(line);
        CHECK(line.find(part) != std::string::npos);
        CHECK(std::filesystem::is_empty(out.path()));
    };
    harness_flags const good = run_into(out.path(), "tiny-llama", format_family::nvfp, "gguf");
    harness_flags f = good;
    f.scheme.a_bits = 4;
    refused(f, "--a_bits 16");
    f = good;
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 32;
    refused(f, "transform_class");
    f = good;
    f.output.kind = export_kind::pseudoquant;
    refused(f, "pseudoquant");
    f = good;
    f.output.max_shard_size = 200'000;
    refused(f, "max_shard_size");
    f = good;
    f.scheme.family = format_family::integer;
    f.scheme.w_bits = 4;
    f.scheme.w_group_size = 128;
    refused(f, "int4 in groups of 128");
}
