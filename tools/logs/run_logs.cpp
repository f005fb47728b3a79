// SPDX-License-Identifier: Apache-2.0
#include "logs/run_logs.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <sstream>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"
#include "logs/wandb.hpp"

namespace fpq::tools {

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// JSON as a block of code.
std::string as_markdown(nlohmann::json const& json) {
    std::istringstream lines(json_file_text(json));
    std::string out;
    for (std::string line; std::getline(lines, line);) {
        out += "    " + line + "\n";
    }
    return out;
}

}  // namespace

nlohmann::json flag_values(program_spec const& program, command_line const& line,
                           bool from_recipe) {
    nlohmann::json out = nlohmann::json::object();
    for (flag_group const& group : program.groups) {
        for (flag_spec const& flag : group.flags) {
            auto const given = line.values.find(flag.name);
            nlohmann::json& value = out[flag.name];
            if (given == line.values.end()) {
                value = from_recipe             ? nlohmann::json()
                        : flag.value.empty()    ? nlohmann::json(false)
                        : flag.fallback.empty() ? nlohmann::json()
                                                : nlohmann::json(flag.fallback);
            } else if (flag.repeats) {
                value = given->second;
            } else if (flag.value.empty()) {
                value = read_switch(flag.name, given->second.back());
            } else {
                value = given->second.back();
            }
        }
    }
    return utf8_json(out);
}

run_logs::run_logs(log_options options, nlohmann::json config,
                   std::function<void(std::string const&)> say)
    : options_(std::move(options)),
      say_(std::move(say)),
      run_({{"config", std::move(config)},
            {"history", nlohmann::json::array()},
            {"summary", nlohmann::json::object()}}) {}

void run_logs::open(nlohmann::json const& recipe) {
    nlohmann::json const flags = run_.at("config");
    if (!recipe.is_null()) {
        run_["config"]["resolved_recipe"] = recipe;
    }
    if (options_.wandb) {
        std::string missing;
        try {
            python_ = find_wandb(missing);
        } catch (error const& why) {
            missing = why.what();
        }
        if (!python_) {
            say_("--log_wandb: nothing is logged: " + missing);
        }
    }
    if (!options_.directory.empty()) {
        events_.emplace(options_.directory, now());
        write_text(recipe.is_null() ? "flags" : "recipe",
                   as_markdown(recipe.is_null() ? flags : recipe));
    }
}

void run_logs::take(run_report const& found) {
    for (; layers_ < found.layers.size(); ++layers_) {
        write(layer_values(found, found.layers[layers_].layer));
    }
}

void run_logs::finish(run_report const& report) {
    take(report);
    // The head; and every layer where an interrupted run had done them all.
    std::size_t last = 0;
    for (linear_report const& l : report.linears) {
        last = std::max(last, l.layer);
    }
    for (std::size_t layer = report.layers.size(); layer <= last; ++layer) {
        write(layer_values(report, layer));
    }
    std::string notes;
    for (std::string const& note : report.notes) {
        notes += "- " + utf8_escaped(note) + "\n";
    }
    if (!notes.empty()) {
        write_text("notes", notes);
    }
    finish(final_values(report));
}

void run_logs::finish(std::vector<log_value> const& values) {
    for (log_value const& v : values) {
        run_["summary"][utf8_escaped(v.tag)] = v.value;
    }
    write_events(values);
    hand_over();
}

void run_logs::write(std::vector<log_value> const& values) {
    if (python_ && !values.empty()) {
        nlohmann::json row = {{"step", values.front().step}, {"values", nlohmann::json::object()}};
        for (log_value const& v : values) {
            row["values"][utf8_escaped(v.tag)] = v.value;
        }
        run_["history"].push_back(std::move(row));
    }
    write_events(values);
}

void run_logs::write_events(std::vector<log_value> const& values) {
    try {
        for (std::size_t i = 0; events_ && i < values.size(); ++i) {
            log_value const& v = values[i];
            events_->add_scalar(utf8_escaped(v.tag), static_cast<std::int64_t>(v.step), v.value,
                                now());
        }
    } catch (error const& why) {
        end_events(why.what());
    }
}

void run_logs::write_text(std::string const& tag, std::string const& markdown) {
    try {
        if (events_) {
            events_->add_text(tag, markdown, now());
        }
    } catch (error const& why) {
        end_events(why.what());
    }
}

void run_logs::end_events(std::string const& why) {
    say_("--log_dir: the log ends here: " + why);
    events_.reset();
}

void run_logs::hand_over() {
    if (!python_) {
        return;
    }
    try {
        std::string const directory = log_to_wandb(*python_, run_);
        say_("--log_wandb: the run lies in " + directory + " (wandb sync takes it)");
    } catch (error const& why) {
        say_("--log_wandb: the run was not logged: " + std::string(why.what()));
    }
}

}  // namespace fpq::tools
