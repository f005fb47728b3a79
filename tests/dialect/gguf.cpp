// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/gguf*.hpp: the bytes of blocks, names, the order of rows, metadata, rotary
// factors, and what the layout refuses by name.
#include "fpq/dialect/gguf.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/dialect/layouts.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "support/export_fixture.hpp"
#include "support/files.hpp"

using fpq::ggml_type;
using fpq_test::packed_fixture;
using fpq_test::temporary_directory;

namespace {

std::string const base = "model.layers.0.self_attn.";

fpq::model_config config_of(fpq::architecture const& family) {
    fpq::model_config c;
    c.family = &family;
    c.hidden_size = 64;
    c.intermediate_size = 128;
    c.layers = 2;
    c.heads = 4;
    c.kv_heads = 2;
    c.head_dim = 16;
    c.vocab_size = 8;
    c.max_position = 128;
    return c;
}

/// A plan of one linear of a model.
fpq::export_plan plan_for(fpq::model_config const& config, std::string const& module,
                          fpq::scheme const& how) {
    auto graph = std::make_shared<fpq::model_graph const>(config);
    fpq::linear_node const& node = *fpq::find_linear(*graph, module);
    fpq::export_plan plan;
    plan.schemes = {how};
    plan.linears = {{module, node.group, node.out, node.in, 0, node.layer == graph->layers()}};
    plan.graph = std::move(graph);
    return plan;
}

fpq::scheme weights(fpq::quant_format const& format) { return fpq_test::scheme_for(format, false); }

std::string refused(fpq::export_plan const& plan) {
    auto const why = fpq::refuses(fpq::gguf, plan);
    return why ? why->where + ": " + why->expected + ", found " + why->found : "";
}

bool has(std::string const& line, std::string const& part) {
    INFO(line);
    bool const found = line.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

std::vector<std::uint8_t> from_hex(std::string const& text) {
    std::vector<std::uint8_t> out;
    for (std::size_t i = 0; i < text.size(); i += text[i] == ' ' ? 1 : 2) {
        if (text[i] != ' ') {
            out.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
        }
    }
    return out;
}

std::vector<std::uint8_t> row_of(packed_fixture const& w, std::size_t row) {
    std::vector<std::uint8_t> out(fpq::ggml_row_bytes(*fpq::ggml_type_of(w.format), w.cols));
    fpq::pack_ggml_row(w.view(), row, out.data());
    return out;
}

}  // namespace

TEST_CASE("the golden rows have the blocks that ggml decodes", "[io]") {
    CHECK(row_of(fpq_test::golden_nvfp4(), 0) ==
          from_hex("7a5a007a 3fe26eb57c17f94f 6d96fa37e26ec57c 0000000000000000 b57c17e84fd46ea6"));
    packed_fixture floor{
        fpq::mxfp4,
        1,
        64,
        from_hex("3f6f7df9e4c6175f18189080810919180000000000000000d6874f6e7cf1e5a7"),
        from_hex("7e 7e"),
        1.0F};
    CHECK(row_of(floor, 0) == from_hex("7e 8f138f160d97098f148e960c97118f15"
                                       "7e 60d07080f040e060c07010f050e070a0"));
}

TEST_CASE("integers have Q8_0 and Q4_0 blocks with their scale in front", "[io]") {
    packed_fixture w{fpq::int_format(8, 32), 1,   32, std::vector<std::uint8_t>(32, 3),
                     {0x00, 0x3C},           1.0F};
    w.codes[1] = 0x80;
    std::vector<std::uint8_t> block = row_of(w, 0);
    REQUIRE(block.size() == 34);
    CHECK(block[0] == 0x00);
    CHECK(block[1] == 0x3C);
    CHECK(block[2] == 3);
    CHECK(block[3] == 0x80);
    packed_fixture four{fpq::int_format(4, 32), 1,   32, std::vector<std::uint8_t>(16, 0),
                        {0x00, 0x3C},           1.0F};
    four.codes[0] = 0x87;  // 7 and -8
    four.codes[8] = 0x0F;  // -1, of value 16
    block = row_of(four, 0);
    REQUIRE(block.size() == 18);
    CHECK(block[2] == 0x7F);  // 7 + 8, and above it value 16: -1 + 8
    CHECK(block[3] == 0x80);  // -8 + 8, and 0 + 8
}

TEST_CASE("blocks are taken apart into what they were made of", "[io]") {
    for (fpq::quant_format const& format :
         {fpq::nvfp4, fpq::mxfp4, fpq::int_format(8, 32), fpq::int_format(4, 32)}) {
        packed_fixture w = fpq_test::random_packed(format, 3, 128, 1.0F, 7);
        w.scales.resize(format.scale_count(3, 128) * format.scale_bytes_each(), 0x3C);
        ggml_type const type = *fpq::ggml_type_of(format);
        std::vector<std::uint8_t> bytes;
        for (std::size_t row = 0; row < w.rows; ++row) {
            std::vector<std::uint8_t> const one = row_of(w, row);
            bytes.insert(bytes.end(), one.begin(), one.end());
        }
        fpq::ggml_parts const parts =
            fpq::unpack_ggml(type, std::as_bytes(std::span(bytes)), w.rows, w.cols);
        INFO(fpq::ggml_type_name(type));
        CHECK(parts.codes == w.codes);
        CHECK(parts.scales == w.scales);
    }
}

TEST_CASE("tensors have the names of GGUF", "[io]") {
    fpq::model_graph const llama(config_of(fpq::families::llama));
    fpq::model_graph const qwen(config_of(fpq::families::qwen3));
    auto const name = [](fpq::model_graph const& graph, std::string const& tensor) {
        auto const found = fpq::gguf_name_of(graph, tensor);
        return found ? found->name + "/" + std::to_string(found->heads) : "none";
    };
    CHECK(name(llama, "model.embed_tokens.weight") == "token_embd.weight/0");
    CHECK(name(llama, "model.norm.weight") == "output_norm.weight/0");
    CHECK(name(llama, "lm_head.weight") == "output.weight/0");
    CHECK(name(llama, "model.layers.1.input_layernorm.weight") == "blk.1.attn_norm.weight/0");
    CHECK(name(llama, "model.layers.1.post_attention_layernorm.weight") ==
          "blk.1.ffn_norm.weight/0");
    CHECK(name(llama, base + "q_proj.weight") == "blk.0.attn_q.weight/4");
    CHECK(name(llama, base + "k_proj.bias") == "blk.0.attn_k.bias/2");
    CHECK(name(llama, base + "v_proj.weight") == "blk.0.attn_v.weight/0");
    CHECK(name(llama, base + "o_proj.weight") == "blk.0.attn_output.weight/0");
    CHECK(name(qwen, "model.layers.1.mlp.gate_proj.weight") == "blk.1.ffn_gate.weight/0");
    CHECK(name(qwen, "model.layers.1.mlp.up_proj.weight") == "blk.1.ffn_up.weight/0");
    CHECK(name(qwen, "model.layers.1.mlp.down_proj.weight") == "blk.1.ffn_down.weight/0");
    CHECK(name(qwen, base + "q_proj.weight") == "blk.0.attn_q.weight/0");
    CHECK(name(qwen, base + "q_norm.weight") == "blk.0.attn_q_norm.weight/0");
    CHECK(name(qwen, base + "k_norm.weight") == "blk.0.attn_k_norm.weight/0");
    CHECK(name(qwen, "score.weight") == "none");
}

TEST_CASE("rows of Llama's queries and keys are in pairs of neighbours", "[io]") {
    // One head of 6: rows 0 and 3 rotate together.
    std::vector<std::size_t> rows;
    for (std::size_t row = 0; row < 12; ++row) {
        rows.push_back(fpq::gguf_source_row(row, 12, 2));
    }
    CHECK(rows == std::vector<std::size_t>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11});
    CHECK(fpq::gguf_source_row(7, 12, 0) == 7);

