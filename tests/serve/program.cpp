// SPDX-License-Identifier: Apache-2.0
// fpq-serve as a shell starts and ends it.
#include <signal.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/child_process.hpp"
#include "pipeline/programs.hpp"
#include "serve/served.hpp"
#include "support/files.hpp"

using namespace fpq_test;
using fpq::tools::child_output;
using fpq::tools::child_process;

namespace {

/// A server of tiny-llama, once it listens.
class serve_program {
public:
    explicit serve_program(std::vector<std::string> const& more)
        : child_(words(more), child_output::pipe) {
        line = child_.read_line().value_or("");
        std::size_t const at = line.find("http://");
        REQUIRE(at != std::string::npos);
        url = line.substr(at, line.find("/v1", at) - at);
    }
    [[nodiscard]] httplib::Result post(std::string const& body,
                                       httplib::Headers const& headers = {}) const {
        httplib::Client client(url);
        client.set_read_timeout(600);
        return client.Post("/v1/completions", headers, body, "application/json");
    }
    [[nodiscard]] std::size_t in_flight() const {
        auto const health = httplib::Client(url).Get("/health");
        return health ? json::parse(health->body).at("requests").get<std::size_t>() : 0;
    }
    void end() { child_.end(); }
    int wait() { return child_.wait(); }

    std::string line;
    std::string url;

private:
    static std::vector<std::string> words(std::vector<std::string> const& more) {
        std::vector<std::string> out{(bin_dir() / "fpq-serve").string(),
                                     "--model",
                                     example_model(),
                                     "--port",
                                     "0",
                                     "--threads",
                                     "2"};
        out.insert(out.end(), more.begin(), more.end());
        return out;
    }

    child_process child_;
};

std::string const long_request =
    R"({"prompt": "Once", "max_tokens": 1500, "temperature": 0, "ignore_eos": true})";

}  // namespace

TEST_CASE("fpq-serve says where it listens, answers and ends by a signal", "[serve]") {
    if (!have_programs()) {
        return;
    }
    serve_program server({"--served_model_name", "tiny"});
    CHECK(server.line.starts_with("serving tiny at http://127.0.0.1:"));
    CHECK(server.line.ends_with("/v1/completions, up to 2048 tokens"));
    auto const answer =
        server.post(R"({"prompt": "Once upon", "max_tokens": 3, "temperature": 0})");
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(json::parse(answer->body).at("model") == "tiny");
    server.end();
    CHECK(server.wait() == 128 + SIGTERM);
    CHECK_FALSE(server.post("{}"));  // nobody listens
}

TEST_CASE("what runs when the signal comes is finished when it is given the time", "[serve]") {
    if (!have_programs()) {
        return;
    }
    serve_program server({"--shutdown_seconds", "600"});
    std::atomic<int> status{0};
    std::atomic<bool> done{false};
    std::thread client([&] {
        auto const answer = server.post(long_request);
        status = answer ? answer->status : -1;
        done = true;
    });
    while (server.in_flight() == 0 && !done) {
        std::this_thread::yield();
    }
    server.end();
    client.join();
    CHECK(status == 200);
    CHECK(server.wait() == 128 + SIGTERM);
}

TEST_CASE("a server that ends at once leaves no client without an answer", "[serve]") {
    if (!have_programs()) {
        return;
    }
    serve_program server({"--shutdown_seconds", "1", "--max_num_seqs", "1"});
    std::vector<std::thread> clients;
    std::atomic<std::size_t> whole{0};
    for (std::size_t c = 0; c < 8; ++c) {
        clients.emplace_back([&] {
            auto const answer = server.post(long_request);
            bool const ended = answer && (answer->status == 200 || answer->status == 503);
            whole += ended && json::parse(answer->body).is_object() ? 1 : 0;
        });
    }
    while (server.in_flight() < 8 && whole < 8) {
        std::this_thread::yield();
    }
    server.end();
    for (std::thread& client : clients) {
        client.join();
    }
    CHECK(whole == 8);
    CHECK(server.wait() == 128 + SIGTERM);
}

TEST_CASE("a key in a file is wanted of clients", "[serve]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    auto const file = dir.write("key", "secret\nmore\n");
    serve_program const server({"--api_key_file", file.string()});
    std::string const body = R"({"prompt": "x", "max_tokens": 1})";
    CHECK(server.post(body)->status == 401);
    CHECK(server.post(body, {{"Authorization", "Bearer secret"}})->status == 200);
}

TEST_CASE("fpq-serve refuses what it cannot do, before it loads a model", "[serve]") {
    if (!have_programs()) {
        return;
    }
    std::string const model = " --model " + example_model();
    struct row {
        std::string arguments;
        int code;
        char const* says;
    };
    temporary_directory const dir;
    auto const empty = dir.write("empty", "\n");
    for (row const& r : std::vector<row>{
             {"", 2, "--model"},
             {model + " --host 0.0.0.0", 2, "--host 0.0.0.0: expected --api_key"},
             {model + " --host example.org", 2, "expected --api_key"},
             {model + " --api_key x --api_key_file " + empty.string(), 2, "found both"},
             {model + " --api_key_file " + empty.string(), 3, "a key in the first line"},
             {model + " --port 65536", 2, "--port"},
             {model + " --connections 0", 2, "--connections"},
             {model + " --max_num_seqs 0", 2, "--max_num_seqs"},
             {model + " --api_key ''", 2, "--api_key"},
             {" --model " + dir.path().string(), 3, "config.json"},
             {model + " --model_name_or_path x", 2, "here it is --model"}}) {
        INFO(r.arguments);
        outcome const refused = run_program("fpq-serve" + r.arguments);
        CHECK(refused.code == r.code);
        CHECK(refused.says(r.says));
    }
    serve_program const first({});
    std::string const port = first.url.substr(first.url.rfind(':') + 1);
    outcome const second = run_program("fpq-serve" + model + " --port " + port);
    CHECK(second.code == 3);
    CHECK(second.says("cannot listen"));
}
