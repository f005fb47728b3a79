// SPDX-License-Identifier: Apache-2.0
// config.json: both spellings, defaults of the four families, and every refusal by key.
#include "fpq/model/config.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"

#ifndef FPQ_SOURCE_DIR
#define FPQ_SOURCE_DIR "."
#endif

using nlohmann::json;

namespace {

json base(const std::string& type) {
    return {{"model_type", type},     {"hidden_size", 64},        {"intermediate_size", 128},
            {"num_hidden_layers", 3}, {"num_attention_heads", 4}, {"num_key_value_heads", 2},
            {"vocab_size", 100}};
}

fpq::model_config read(const json& j) {
    return fpq::read_model_config(j, "config.json", fpq::shipped_architectures);
}

/// The message of the refusal; empty when it was accepted.
std::string refusal(const json& j) {
    try {
        static_cast<void>(read(j));
    } catch (const fpq::error& e) {
        REQUIRE(e.exit_code() == 3);
        REQUIRE(std::string(e.what()).find('\n') == std::string::npos);
        return e.what();
    }
    return "";
}

}  // namespace

TEST_CASE("defaults are those of the configuration classes", "[model]") {
    json j = base("llama");
    j.erase("num_key_value_heads");
    const fpq::model_config c = read(j);
    REQUIRE(c.family == &fpq::families::llama);
    REQUIRE(c.kv_heads == 4);
    REQUIRE(c.head_dim == 16);
    REQUIRE(c.rms_norm_eps == 1e-6F);
    REQUIRE(c.rope.theta == 10000.0);
    REQUIRE(c.rope.kind == fpq::rope_kind::standard);
    REQUIRE_FALSE(c.tied_head);
    REQUIRE(c.sliding_window == 0);
    REQUIRE(c.max_sequence_without_window() == std::numeric_limits<std::size_t>::max());
    REQUIRE(read(base("qwen3")).head_dim == 128);
    REQUIRE(read(base("qwen2")).head_dim == 16);
}

TEST_CASE("head_dim need not be hidden / heads", "[model]") {
    json j = base("mistral");
    j["hidden_size"] = 66;
    j["head_dim"] = 32;
    const fpq::model_config c = read(j);
    REQUIRE(c.head_dim == 32);
    REQUIRE(c.query_size() == 128);
    REQUIRE(c.kv_size() == 64);
}

TEST_CASE("the families differ in biases and in norms of q and k", "[model]") {
    for (const bool flag : {false, true}) {
        for (const std::string type : {"llama", "qwen2", "qwen3"}) {
            json j = base(type);
            j["attention_bias"] = flag;
            const fpq::model_config c = read(j);
            INFO(type << flag);
            const fpq::model_graph graph(c);
            REQUIRE(graph.layer(0)[0].bias == (flag || type == "qwen2"));
            REQUIRE(graph.layer(0)[3].bias == (flag && type != "qwen2"));
            REQUIRE(c.family->has_norm(fpq::norm_place::query_head) == (type == "qwen3"));
            REQUIRE_FALSE(graph.layer(0)[6].bias);
        }
    }
    json j = base("llama");
    j["mlp_bias"] = true;
    REQUIRE(read(j).mlp_bias);
    j["model_type"] = "qwen3";
    REQUIRE(refusal(j).find("mlp_bias") != std::string::npos);
    j = base("mistral");
    j["attention_bias"] = true;
    REQUIRE(refusal(j).find("attention_bias") != std::string::npos);
}