    packed_fixture const w = fpq_test::random_packed(fpq::nvfp4, 64, 64, 512.0F, 3);
    for (auto const* family : {&fpq::families::llama, &fpq::families::qwen3}) {
        std::string const module = base + "q_proj";
        fpq::export_plan const plan = plan_for(config_of(*family), module, weights(fpq::nvfp4));
        CHECK(refused(plan).empty());
        std::vector<fpq::tensor_data> const written =
            fpq::gguf.write(plan, plan.linears[0], {module, w.view()});
        std::vector<fpq::tensor_plan> const planned = fpq::gguf.tensors(plan, plan.linears[0]);
        REQUIRE(written.size() == 2);
        REQUIRE(planned.size() == 2);
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(written[i].name == planned[i].name);
            CHECK(written[i].type == planned[i].type);
            CHECK(written[i].shape == planned[i].shape);
            CHECK(written[i].bytes.size() == planned[i].byte_count());
        }
        // Row 1 of a head of 16.
        std::vector<std::uint8_t> const expected =
            row_of(w, family == &fpq::families::llama ? 8 : 1);
        auto const* const row = reinterpret_cast<std::uint8_t const*>(written[0].bytes.data()) + 36;
        CHECK(std::vector<std::uint8_t>(row, row + 36) == expected);
        CHECK(written[1].name == "blk.0.attn_q.scale");
        float scale = 0.0F;
        std::memcpy(&scale, written[1].bytes.data(), 4);
        CHECK(scale == 1.0F / 512.0F);
    }
}

