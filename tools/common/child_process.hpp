// SPDX-License-Identifier: Apache-2.0
// A program that this one starts and ends.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fpq::tools {

/// The file that a shell would run for `name`; nothing when PATH has none.
std::optional<std::filesystem::path> find_program(std::string const& name);

/// Where a child's standard output goes. Its standard input is empty, its standard error is ours.
enum class child_output { error, pipe };

/// A child that does not outlive this object, nor this process.
class child_process {
public:
    /// Runs words[0] with the others, in `directory` when it is not empty. Throws fpq::error
    /// (input) when it cannot be started.
    child_process(std::vector<std::string> const& words, child_output output,
                  std::filesystem::path const& directory = {});
    /// Ends it by SIGTERM and waits.
    ~child_process();
    child_process(child_process const&) = delete;
    child_process& operator=(child_process const&) = delete;

    /// The next line of its output without the line feed; nothing at the end.
    std::optional<std::string> read_line();
    /// What is left of its output.
    std::string read_all();

    /// Its exit code when it has ended; 128 and the number of the signal that ended it.
    int wait();
    /// Asks it to end, once.
    void end();

private:
    ::pid_t process_ = -1;
    int from_ = -1;       // its output
    std::string buffer_;  // read and not yet given
    std::optional<int> code_;
};

/// The words as a shell would take them.
std::string command_text(std::vector<std::string> const& words);

}  // namespace fpq::tools
