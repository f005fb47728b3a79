// SPDX-License-Identifier: Apache-2.0
// Floor 6. One face over the dialect writers: what a pipeline calls with a run-time dialect. The
// bytes are those of fp_quant.hpp, compressed_tensors.hpp and modelopt.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/dialect/compressed_tensors.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/fp_quant.hpp"
#include "fpq/dialect/modelopt.hpp"

namespace fpq {

/// Errors: fpq::error (usage) when the dialect cannot hold such an export.
inline void check_export(dialect d, export_facts const& facts) {
    switch (d) {
        case dialect::fp_quant:
            return check_fp_quant(facts);
        case dialect::compressed_tensors:
            return check_compressed_tensors(facts);
        case dialect::modelopt:
            return check_modelopt(facts);
    }
}

/// The tensors that one linear, w (out, in), becomes; bias not included. Tensors of modules with
/// the same `group` share a shard: give q, k, v one group, and gate, up one.
/// Errors: fpq::error (usage) naming the module when its width does not fit the dialect.
inline std::vector<tensor_plan> plan_linear(dialect d, std::string const& module, std::size_t out,
                                            std::size_t in, export_facts const& facts,
                                            std::string const& group) {
    switch (d) {
        case dialect::compressed_tensors:
            return compressed_tensors_plan(module, out, in, facts, group);
        case dialect::modelopt:
            return modelopt_plan(module, out, in, facts, group);
        case dialect::fp_quant:
            break;
    }
    return fp_quant_plan(module, out, in, facts, group);
}

/// The same tensors, filled. Codes and scales are borrowed from the record.
inline std::vector<tensor_data> linear_tensors(dialect d, linear_record const& record,
                                               export_facts const& facts) {
    switch (d) {
        case dialect::compressed_tensors:
            return compressed_tensors_tensors(record, facts);
        case dialect::modelopt:
            return modelopt_tensors(record, facts);
        case dialect::fp_quant:
            break;
    }
    return fp_quant_tensors(record, facts);
}

/// config.json of the export: the source's keys unchanged, quantization_config, and for fp_quant
/// the type bfloat16 (its client takes no other) and, for W4A16, our own key "fpq" (the dialect
/// has no way to say that activations stay as they are).
inline nlohmann::json export_config(dialect d, nlohmann::json config, export_facts const& facts) {
    switch (d) {
        case dialect::compressed_tensors:
            config["quantization_config"] = compressed_tensors_config(facts);
            break;
        case dialect::modelopt:
            config["quantization_config"] = modelopt_config(facts);
            break;
        case dialect::fp_quant:
            config["quantization_config"] = fp_quant_config(facts);
            bool const has_dtype = config.contains("dtype");
            if (has_dtype) {
                config["dtype"] = "bfloat16";
            }
            if (!has_dtype || config.contains("torch_dtype")) {
                config["torch_dtype"] = "bfloat16";
            }
            if (!facts.activations) {
                config["fpq"] = {{"activation_bits", 16}};
            }
            break;
    }
    return config;
}

/// The names of files that an export carries over from its source when they exist there.
inline std::vector<std::string> carried_files(std::filesystem::path const& source) {
    constexpr std::array<std::string_view, 14> known{"tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "tokenizer.model",
                                                     "vocab.json",
                                                     "merges.txt",
                                                     "special_tokens_map.json",
                                                     "added_tokens.json",
                                                     "chat_template.jinja",
                                                     "chat_template.json",
                                                     "generation_config.json",
                                                     "preprocessor_config.json",
                                                     "LICENSE",
                                                     "LICENSE.txt",
                                                     "NOTICE"};
    std::vector<std::string> out;
    for (std::string_view const name : known) {
        if (std::filesystem::is_regular_file(source / name)) {
            out.emplace_back(name);
        }
    }
    return out;
}

}  // namespace fpq