TEST_CASE("a record that is not what was planned is refused", "[io]") {
    std::string const module = base + "q_proj";
    auto const line_of = [&](packed_fixture const& w, fpq::quant_format const& planned) {
        fpq::export_plan const plan =
            plan_for(config_of(fpq::families::llama), module, weights(planned));
        try {
            (void)fpq::gguf.write(plan, plan.linears[0], {module, w.view()});
        } catch (fpq::error const& why) {
            return std::string(why.what());
        }
        return std::string();
    };
    packed_fixture w = fpq_test::random_packed(fpq::mxfp4, 64, 64, 3.0F, 3);
    has(line_of(w, fpq::mxfp4), "the global scale 1");
    w.global_scale = 1.0F;
    CHECK(line_of(w, fpq::mxfp4).empty());
    has(line_of(w, fpq::nvfp4), "the planned format");
    w.scales[5] = 0xFF;
    has(line_of(w, fpq::mxfp4), "scale 5");
    packed_fixture integers = fpq_test::random_packed(fpq::int_format(8, 32), 64, 64, 1.0F, 3);
    integers.scales.assign(2 * integers.format.scale_count(64, 64), 0x3C);
    CHECK(line_of(integers, fpq::int_format(8, 32)).empty());
    integers.scales[9] = 0x7C;  // infinity
    has(line_of(integers, fpq::int_format(8, 32)), "scale 4");
}

TEST_CASE("what is not quantized is F32 when it is a vector, and else as it was", "[io]") {
    fpq::export_plan const plan =
        plan_for(config_of(fpq::families::llama), base + "v_proj", weights(fpq::mxfp4));
    fpq::single_file const& file = *fpq::gguf.file;
    std::vector<std::uint16_t> values(64);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = fpq::to_bf16(static_cast<float>(i)).bits;
    }
    fpq::tensor_ref t{
        base + "q_proj.bias", fpq::dtype::bf16, {64}, std::as_bytes(std::span(values))};
    fpq::tensor_data const bias = file.copy(plan, t);
    CHECK(bias.name == "blk.0.attn_q.bias");
    CHECK(bias.type == fpq::dtype::f32);
    CHECK(file.planned(plan, t).byte_count() == bias.bytes.size());
    std::vector<float> floats(64);
    std::memcpy(floats.data(), bias.bytes.data(), 256);
    CHECK(floats[1] == 8.0F);  // in the order of the rows
    CHECK(floats[17] == 24.0F);
    t.name = "model.embed_tokens.weight";
    t.shape = {8, 8};
    fpq::tensor_data const embedding = file.copy(plan, t);
    CHECK(embedding.type == fpq::dtype::bf16);
    CHECK(embedding.bytes.data() == t.bytes.data());  // not copied
    t.name = base + "q_proj.weight";
    t.shape = {64, 1};
    std::uint16_t second = 0;
    std::memcpy(&second, file.copy(plan, t).bytes.data() + 2, 2);
    CHECK(second == values[8]);
    t.name = "score.weight";
    CHECK_THROWS_WITH(file.planned(plan, t), Catch::Contains("tensor that GGUF has no name for"));
}

