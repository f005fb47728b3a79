// SPDX-License-Identifier: Apache-2.0
// The programs under rough treatment: closed and full standard streams, signals, a limit of file
// size. The work is whole or absent, and what is said is one line.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "common/process.hpp"
#include "support/files.hpp"
#include "support/sanitized.hpp"
#include "support/shared_data.hpp"

namespace {

/// FPQ_BIN_DIR is set by ctest; without it these cases skip loudly.
bool have_tools() {
    if (std::getenv("FPQ_BIN_DIR") != nullptr) {
        return true;
    }
    std::puts("SKIPPED: FPQ_BIN_DIR is not set: the programs are not tested");
    return false;
}

std::string program(char const* name) {
    return (std::filesystem::path(std::getenv("FPQ_BIN_DIR")) / name).string();
}

/// The exit code of a shell command; 128 + the signal that ended it.
int shell(std::string const& command) {
    int const status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string rtn_to(std::filesystem::path const& out) {
    auto const model = fpq_test::repo_dir() / "examples" / "models" / "tiny-llama";
    return program("fpq-quantize") + " --model_name_or_path " + model.string() +
           " --format nvfp --w_bits 4 --max_shard_size 200000 --export_quantized_model realquant"
           " --export_format compressed-tensors --save_path " +
           out.string();
}

/// In a forked child: becomes the program of these words.
[[noreturn]] void run_words(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(99);
}

/// Threads of a process that hold signal `number` back, as within a handler of ours; 0: all
/// threads.
int threads_of(::pid_t process, int number) {
    int found = 0;
    std::error_code gone;
    auto const tasks = std::filesystem::path("/proc") / std::to_string(process) / "task";
    for (std::filesystem::directory_iterator at(tasks, gone), end; !gone && at != end;
         at.increment(gone)) {
        std::ifstream status(at->path() / "status");
        for (std::string line; std::getline(status, line);) {
            if (line.rfind("SigBlk:", 0) == 0) {
                found += number == 0 ||
                         (std::strtoull(line.c_str() + 7, nullptr, 16) >> (number - 1) & 1) != 0;
            }
        }
    }
    return found;
}

/// Until it is so, a while at most: some systems do not tell what threads hold back.
template <class F>
void wait_for(F const& condition) {
    for (int tries = 0; tries < 2000 && !condition(); ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

std::vector<std::string> gptq_to(std::filesystem::path const& out, int sequences) {
    auto const examples = fpq_test::repo_dir() / "examples";
    return {program("fpq-quantize"),
            "--model_name_or_path",
            (examples / "models" / "tiny-llama").string(),
            "--format",
            "nvfp",
            "--w_bits",
            "4",
            "--gptq",
            "--dataset_name_or_path",
            (examples / "text" / "calib.txt").string(),
            "--num_sequences",
            std::to_string(sequences),
            "--sequence_length",
            "96",
            "--threads",
            "2",
            "--save_path",
            out.string()};
}

/// Runs a program until a layer is written, then sends two signals. Nobody reads what it says by
/// then: it cannot come to its end, and a handler is still at its line when the second comes.
int code_of_two(std::vector<std::string> const& words, int first, int second, std::string& said) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    ::pid_t const child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], 2);
        ::dup2(::open("/dev/null", O_WRONLY), 1);
        ::close(ends[0]);
        ::close(ends[1]);
        run_words(words);
    }
    REQUIRE(child > 0);
    char c = 0;
    while (said.find("quantize 1/4") == std::string::npos && ::read(ends[0], &c, 1) == 1) {
        said += c;
    }
    REQUIRE(::fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    while (::write(ends[1], "\n", 1) == 1) {
    }
    REQUIRE(::fcntl(ends[1], F_SETFL, 0) == 0);
    ::close(ends[1]);
    ::kill(child, first);
    wait_for([&] { return threads_of(child, SIGHUP) != 0; });
    ::kill(child, second);
    while (::read(ends[0], &c, 1) == 1) {
        said += c;
    }
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Name and bytes of every file.
std::map<std::string, std::string> files_of(std::filesystem::path const& directory) {
    std::map<std::string, std::string> out;
    for (auto const& entry : std::filesystem::directory_iterator(directory)) {
        out[entry.path().filename().string()] = fpq_test::read_text(entry.path());
    }
    return out;
}

}  // namespace

TEST_CASE("closed standard streams do not get into the weights", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    REQUIRE(shell(rtn_to(dir.path() / "right") + " > /dev/null 2>&1") == 0);
    auto const right = files_of(dir.path() / "right");
    REQUIRE(right.size() > 4);  // shards: files are opened while progress is printed
    for (std::string const closed :
         {"> /dev/null 2>&-", "2> /dev/null >&-", "> /dev/null <&- 2>&-", "<&- >&- 2>&-"}) {
        auto const out = dir.path() / "out";
        INFO(closed);
        REQUIRE(shell(rtn_to(out) + " " + closed) == 0);
        CHECK(files_of(out) == right);
        std::filesystem::remove_all(out);
    }
}

TEST_CASE("a full log loses lines, not the run; a full standard output is an error", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    CHECK(shell(rtn_to(dir.path() / "a") + " > /dev/null 2> /dev/full") == 0);
    CHECK(std::filesystem::exists(dir.path() / "a" / "config.json"));
    CHECK(shell(program("fpq-inspect") + " nowhere 2> /dev/full") == 3);
    CHECK(shell(program("fpq-inspect") + " --nosuch 2> /dev/full") == 2);
    std::string const log = (dir.path() / "log").string();
    CHECK(shell(program("fpq-inspect") + " " + (dir.path() / "a").string() + " > /dev/full 2> " +
                log) == 3);
    CHECK(fpq_test::read_text(log).rfind("fpq-inspect: cannot write", 0) == 0);
    // Whoever read the log has gone.
    CHECK(shell("bash -c 'set -o pipefail; (" + rtn_to(dir.path() / "b") +
                ") 2>&1 > /dev/null | true'") == 0);
    CHECK(files_of(dir.path() / "b") == files_of(dir.path() / "a"));
}

TEST_CASE("a text comes from a pipe as from a file, and its kind is what its first character says",
          "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    auto const repo = fpq_test::repo_dir();
    std::string const run = program("fpq-quantize") + " --model_name_or_path " +
                            (repo / "examples/models/tiny-llama").string() +
                            " --format nvfp --w_bits 4 --a_bits 4 --num_sequences 2"
                            " --sequence_length 32 --max_shard_size 200000 ";
    std::string const plain = (repo / "examples/text/calib.txt").string();
    std::string const lines = (dir.path() / "a.jsonl").string();
    fpq_test::write_text(lines, "{\"text\": \"" + std::string(400, 'a') + "\"}\n");
    int made = 0;
    auto const result = [&](std::string const& dataset, std::string const& input) {
        auto const out = dir.path() / ("out" + std::to_string(made++));
        REQUIRE(shell(input + run + "--dataset_name_or_path " + dataset + " --save_path " +
                      out.string() + " > /dev/null 2> " + (dir.path() / "log").string()) == 0);
        auto files = files_of(out);
        files.erase("recipe.json");  // they name the text
        files.erase("README.md");
        return files;
    };
    CHECK(result("-", "cat " + plain + " | ") == result(plain, ""));
    CHECK(result("-", "gzip -c " + plain + " | ") == result(plain, ""));
    CHECK(result("-", "cat " + lines + " | ") == result(lines, ""));
    CHECK(shell(run + "--dataset_name_or_path - < /dev/null > /dev/null 2>&1") == 3);
}

TEST_CASE("a limit of file size is one line and exit code 3, and nothing is left", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    std::string const log = (dir.path() / "log").string();
    CHECK(shell("bash -c 'ulimit -f 20; " + rtn_to(dir.path() / "out") + " 2> " + log +
                " > /dev/null'") == 3);
    std::string const said = fpq_test::read_text(log);
    INFO(said);
    CHECK(said.find("fpq-quantize: cannot ") != std::string::npos);
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()),
                        std::filesystem::directory_iterator()) == 1);  // the log
}

