// SPDX-License-Identifier: Apache-2.0
#include "logs/wandb.hpp"

#include "common/child_process.hpp"
#include "common/work_directory.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"

namespace fpq::tools {

namespace {

constexpr char const* probe = "import wandb; print(wandb.__version__)";

// wandb reads WANDB_PROJECT, WANDB_NAME, WANDB_ENTITY and WANDB_DIR itself. Of what it prints only
// errors are of use; the run's directory is the last line of standard output.
constexpr char const* script = R"(import json, os, sys
os.environ.setdefault("WANDB_SILENT", "true")
import wandb
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
run = wandb.init(config=data["config"], mode=os.environ.get("WANDB_MODE", "offline"))
for row in data["history"]:
    run.log(row["values"], step=row["step"])
run.summary.update(data["summary"])
directory = os.path.dirname(run.dir)
run.finish()
print(directory)
)";

}  // namespace

std::optional<std::filesystem::path> find_wandb(std::string& missing) {
    std::optional<std::filesystem::path> python = find_program("python3");
    if (!python) {
        missing = "there is no python3 on PATH (then: python3 -m pip install wandb)";
        return std::nullopt;
    }
    // Imported, not only found: a package that does not load shall be known before the run.
    child_process child(
        {"/bin/sh", "-c", "exec \"$0\" -c \"$1\" 2> /dev/null", python->string(), probe},
        child_output::pipe);
    static_cast<void>(child.read_all());
    if (child.wait() != 0) {
        missing = python->string() + " has no wandb (python3 -m pip install wandb)";
        return std::nullopt;
    }
    return python;
}

std::string log_to_wandb(std::filesystem::path const& python, nlohmann::json const& run) {
    work_directory const work("wandb");
    std::filesystem::path const file = work.path() / "run.json";
    write_json_file(file, run);
    child_process child({python.string(), "-c", script, file.string()}, child_output::pipe);
    std::string directory;
    while (std::optional<std::string> line = child.read_line()) {
        directory = *std::move(line);
    }
    int const code = child.wait();
    if (code != 0) {
        fail_input("wandb", python.string(), "exit code 0", std::to_string(code));
    }
    return directory;
}

}  // namespace fpq::tools
