// SPDX-License-Identifier: Apache-2.0
// A dense family that the library does not know, as a table of this file: other names, norms behind
// the blocks instead of before them, q/k/v and gate/up stored fused. Everything else is the
// library's.
#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "pipeline/models.hpp"
#include "support/dialects.hpp"
#include "support/gaussian.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::temporary_directory;

namespace {

// --- the family ---
constexpr std::array<linear_row, 4> rows{{
    {"blocks.{layer}.attn.qkv",
     tap::attention_input,
     {part::q, part::k, part::v},
     3,
     bias_rule::always,
     ""},
    {"blocks.{layer}.attn.out", tap::attention_output, {part::o}, 1, bias_rule::never, ""},
    {"blocks.{layer}.ffn.gate_up", tap::mlp_input, {part::gate, part::up}, 2, bias_rule::never, ""},
    {"blocks.{layer}.ffn.down", tap::mlp_middle, {part::down}, 1, bias_rule::never, ""},
}};
constexpr std::array<norm_row, 2> norms{{
    {"blocks.{layer}.attn_post_norm", norm_place::attention_output},
    {"blocks.{layer}.ffn_post_norm", norm_place::mlp_output},
}};
constexpr architecture own = [] {
    architecture a;
    a.model_type = "post-normed";
    a.linears = rows;
    a.norms = norms;
    a.embedding = "tokens";
    a.final_norm = "last_norm";
    a.head = "output";
    a.keys.hidden_size = "d_model";
    a.keys.layers = "n_layers";
    return a;
}();
constexpr std::array<architecture const*, 1> known{&own};
// --- the end of it ---

/// A random checkpoint of the family with tiny-llama's tokenizer.
std::filesystem::path make_checkpoint(std::filesystem::path const& at) {
    std::filesystem::create_directories(at);
    std::filesystem::path const donor = fpq_test::repo_model("tiny-llama");
    std::filesystem::copy_file(donor / "tokenizer.json", at / "tokenizer.json");
    std::filesystem::copy_file(donor / "tokenizer_config.json", at / "tokenizer_config.json");
    nlohmann::json const llama = nlohmann::json::parse(fpq_test::read_text(donor / "config.json"));
    nlohmann::json const config{{"model_type", "post-normed"},
                                {"architectures", {"Post-NormedForCausalLM"}},
                                {"d_model", 64},
                                {"intermediate_size", 96},
                                {"n_layers", 2},
                                {"num_attention_heads", 4},
                                {"num_key_value_heads", 2},
                                {"vocab_size", llama.at("vocab_size")}};
    fpq_test::write_text(at / "config.json", config.dump());
    model_graph const graph(read_model_config(config, "config.json", known));
    std::vector<fpq_test::raw_tensor> tensors;
    auto const add = [&](std::string const& name, std::vector<std::uint64_t> const& shape,
                         float deviation, float mean) {
        std::size_t count = 1;
        for (std::uint64_t const extent : shape) {
            count *= extent;
        }
        std::string bytes;
        for (float const x : fpq_test::gaussian(count, 11, tensors.size(), deviation, mean)) {
            std::uint16_t const bits = to_bf16(x).bits;
            bytes += static_cast<char>(bits & 0xFF);
            bytes += static_cast<char>(bits >> 8);
        }
        tensors.push_back({name, dtype::bf16, shape, bytes});
    };
    std::uint64_t const vocab = graph.config().vocab_size;
    add(graph.embedding() + ".weight", {vocab, 64}, 1.0F, 0.0F);
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        for (linear_node const& node : graph.layer(layer)) {
            add(node.weight(), {node.out, node.in}, 1.0F / std::sqrt(static_cast<float>(node.in)),
                0.0F);
            if (node.bias) {
                add(node.bias_name(), {node.out}, 0.1F, 0.0F);
            }
        }
        for (norm_node const& norm : graph.norms(layer)) {
            add(norm.tensor, {norm.width}, 0.1F, 0.3F);
        }
    }
    add(graph.final_norm(), {64}, 0.1F, 1.0F);
    add(graph.head().weight(), {vocab, 64}, 0.3F, 0.0F);
    fpq_test::write_text(at / "model.safetensors", fpq_test::safetensors_bytes(tensors));
    return at;
}

}  // namespace

TEST_CASE("a family of one's own is quantized, written in two layouts, verified and evaluated",
          "[pipeline]") {
    temporary_directory const dir;
    harness_flags f = fpq_test::small_run(format_family::nvfp);
    f.model = make_checkpoint(dir.path() / "model");
    f.scheme.a_bits = 4;
    f.calibration.num_sequences = 4;
    f.calibration.sequence_length = 48;
    f.ignore = std::vector<std::string>{"output"};
    std::vector<std::string> notes;
    f.gptq = true;
    f.order = quant_order::activation;
    for (char const* const layout : {"compressed-tensors", "fp_quant"}) {
        f.output = {export_kind::realquant, layout, dir.path() / layout, 1 << 20};
        run_report const report = go(recipe_of(f, notes), known);
        INFO(layout);
        CHECK(report.linears.size() == 8);
        CHECK(report.linears[0].module == "blocks.0.attn.qkv");
        CHECK(report.linears[0].rows == 64 + 2 * 32);
        REQUIRE(report.evaluation.has_value());
        CHECK(report.evaluation->kl_mean > 0.0);
        CHECK(report.linears[0].relative_error.has_value());
        for (std::string const& note : report.notes) {
            INFO(note);
            CHECK_FALSE(note.starts_with("verify: "));
        }
        cpu const b{2};
        fpq_test::model_on_cpu const written(b, f.output.directory, known);
        fpq_test::model_on_cpu const original(b, f.model, known);
        CHECK(written.is_quantized());
        CHECK(fpq_test::findings_of(written.source(), &written.graph()).empty());
        evaluation_text const text{f.evaluation.texts, 48, 0, f.evaluation.windows, true};
        eval_result const again =
            evaluate_models(b, written, &original, evaluation_windows(original, text),
                            fpq_test::no_progress)
                .result;
        CHECK(std::fabs(again.kl_mean - report.evaluation->kl_mean) < 1e-6);
    }
}

TEST_CASE("an unknown family is refused by the families that are known", "[pipeline]") {
    temporary_directory const dir;
    std::filesystem::path const at = make_checkpoint(dir.path() / "model");
    REQUIRE_THROWS_WITH(
        fpq_test::model_on_cpu(cpu{1}, at, shipped_architectures),
        Catch::Contains("model_type: expected llama, mistral, qwen2 or qwen3, found "
                        "\"post-normed\""));
}