TEST_CASE("a signal ends a run in one line with the shell's exit code", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    std::string const model =
        (fpq_test::repo_dir() / "examples" / "models" / "tiny-llama").string();
    std::string const text = (fpq_test::repo_dir() / "examples" / "text" / "calib.txt").string();
    for (auto const& [number, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}, {SIGHUP, 129}}) {
        auto const log = dir.path() / "log";
        auto const out = dir.path() / "out";
        pid_t const child = ::fork();
        if (child == 0) {
            std::freopen(log.c_str(), "w", stderr);
            std::freopen("/dev/null", "w", stdout);
            run_words({program("fpq-quantize"),
                       "--model_name_or_path",
                       model,
                       "--format",
                       "nvfp",
                       "--w_bits",
                       "4",
                       "--gptq",
                       "--dataset_name_or_path",
                       text,
                       "--num_sequences",
                       "4096",
                       "--sequence_length",
                       "512",
                       "--export_quantized_model",
                       "realquant",
                       "--export_format",
                       "compressed-tensors",
                       "--threads",
                       "1",
                       "--save_path",
                       out.string()});
        }
        REQUIRE(child > 0);
        // Until it writes: from then on something lies there to be named.
        std::string partial;
        for (int tries = 0; partial.empty() && tries < 6000; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            for (auto const& entry : std::filesystem::directory_iterator(dir.path())) {
                if (entry.path().filename().string().rfind("out.partial", 0) == 0) {
                    partial = entry.path().string();
                }
            }
        }
        REQUIRE_FALSE(partial.empty());
        REQUIRE(::kill(child, number) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == code);
        CHECK_FALSE(std::filesystem::exists(out));
        std::istringstream lines(fpq_test::read_text(log));
        std::vector<std::string> own;
        for (std::string line; std::getline(lines, line);) {
            if (line.rfind("fpq-quantize:", 0) == 0) {
                own.push_back(line);
            }
        }
        REQUIRE(own.size() == 1);
        CHECK(own[0].rfind("fpq-quantize: interrupted: " + partial + " is left", 0) == 0);
        std::filesystem::remove_all(partial);
    }
}