TEST_CASE("rotary factors of llama3 divide its frequencies", "[io]") {
    fpq::model_config config = config_of(fpq::families::llama);
    config.head_dim = 64;
    config.rope = {fpq::rope_kind::llama3, 500000.0, 8.0, 1.0, 4.0, 8192.0};
    fpq::export_plan plan = plan_for(config, base + "v_proj", weights(fpq::mxfp4));
    std::vector<fpq::tensor_data> const made = fpq::gguf.file->made(plan);
    REQUIRE(made.size() == 1);
    CHECK(made[0].name == "rope_freqs.weight");
    std::vector<float> factors(32);
    REQUIRE(made[0].bytes.size() == 128);
    std::memcpy(factors.data(), made[0].bytes.data(), 128);
    std::vector<float> const scaled = fpq::rope_frequencies(config.rope, 64);
    fpq::rope_config plain = config.rope;
    plain.kind = fpq::rope_kind::standard;
    std::vector<float> const frequencies = fpq::rope_frequencies(plain, 64);
    CHECK(factors.front() == 1.0F);
    CHECK(factors.back() == 8.0F);
    for (std::size_t i = 0; i < 32; ++i) {
        CHECK(std::fabs(frequencies[i] / factors[i] / scaled[i] - 1.0F) < 1e-6F);
    }
    config.rope.kind = fpq::rope_kind::standard;
    CHECK(fpq::gguf.file->made(plan_for(config, base + "v_proj", weights(fpq::mxfp4))).empty());
}

TEST_CASE("the keys of an architecture are those of its config", "[io]") {
    fpq::model_config config = config_of(fpq::families::mistral);
    config.rms_norm_eps = 1e-5F;
    config.rope = {fpq::rope_kind::linear, 1e6, 4.0};
    fpq::gguf_metadata const keys = fpq::gguf_architecture(fpq::model_graph(config));
    CHECK(*fpq::find_gguf<std::string>(keys, "general.architecture") == "llama");
    auto const count = [&](std::string const& key) {
        return *fpq::find_gguf<std::uint32_t>(keys, "llama." + key);
    };
    CHECK(count("block_count") == 2);
    CHECK(count("context_length") == 128);
    CHECK(count("embedding_length") == 64);
    CHECK(count("feed_forward_length") == 128);
    CHECK(count("attention.head_count") == 4);
    CHECK(count("attention.head_count_kv") == 2);
    CHECK(count("attention.key_length") == 16);
    CHECK(count("attention.value_length") == 16);
    CHECK(count("rope.dimension_count") == 16);
    CHECK(count("vocab_size") == 8);
    CHECK(*fpq::find_gguf<float>(keys, "llama.rope.freq_base") == 1e6F);
    CHECK(*fpq::find_gguf<float>(keys, "llama.attention.layer_norm_rms_epsilon") == 1e-5F);
    CHECK(*fpq::find_gguf<std::string>(keys, "llama.rope.scaling.type") == "linear");
    CHECK(*fpq::find_gguf<float>(keys, "llama.rope.scaling.factor") == 4.0F);
}

