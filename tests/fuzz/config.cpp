// SPDX-License-Identifier: Apache-2.0
// Fuzz target: bytes -> JSON -> read_model_config. It must return a configuration whose sizes are
// sane, or throw fpq::error with one line; anything else is a finding, kept in corpus/config.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const nlohmann::json json = nlohmann::json::parse(data, data + size, nullptr, false);
    if (json.is_discarded()) {
        return 0;
    }
    try {
        const fpq::model_config config =
            fpq::read_model_config(json, "config.json", fpq::shipped_architectures);
        if (config.layers == 0 || config.kv_heads == 0 || config.heads % config.kv_heads != 0 ||
            config.head_dim % 2 != 0 || !(config.rope.theta >= 1.0)) {
            std::abort();
        }
        fpq::model_config one_layer = config;
        one_layer.layers = 1;
        const fpq::model_graph graph(one_layer);
        for (const fpq::linear_node& node : graph.linears()) {
            if (node.in == 0 || node.out == 0) {
                std::abort();
            }
        }
    } catch (const fpq::error& refused) {
        if (std::string(refused.what()).find('\n') != std::string::npos) {
            std::abort();
        }
    }
    return 0;
}
