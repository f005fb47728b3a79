// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "evaluate/measure.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

namespace {

bool is_earlier_result(std::filesystem::path const& file) {
    try {
        return read_json_file(file).contains("perplexity");
    } catch (error const&) {
        return false;
    }
}

}  // namespace

void check_json_file(evaluate_options const& options) {
    std::filesystem::path const& file = options.json;
    if (file.empty()) {
        return;
    }
    for (std::filesystem::path const& text : options.texts) {
        require_other_file("json", file, text);
    }
    // A result beside the weights is fine, one in the place of a file of theirs is not.
    std::error_code absent;
    if (std::filesystem::exists(file, absent) && !is_earlier_result(file)) {
        require_outside("json", file, model_directory(options.model));
        if (!options.reference.empty()) {
            require_outside("json", file, model_directory(options.reference));
        }
    }
    require_writable_file(file, 512);
}

void save_measurement(measurement const& m, evaluate_options const& options,
                      std::string const& products) {
    nlohmann::json json = to_json(m.result);
    json["bits_per_weight"] = m.bits_per_weight;
    json["stored_bits_per_weight"] = m.stored_bits_per_weight;
    json["products"] = products;
    json["model"] = options.model.string();
    json["sequence_length"] = options.sequence_length;
    write_json_file(options.json, json);
}

}  // namespace fpq::tools