TEST_CASE("GGUF refuses by name what no client of it runs", "[io]") {
    fpq::model_config const llama = config_of(fpq::families::llama);
    std::string const q = base + "q_proj";
    for (fpq::quant_format const& format :
         {fpq::nvfp4, fpq::mxfp4, fpq::int_format(8, 32), fpq::int_format(4, 32)}) {
        CHECK(refused(plan_for(llama, q, weights(format))).empty());
    }
    has(refused(plan_for(llama, q, weights(fpq::int_format(4, 128)))), "int4 in groups of 128");
    has(refused(plan_for(llama, q, weights(fpq::int_format(4, 32, false)))), "asymmetric");
    has(refused(plan_for(llama, q, weights(fpq::mxfp8_e4m3))), "mxfp8");
    has(refused(plan_for(llama, q, fpq_test::scheme_for(fpq::nvfp4, true))), "--a_bits 16");
    fpq::scheme how = weights(fpq::mxfp4);
    how.transform.kind = fpq::transform_kind::hadamard;
    has(refused(plan_for(llama, q, how)), "transform_class");
    how = weights(fpq::mxfp4);
    how.weight->mx = fpq::scale_rule::fp_quant;
    has(refused(plan_for(llama, q, how)), "mx_rule");
    fpq::export_plan pseudo = plan_for(llama, q, weights(fpq::mxfp4));
    pseudo.pseudo = true;
    has(refused(pseudo), "pseudoquant");

    fpq::model_config narrow = llama;
    narrow.hidden_size = 96;
    CHECK(refused(plan_for(narrow, q, weights(fpq::mxfp4))).empty());
    has(refused(plan_for(narrow, q, weights(fpq::nvfp4))), "96 inputs, 64");
    fpq::model_config biased = llama;
    biased.mlp_bias = true;
    has(refused(plan_for(biased, "model.layers.0.mlp.up_proj", weights(fpq::nvfp4))),
        "up_proj.bias");
    CHECK(refused(plan_for(biased, "model.layers.0.mlp.up_proj", weights(fpq::mxfp4))).empty());
    CHECK(refused(plan_for(llama, "lm_head", weights(fpq::mxfp4))).empty());
    fpq::model_config tied = llama;
    tied.tied_head = true;
    has(refused(plan_for(tied, "lm_head", weights(fpq::mxfp4))), "--ignore lm_head");

    fpq::model_config windowed = llama;
    windowed.sliding_window = 64;
    has(refused(plan_for(windowed, q, weights(fpq::mxfp4))), "sliding_window");
    windowed.sliding_window = 128;
    CHECK(refused(plan_for(windowed, q, weights(fpq::mxfp4))).empty());
    fpq::model_config rope = llama;
    rope.unknown_rope = "yarn";
    has(refused(plan_for(rope, q, weights(fpq::mxfp4))), "found yarn");
    fpq::model_config qwen = config_of(fpq::families::qwen3);
    qwen.rope.kind = fpq::rope_kind::llama3;
    has(refused(plan_for(qwen, q, weights(fpq::mxfp4))), "found llama3");
    qwen.rope.kind = fpq::rope_kind::linear;
    CHECK(refused(plan_for(qwen, q, weights(fpq::mxfp4))).empty());
    qwen.attention_bias = true;
    has(refused(plan_for(qwen, q, weights(fpq::mxfp4))), "o_proj.bias");
    fpq::architecture other = fpq::families::llama;
    other.model_type = "olmo2";
    has(refused(plan_for(config_of(other), q, weights(fpq::mxfp4))), "model_type");
}

TEST_CASE("dialect names are read with either separator", "[io]") {
    CHECK(fpq::find_dialect("compressed_tensors") == &fpq::compressed_tensors);
    CHECK(fpq::find_dialect("compressed-tensors") == &fpq::compressed_tensors);
    CHECK(fpq::find_dialect("fp_quant") == &fpq::fp_quant);
    CHECK(fpq::find_dialect("gguf") == &fpq::gguf);
    CHECK(fpq::find_dialect("onnx") == nullptr);
}
