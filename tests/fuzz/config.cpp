// SPDX-License-Identifier: Apache-2.0
// Fuzz target: bytes -> JSON -> read_model_config. It must return a configuration whose sizes are
// sane, or throw fpq::error with one line; anything else is a finding, kept in corpus/config.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "fpq/core/hosted/error.hpp"
#include "fpq/model/config.hpp"
#include "fpq/model/names.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const nlohmann::json json = nlohmann::json::parse(data, data + size, nullptr, false);
    if (json.is_discarded()) {
        return 0;
    }
    try {
        const fpq::model_config config = fpq::read_model_config(json, "config.json");
        if (config.layers == 0 || config.kv_heads == 0 || config.heads % config.kv_heads != 0 ||
            config.head_dim % 2 != 0 || !(config.rope.theta >= 1.0)) {
            std::abort();
        }
        for (const fpq::linear_role role : fpq::linear_roles) {
            const fpq::linear_shape shape = fpq::expected_shape(config, role);
            if (shape.in == 0 || shape.out == 0) {
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
