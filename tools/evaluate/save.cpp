// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "evaluate/measure.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

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
