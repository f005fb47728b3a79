// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "evaluate/measure.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

void check_json_file(evaluate_options const& options) {
    if (options.json.empty()) {
        return;
    }
    // Results beside the weights are fine, in the place of a file that is read they are not.
    std::string const name = options.json.filename().string();
    for (char const* const read : {"config", "generation_config", "tokenizer", "model", "vocab",
                                   "merges", "added_tokens", "special_tokens", "hf_quant"}) {
        if (name.starts_with(read)) {
            require_outside("json", options.json, options.model);
            require_outside("json", options.json, options.reference);
        }
    }
    require_writable_file(options.json, 512);
}

void save_measurement(measurement const& m, evaluate_options const& options,
                      std::string const& products) {
    nlohmann::json json = to_json(m.result);
    json["bits_per_weight"] = m.bits_per_weight;
    json["products"] = products;
    json["model"] = options.model.string();
    json["sequence_length"] = options.sequence_length;
    write_file_whole(options.json, json.dump(2) + "\n");
}

}  // namespace fpq::tools