TEST_CASE("both spellings of the rotary embedding and of the type mean the same", "[model]") {
    const json scaling = {{"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 8192}};
    json old_way = base("llama");
    old_way["rope_theta"] = 500000.0;
    old_way["rope_scaling"] = scaling;
    old_way["rope_scaling"]["rope_type"] = "llama3";
    old_way["torch_dtype"] = "bfloat16";
    json new_way = base("llama");
    new_way["rope_parameters"] = scaling;
    new_way["rope_parameters"]["rope_type"] = "llama3";
    new_way["rope_parameters"]["rope_theta"] = 500000.0;
    new_way["dtype"] = "bfloat16";
    const fpq::model_config a = read(old_way);
    const fpq::model_config b = read(new_way);
    REQUIRE(a.rope == b.rope);
    REQUIRE(a.rope.kind == fpq::rope_kind::llama3);
    REQUIRE(a.rope.theta == 500000.0);
    REQUIRE(a.rope.factor == 8.0);
    REQUIRE(a.rope.original_max_position == 8192.0);
    REQUIRE(a.dtype == "bfloat16");
    REQUIRE(b.dtype == "bfloat16");
    new_way["rope_theta"] = 10000.0;
    REQUIRE(refusal(new_way).find("rope_theta") != std::string::npos);
    new_way.erase("rope_theta");
    new_way["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
    REQUIRE(refusal(new_way).find("rope_parameters") != std::string::npos);
}

TEST_CASE("the old key `type` names the rotary embedding too", "[model]") {
    json j = base("llama");
    j["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
    REQUIRE(read(j).rope.kind == fpq::rope_kind::linear);
    REQUIRE(read(j).rope.factor == 4.0);
    j["rope_scaling"]["rope_type"] = "default";
    REQUIRE(refusal(j) ==
            "contradictory rotary embedding types: config.json: rope_scaling.type: expected "
            "\"default\", found \"linear\"");
    j["rope_scaling"] = nullptr;
    REQUIRE(read(j).rope.kind == fpq::rope_kind::standard);
}

TEST_CASE("a sliding window is kept when some layer uses it", "[model]") {
    json j = base("mistral");
    j["sliding_window"] = 4096;
    REQUIRE(read(j).sliding_window == 4096);
    REQUIRE_NOTHROW(read(j).require_sequence(4096));
    REQUIRE_THROWS_AS(read(j).require_sequence(4097), fpq::error);
    j["sliding_window"] = nullptr;
    REQUIRE(read(j).sliding_window == 0);
    j = base("qwen2");
    j["sliding_window"] = 32;
    REQUIRE(read(j).sliding_window == 0);
    j["use_sliding_window"] = false;
    REQUIRE(read(j).sliding_window == 0);
    j["use_sliding_window"] = true;
    REQUIRE(read(j).sliding_window == 32);
    j["max_window_layers"] = 3;  // as many as there are layers: none slides
    REQUIRE(read(j).sliding_window == 0);
    j["max_window_layers"] = 2;
    REQUIRE(read(j).sliding_window == 32);
    j["layer_types"] = {"full_attention", "full_attention", "full_attention"};
    REQUIRE(read(j).sliding_window == 0);
    j["layer_types"][1] = "sliding_attention";
    REQUIRE(read(j).sliding_window == 32);
}

TEST_CASE("whatever is not implemented is refused by key", "[model]") {
    struct row {
        std::string key;
        std::function<void(json&)> edit;
    };
    const auto set = [](const std::string& key, const json& value) {
        return row{key, [=](json& j) { j[key] = value; }};
    };
    const auto rope = [](const std::string& key, const json& value) {
        return row{key, [=](json& j) { j["rope_scaling"] = value; }};
    };
    const json llama3 = {{"rope_type", "llama3"},
                         {"factor", 8},
                         {"low_freq_factor", 4},
                         {"high_freq_factor", 4},
                         {"original_max_position_embeddings", 8192}};
    std::vector<row> rows = {
        set("model_type", "gemma2"),
        set("model_type", "qwen3_moe"),
        set("model_type", 3),
        set("model_type", nullptr),
        set("hidden_act", "gelu"),
        set("hidden_act", 1),
        set("num_experts", 8),
        set("num_local_experts", 8),
        set("partial_rotary_factor", 0.5),
        set("hidden_size", 0),
        set("hidden_size", -64),
        set("hidden_size", 64.0),
        set("hidden_size", "64"),
        set("hidden_size", nullptr),
        set("hidden_size", 1LL << 60),
        set("hidden_size", std::numeric_limits<std::uint64_t>::max()),
        set("num_hidden_layers", 0),
        set("num_hidden_layers", 1000000),
        set("num_attention_heads", 0),
        set("num_attention_heads", 5),
        set("num_key_value_heads", 3),
        set("num_key_value_heads", 8),
        set("num_key_value_heads", 0),
        set("head_dim", 15),
        set("head_dim", 1 << 20),
        set("vocab_size", 0),
        set("vocab_size", 1LL << 40),
        set("intermediate_size", json::array()),
        set("rms_norm_eps", -1),
        set("rms_norm_eps", "x"),
        set("rms_norm_eps", json::parse("1e400", nullptr, false)),
        set("rope_theta", 0),
        set("rope_theta", -5),
        set("tie_word_embeddings", "yes"),
        set("attention_bias", 1),
        set("rope_scaling", 3),
        set("rope_parameters", json::array()),
        set("layer_types", "full"),
        set("layer_types", {"full_attention"}),
        set("layer_types", {"full_attention", "full_attention", "linear_attention"}),
        set("sliding_window", -1),
        set("dtype", 16),
        rope("factor", {{"type", "linear"}}),
        rope("factor", {{"type", "linear"}, {"factor", 0}}),
        rope("high_freq_factor", llama3),
        rope("full_attention", {{"full_attention", json::object()}}),
        rope("partial_rotary_factor", {{"type", "default"}, {"partial_rotary_factor", 0.25}})};
    for (const row& r : rows) {
        json j = base("mistral");
        r.edit(j);
        if (j[r.key].is_discarded()) {
            continue;  // this JSON reader refuses the number itself
        }
        const std::string message = refusal(j);
        INFO(j.dump());
        INFO(message);
        REQUIRE(message.find("config.json") != std::string::npos);
        REQUIRE(message.find(r.key) != std::string::npos);
    }
    REQUIRE(refusal(json::array()).find("a JSON object") != std::string::npos);
    REQUIRE(refusal(base("phi3")) ==
            "unsupported architecture: config.json: model_type: expected llama, mistral, qwen2 or "
            "qwen3, found \"phi3\"");
}

TEST_CASE("any part of a configuration is read or refused, never worse", "[model]") {
    json whole = base("llama");
    whole["rope_scaling"] = {{"rope_type", "llama3"},
                             {"factor", 8},
                             {"low_freq_factor", 1},
                             {"high_freq_factor", 4},
                             {"original_max_position_embeddings", 8192}};
    const std::vector<json> values = {
        nullptr, true, -1, 0, 1e300, "x", json::array(), json::object(), std::string("\xFF\xFE")};
    for (const auto& [key, unused] : whole.items()) {
        for (const json& value : values) {
            json j = whole;
            j[key] = value;
            static_cast<void>(refusal(j));
        }
    }
    for (const auto& [key, unused] : whole["rope_scaling"].items()) {
        for (const json& value : values) {
            json j = whole;
            j["rope_scaling"][key] = value;
            static_cast<void>(refusal(j));
        }
    }
}

TEST_CASE("the fuzzer's corpus is read or refused", "[model]") {
    const std::filesystem::path corpus =
        std::filesystem::path(FPQ_SOURCE_DIR) / "tests/fuzz/corpus/config";
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
        std::ifstream in(entry.path(), std::ios::binary);
        const json j = json::parse(std::istreambuf_iterator<char>(in),
                                   std::istreambuf_iterator<char>(), nullptr, false);
        if (!j.is_discarded()) {
            static_cast<void>(refusal(j));
        }
        ++files;
    }
    REQUIRE(files >= 5);
}
