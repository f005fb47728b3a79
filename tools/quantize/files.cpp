// SPDX-License-Identifier: Apache-2.0
#include "quantize/files.hpp"

#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

harness_flags read_recipe(std::filesystem::path const& file) {
    return flags_of(recipe_from_json(read_json_file(file), file.string()));
}

void save_recipe(recipe const& r, std::filesystem::path const& file) {
    write_file_whole(file, to_json(r).dump(2) + "\n");
}

void save_report(run_report const& report, std::string const& products,
                 std::filesystem::path const& file) {
    nlohmann::json json = to_json(report);
    json["products"] = products;
    write_file_whole(file, json.dump(2) + "\n");
}

}  // namespace fpq::tools
