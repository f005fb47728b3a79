// SPDX-License-Identifier: Apache-2.0
#include "quantize/files.hpp"

#include <algorithm>
#include <system_error>

#include "common/places.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/pipeline/page/report_page.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"

namespace fpq::tools {

harness_flags read_recipe(std::filesystem::path const& file) {
    return flags_of(recipe_from_json(read_json_file(file), file.string()));
}

namespace {

/// Whether a checkpoint made of `model` has a file of this name.
bool is_of_checkpoint(std::string const& name, std::filesystem::path const& model) {
    std::error_code ignored;
    return name == "README.md" || name == "recipe.json" || name == "hf_quant_config.json" ||
           name == index_name || name.ends_with(".safetensors") ||
           std::filesystem::exists(model / name, ignored);
}

}  // namespace

void check_written_file(std::string_view flag, std::filesystem::path const& file, recipe const& r) {
    if (file.empty()) {
        return;
    }
    require_other_file(flag, file, r.calibration.dataset);
    for (std::filesystem::path const& text : r.evaluation.texts) {
        require_other_file(flag, file, text);
    }
    std::filesystem::path const model = model_directory(r.model);
    require_outside(flag, file, model);
    if (r.output.kind == export_kind::none || r.output.directory.empty()) {
        return;
    }
    output_place const place{whole_path(r.output.directory / "x").parent_path()};
    std::filesystem::path const whole = whole_path(file);
    for (std::filesystem::path const& staging : {place.beside(), place.inside()}) {
        if (whole == place.directory || whole == staging || whole.parent_path() == staging) {
            fail_usage(flag, file.string(), "another name or directory",
                       "one where the checkpoint is written");
        }
    }
    if (whole.parent_path() == place.directory &&
        is_of_checkpoint(file.filename().string(), model)) {
        fail_usage(flag, file.string(), "another name or directory",
                   "a file of the checkpoint that is written there");
    }
    std::error_code absent;
    bool const below =
        std::mismatch(place.directory.begin(), place.directory.end(), whole.begin(), whole.end())
            .first == place.directory.end();
    if (below && whole != place.directory && !std::filesystem::exists(place.directory, absent)) {
        fail_usage(flag, file.string(), "another directory, or one that is there",
                   "one that the run makes at its end");
    }
}

void check_log_directory(std::filesystem::path const& directory, recipe const& r) {
    if (directory.empty()) {
        return;
    }
    auto const refuse = [&](std::filesystem::path const& outer, char const* what) {
        refuse_within("log_dir", directory, outer, what);
    };
    refuse(model_directory(r.model), "one of the model");
    if (r.output.kind != export_kind::none && !r.output.directory.empty()) {
        output_place const place{whole_path(r.output.directory / "x").parent_path()};
        refuse(place.directory, "one where the checkpoint is written");
        refuse(place.beside(), "one where the checkpoint is written");
    }
}

void save_recipe(recipe const& r, std::filesystem::path const& file) {
    if (!file.empty()) {
        write_json_file(file, to_json(r));
    }
}

void save_report(run_report const& report, std::string const& products,
                 std::filesystem::path const& file) {
    std::filesystem::path const ending = file.extension();
    if (ending == ".html" || ending == ".htm") {
        write_file_whole(file, report_page(report, products));
        return;
    }
    nlohmann::json json = to_json(report);
    json["products"] = products;
    write_json_file(file, json);
}

}  // namespace fpq::tools
