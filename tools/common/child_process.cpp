// SPDX-License-Identifier: Apache-2.0
#include "common/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

namespace {

constexpr int cannot_run = 127;  // as shells say it

/// In the child: nothing here may allocate or lock.
[[noreturn]] void become(char* const* words, int output, char const* directory, ::pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) {
        ::_exit(cannot_run);  // the parent is gone already
    }
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGXFSZ, SIG_DFL);
    int const nothing = ::open("/dev/null", O_RDONLY);
    if (nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 ||
        (directory != nullptr && ::chdir(directory) != 0)) {
        ::_exit(cannot_run);
    }
    ::execv(words[0], words);
    ::_exit(cannot_run);
}

}  // namespace

std::optional<std::filesystem::path> find_program(std::string const& name) {
    char const* const path = std::getenv("PATH");
    std::string_view rest = path == nullptr ? "" : path;
    while (!rest.empty()) {
        std::size_t const end = std::min(rest.find(':'), rest.size());
        std::filesystem::path const file = std::filesystem::path(rest.substr(0, end)) / name;
        std::error_code absent;
        if (end > 0 && std::filesystem::is_regular_file(file, absent) &&
            ::access(file.c_str(), X_OK) == 0) {
            return std::filesystem::absolute(file, absent);
        }
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return std::nullopt;
}

child_process::child_process(std::vector<std::string> const& words, child_output output,
                             std::filesystem::path const& directory) {
    std::vector<std::string> copies = words;
    std::vector<char*> arguments;
    arguments.reserve(copies.size() + 1);
    for (std::string& word : copies) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    std::array<int, 2> ends{-1, -1};
    if (::access(words[0].c_str(), X_OK) != 0 || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
        fail_input("cannot run a program", words[0], {}, std::strerror(errno));
    }
    ::pid_t const parent = ::getpid();
    process_ = ::fork();
    if (process_ == 0) {
        become(arguments.data(), output == child_output::pipe ? ends[1] : 2,
               directory.empty() ? nullptr : directory.c_str(), parent);
    }
    int const fault = errno;
    ::close(ends[1]);
    from_ = ends[0];
    if (process_ < 0) {
        ::close(from_);
        fail_input("cannot run a program", words[0], {}, std::strerror(fault));
    }
}

child_process::~child_process() {
    end();
    wait();
    ::close(from_);
}

std::optional<std::string> child_process::read_line() {
    for (;;) {
        if (std::size_t const end = buffer_.find('\n'); end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return line;
        }
        std::array<char, 4096> some{};
        ::ssize_t const n = ::read(from_, some.data(), some.size());
        if (n > 0) {
            buffer_.append(some.data(), static_cast<std::size_t>(n));
        } else if (n == 0 || errno != EINTR) {
            return std::nullopt;
        }
    }
}

std::string child_process::read_all() {
    std::string out;
    while (std::optional<std::string> const line = read_line()) {
        out += *line + "\n";
    }
    return out + buffer_;
}

int child_process::wait() {
    while (!code_) {
        int status = 0;
        if (::waitpid(process_, &status, 0) == process_) {
            code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        } else if (errno != EINTR) {
            code_ = cannot_run;
        }
    }
    return *code_;
}

void child_process::end() {
    if (!code_) {
        ::kill(process_, SIGTERM);
    }
}

std::string command_text(std::vector<std::string> const& words) {
    std::string out;
    for (std::string const& word : words) {
        bool const plain =
            !word.empty() && word.find_first_not_of(
                                 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "_-./:=,+@%") == std::string::npos;
        out += out.empty() ? "" : " ";
        if (plain) {
            out += word;
            continue;
        }
        out += '\'';
        for (char const c : word) {
            out += c == '\'' ? std::string("'\\''") : std::string(1, c);
        }
        out += '\'';
    }
    return out;
}

}  // namespace fpq::tools