TEST_CASE("a second signal waits for the line of the first", "[tools]") {
    fpq_test::temporary_directory dir;
    auto const left = dir.path() / std::string(200, 'd');
    std::filesystem::create_directory(left);
    std::string const begin = "fpq-quantize: interrupted: ";
    for (auto const& [first, second] : {std::pair{SIGINT, SIGTERM}, {SIGTERM, SIGINT}}) {
        // A pipe with room for the beginning of two lines, not for what is left behind.
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        REQUIRE(::fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
        while (::write(ends[1], "\n", 1) == 1) {
        }
        REQUIRE(::fcntl(ends[1], F_SETFL, 0) == 0);
        std::string page(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), '\n');
        REQUIRE(::read(ends[0], page.data(), page.size()) == static_cast<::ssize_t>(page.size()));
        page.resize(page.size() - 2 * begin.size());
        REQUIRE(::write(ends[1], page.data(), page.size()) == static_cast<::ssize_t>(page.size()));
        auto const held = [&] {
            int bytes = 0;
            return ::ioctl(ends[0], FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(bytes) : 0;
        };
        std::size_t const before = held();
        ::pid_t const child = ::fork();
        if (child == 0) {
            ::dup2(ends[1], 2);
            ::close(ends[0]);
            ::close(ends[1]);
            fpq::tools::handle_signals("fpq-quantize");
            fpq::tools::on_interruption(left.string(), " is left");
            std::thread([] { ::pause(); }).detach();
            for (;;) {
                ::pause();
            }
        }
        REQUIRE(child > 0);
        ::close(ends[1]);
        wait_for([&] { return threads_of(child, 0) == 2; });
        REQUIRE(::kill(child, first) == 0);
        wait_for([&] { return held() >= before + begin.size(); });
        REQUIRE(::kill(child, second) == 0);
        wait_for([&] { return threads_of(child, SIGHUP) == 2; });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // for a wrong one to speak
        std::string said;
        for (char c = 0; ::read(ends[0], &c, 1) == 1;) {
            said += c;
        }
        ::close(ends[0]);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 128 + first);
        CHECK(said.substr(said.find('f')) == begin + left.string() + " is left\n");
    }
}

