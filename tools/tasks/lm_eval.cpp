// SPDX-License-Identifier: Apache-2.0
#include "tasks/lm_eval.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "common/child_process.hpp"
#include "common/places.hpp"
#include "common/work_directory.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq::tools {

namespace {

constexpr std::string_view install = "lm_eval on PATH (pip install 'lm_eval[api]' transformers)";

/// The harness asks for one token behind each text: with this its texts have up to 4,096, as in
/// FP-Quant's evaluation.
constexpr std::size_t longest_text = 4097;

/// A day: what waits in the harness's queue is not late.
constexpr char const* patience = "86400";

std::filesystem::path lm_eval_program() {
    std::optional<std::filesystem::path> const found = find_program("lm_eval");
    if (!found) {
        fail_usage("lm_eval_tasks", {}, install, "none");
    }
    return *found;
}

std::filesystem::path serve_program_path() {
    std::error_code unknown;
    std::filesystem::path const own = std::filesystem::read_symlink("/proc/self/exe", unknown);
    std::filesystem::path serve = own.parent_path() / "fpq-serve";
    if (!std::filesystem::exists(serve, unknown)) {
        fail_usage("lm_eval_tasks", serve.string(), "fpq-serve (built where cpp-httplib is)",
                   "none");
    }
    return serve;
}

/// The chat template's text: of chat_template.jinja, else of tokenizer_config.json; empty: none.
std::string chat_template_of(std::filesystem::path const& model) {
    if (auto const file = model / "chat_template.jinja"; is_there(file)) {
        return fpq::detail::read_whole_file(file);
    }
    auto const config = model / "tokenizer_config.json";
    if (!is_there(config)) {
        return {};
    }
    nlohmann::json const json = read_json_file(config);
    auto const at = json.find("chat_template");
    return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

void add_include(task_args const& tasks, std::vector<std::string>& words) {
    if (!tasks.include.empty()) {
        words.insert(words.end(), {"--include_path", whole_path(tasks.include).string()});
    }
}

std::string joined(std::vector<std::string> const& names) {
    std::string out;
    for (std::string const& name : names) {
        out += (out.empty() ? "" : ",") + name;
    }
    return out;
}

/// The harness knows the names; an older one that cannot tell does so when it runs.
void check_names(task_args const& tasks) {
    std::vector<std::string> words{lm_eval_program().string(), "validate", "--tasks",
                                   joined(tasks.names)};
    add_include(tasks, words);
    child_process child(words, child_output::pipe);
    std::string const said = child.read_all();
    constexpr std::string_view missing = "Tasks not found: ";
    std::size_t const at = said.find(missing);
    if (child.wait() != 0 && at != std::string::npos) {
        std::string_view const names = std::string_view(said).substr(at + missing.size());
        fail_usage("lm_eval_tasks", {}, "tasks that lm_eval knows (lm_eval ls tasks)",
                   names.substr(0, names.find('\n')));
    }
}

/// The tokenizer as the harness is to see it: the checkpoint's files by links and, without
/// thinking, a chat template that begins by saying so.
void lay_tokenizer(task_args const& tasks, std::filesystem::path const& checkpoint,
                   std::filesystem::path const& to) {
    std::filesystem::path const from = whole_path(checkpoint);
    std::string const chat = tasks.thinking ? std::string() : chat_template_of(from);
    std::error_code failed;
    std::filesystem::create_directory(to, failed);
    for (std::filesystem::path const& path : paths_in(from)) {
        std::string const name = path.filename().string();
        bool const weights = name.ends_with(".safetensors") || name.ends_with(".index.json");
        bool const replaced =
            !chat.empty() && (name == "chat_template.jinja" || name == "tokenizer_config.json");
        if (!failed && !weights && !replaced && std::filesystem::is_regular_file(look_at(path))) {
            std::filesystem::create_symlink(path, to / name, failed);
        }
    }
    if (failed) {
        fail_input("cannot lay out a tokenizer", to.string(), "success", failed.message());
    }
    if (chat.empty()) {
        return;
    }
    if (auto const config = from / "tokenizer_config.json"; is_there(config)) {
        nlohmann::json json = read_json_file(config);
        json.erase("chat_template");  // the file beside it holds the one that counts
        write_json_file(to / "tokenizer_config.json", json);
    }
    write_file_whole(to / "chat_template.jinja", "{%- set enable_thinking = false -%}\n" + chat);
}

/// A server while it runs.
struct served_model {
    served_model(serve_place const& place, task_args const& tasks)
        : child(words_of(place, tasks), child_output::pipe) {
        // "serving NAME at URL, up to N tokens"
        std::string const line = child.read_line().value_or("");
        std::size_t const at = line.find(" at http://");
        std::size_t const comma = line.find(", up to ", at);
        if (at == std::string::npos || comma == std::string::npos) {
            fail_input("fpq-serve", place.checkpoint.string(), "a line with its address",
                       line.empty() ? "its end" : line);
        }
        url = line.substr(at + 4, comma - at - 4);
        std::from_chars(line.data() + comma + 8, line.data() + line.size(), longest);
    }

    static std::vector<std::string> words_of(serve_place const& place, task_args const& tasks) {
        std::vector<std::string> words{serve_program_path().string(),
                                       "--model",
                                       whole_path(place.checkpoint).string(),
                                       "--served_model_name",
                                       "fpq",
                                       "--port",
                                       "0",
                                       "--request_seconds",
                                       patience,
                                       "--shutdown_seconds",
                                       "1",
                                       "--threads",
                                       std::to_string(place.threads),
                                       "--device",
                                       place.device.substr(0, place.device.find(','))};
        if (tasks.batch != 0) {
            words.insert(words.end(), {"--max_num_seqs", std::to_string(tasks.batch)});
        }
        return words;
    }

    child_process child;
    std::string url;
    std::size_t longest = 0;
};

/// Whether prompts get the tokenizer's own first token. A chat template that writes it does not
/// want it twice.
bool adds_bos(std::filesystem::path const& checkpoint, bool chat) {
    return !tokenizer::open(checkpoint).parts().prefix.empty() &&
           !(chat && chat_template_of(checkpoint).find("bos_token") != std::string::npos);
}

std::vector<std::string> command_of(task_group const& group, task_args const& tasks,
                                    serve_place const& place, served_model const& server) {
    constexpr std::size_t side_by_side = 64;  // as fpq-serve's own default
    std::vector<std::string> words{
        lm_eval_program().string(),
        "--model",
        "local-completions",
        "--model_args",
        fmt::format("model=fpq,base_url={},tokenizer=tokenizer,tokenizer_backend=huggingface,"
                    "tokenized_requests=True,num_concurrent={},max_length={},timeout={},"
                    "add_bos_token={}",
                    server.url, tasks.batch == 0 ? side_by_side : tasks.batch,
                    std::min(server.longest, longest_text), patience,
                    adds_bos(place.checkpoint, group.chat) ? "True" : "False"),
        "--tasks",
        joined(group.tasks),
        "--batch_size",
        "1",
        "--output_path",
        "results.json"};
    if (group.shots >= 0) {
        words.insert(words.end(), {"--num_fewshot", std::to_string(group.shots)});
    }
    if (group.chat) {
        words.insert(words.end(), {"--apply_chat_template", "--fewshot_as_multiturn"});
    }
    add_include(tasks, words);
    return words;
}

/// "acc,none": 0.5 beside "acc_stderr,none": 0.01 of each task.
void take_results(nlohmann::json const& results, task_scores& out) {
    for (auto const& [task, figures] : results.items()) {
        for (auto const& [key, value] : figures.items()) {
            std::size_t const comma = key.find(',');
            std::string const metric = key.substr(0, comma);
            if (comma == std::string::npos || !value.is_number() || metric.ends_with("_stderr")) {
                continue;
            }
            task_score score{task, metric, key.substr(comma + 1), value.get<double>(), {}};
            auto const error = figures.find(metric + "_stderr" + key.substr(comma));
            if (error != figures.end() && error->is_number()) {
                score.error = error->get<double>();
            }
            out.scores.push_back(std::move(score));
        }
    }
}

void run_group(task_group const& group, task_args const& tasks, serve_place const& place,
               served_model const& server, work_directory const& work, line_sink const& say,
               task_scores& out) {
    std::vector<std::string> const words = command_of(group, tasks, place, server);
    out.commands.push_back(command_text(words));
    say("runs " + out.commands.back());
    int const code = child_process(words, child_output::error, work.path()).wait();
    if (code != 0) {
        fail_input("lm_eval", joined(group.tasks), "exit code 0", std::to_string(code));
    }
    std::size_t found = 0;
    for (std::filesystem::path const& file : paths_in(work.path())) {
        if (file.filename().string().starts_with("results_")) {
            nlohmann::json const json = read_json_file(file);
            take_results(json.at("results"), out);
            std::error_code ignored;
            std::filesystem::remove(file, ignored);
            ++found;
        }
    }
    if (found != 1) {
        fail_input("lm_eval", joined(group.tasks), "one file of results", std::to_string(found));
    }
}

}  // namespace

std::vector<task_group> grouped_tasks(std::vector<std::string> const& names) {
    std::vector<task_group> out;
    for (std::string const& name : names) {
        task_group one;
        one.shots = name == "winogrande" ? 5 : name == "hellaswag" ? 10 : -1;
        one.chat = name.ends_with("_llama");
        auto const same = std::find_if(out.begin(), out.end(), [&](task_group const& other) {
            return other.shots == one.shots && other.chat == one.chat;
        });
        (same == out.end() ? out.emplace_back(one) : *same).tasks.push_back(name);
    }
    return out;
}

void check_tasks(task_args const& tasks, std::filesystem::path const& model, line_sink const& say) {
    if (tasks.names.empty()) {
        return;
    }
    (void)lm_eval_program();
    (void)serve_program_path();
    if (!tasks.include.empty() && !std::filesystem::is_directory(look_at(tasks.include))) {
        fail_usage("lm_eval_include_path", tasks.include.string(), "a directory", "none");
    }
    if (!tokenizer::lies_in(model)) {
        fail_usage("lm_eval_tasks", model.string(), "a tokenizer", "none");
    }
    std::string const chat = chat_template_of(model);
    for (task_group const& group : grouped_tasks(tasks.names)) {
        if (group.chat && chat.empty()) {
            fail_usage("lm_eval_tasks", joined(group.tasks), "a model with a chat template",
                       model.string());
        }
    }
    if (!tasks.thinking && chat.find("enable_thinking") == std::string::npos) {
        say("--disable_thinking: the model's chat template knows no enable_thinking");
    }
    check_names(tasks);
}

task_scores run_tasks(task_args const& tasks, serve_place const& place, line_sink const& say) {
    task_scores out;
    work_directory const work("lm-eval");
    lay_tokenizer(tasks, place.checkpoint, work.path() / "tokenizer");
    std::vector<std::string> const command = served_model::words_of(place, tasks);
    out.commands.push_back(command_text(command));
    say("runs " + out.commands.back());
    served_model server(place, tasks);
    for (task_group const& group : grouped_tasks(tasks.names)) {
        run_group(group, tasks, place, server, work, say, out);
    }
    return out;
}

}  // namespace fpq::tools