TEST_CASE("two signals at once end a run in one line, and the same command goes on", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    auto const out = dir.path() / "out";
    for (auto const& [first, second] :
         {std::pair{SIGINT, SIGINT}, {SIGINT, SIGTERM}, {SIGTERM, SIGINT}}) {
        // A run that is at its end before the signals come says nothing: then a longer one.
        for (int sequences = 32; sequences <= 32 << 9; sequences *= 8) {
            std::string said;
            int const code = code_of_two(gptq_to(out, sequences), first, second, said);
            INFO(said);
            if (code == 0) {
                std::filesystem::remove_all(out);
                continue;
            }
            CHECK((code == 128 + first || code == 128 + second));
            std::string const line =
                "fpq-quantize: interrupted: " + out.string() + ".partial is left";
            std::size_t const at = said.find(line);
            REQUIRE(at != std::string::npos);
            CHECK(said.find("fpq-quantize:", at + 1) == std::string::npos);
            CHECK(said.find('\n', at) == said.size() - 1);
            CHECK_FALSE(std::filesystem::exists(out));
            auto const right = dir.path() / "right";
            for (auto const& place : {out, right}) {
                std::string command;
                for (std::string const& word : gptq_to(place, sequences)) {
                    command += word + " ";
                }
                REQUIRE(shell(command + "> /dev/null 2>&1") == 0);
            }
            CHECK(files_of(out) == files_of(right));
            CHECK_FALSE(std::filesystem::exists(out.string() + ".partial"));
            std::filesystem::remove_all(out);
            std::filesystem::remove_all(right);
            break;
        }
    }
}

TEST_CASE("a limit of address space is one line and exit code 3, or a whole run, never a wait",
          "[tools]") {
#if defined(FPQ_TEST_SANITIZED)
    WARN("SKIPPED: sanitizers take more address space than there is memory");
#else
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory dir;
    auto const examples = fpq_test::repo_dir() / "examples";
    fpq_test::write_text(dir.path() / "text.txt",
                         fpq_test::read_text(examples / "text" / "calib.txt").substr(0, 20'000));
    auto const out = dir.path() / "out";
    std::string const gptq =
        " --gptq --sequence_length 96 --num_sequences 4 --dataset_name_or_path " +
        (dir.path() / "text.txt").string();
    for (std::string const& more : {std::string(), gptq}) {
        for (int const mebi : {20, 60, 150, 600}) {
            std::string const log = (dir.path() / "log").string();
            INFO(mebi << " MiB" << more);
            int const code =
                shell("ulimit -v " + std::to_string(mebi * 1024) + "; timeout -s KILL 60 " +
                      rtn_to(out) + " --threads 2" + more + " > /dev/null 2> " + log);
            std::string const said = fpq_test::read_text(log);
            INFO(said);
            if (code == 127) {
                continue;  // too little to start a program at all
            }
            CHECK((code == 0 || code == 3));
            CHECK(std::filesystem::exists(out / "config.json") == (code == 0));
            CHECK(std::filesystem::exists(out) == (code == 0));
            if (code == 3) {
                std::string const name = "fpq-quantize: ";
                REQUIRE(said.find(name) != std::string::npos);
                CHECK(said.find('\n', said.find(name)) == said.size() - 1);
                CHECK(said.find("terminate") == std::string::npos);
            }
            std::filesystem::remove_all(out);
            std::filesystem::remove_all(dir.path() / "out.partial");
        }
    }
    CHECK(shell(rtn_to(out) + " > /dev/null 2>&1") == 0);
#endif
}
