// SPDX-License-Identifier: Apache-2.0
// Test support. A server of tiny-llama's tokenizer over loopback, in threads of this process.
#pragma once

#include <httplib.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "serve/fake_engine.hpp"
#include "serve/http_server.hpp"
#include "support/shared_data.hpp"

namespace fpq_test {

using json = nlohmann::json;

inline fpq::tokenizer const& tiny_words() {
    static fpq::tokenizer const words =
        fpq::tokenizer::open(repo_dir() / "examples" / "models" / "tiny-llama");
    return words;
}

struct served_options {
    std::string key;
    std::size_t room = 256;
    fpq::tools::http_limits limits{};
    std::size_t longest = 128;
    std::size_t choices = 16;
};

/// Answers with what `calls` say from its making to stop().
class served {
public:
    explicit served(fpq::tools::engine_calls calls, served_options const& options = {})
        : model{&tiny_words(),
                {tiny_words().eos().value()},
                {"tiny", options.longest, 4096, options.choices}},
          loop(std::move(calls), options.room),
          server(model, loop, options.key, quick(options.limits)),
          port(server.bind("127.0.0.1", 0)),
          engine_thread_([this] {
              try {
                  loop.run();
              } catch (std::exception const& why) {
                  broken = why.what();
              }
          }),
          listener_([this] { server.listen(); }) {}
    ~served() { stop(); }
    served(served const&) = delete;
    served& operator=(served const&) = delete;

    void stop() {
        loop.stop();
        if (engine_thread_.joinable()) {
            engine_thread_.join();
        }
        server.stop();
        if (listener_.joinable()) {
            listener_.join();
        }
    }

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

    struct reply {
        int status = 0;
        std::string text;
        [[nodiscard]] json body() const { return json::parse(text); }
        [[nodiscard]] json error() const { return body().at("error"); }
    };

    [[nodiscard]] reply post_raw(std::string const& body, httplib::Headers const& headers = {},
                                 std::string const& type = "application/json") const {
        httplib::Client client(url());
        client.set_read_timeout(120);
        auto const result = client.Post("/v1/completions", headers, body, type);
        REQUIRE(result);
        return {result->status, result->body};
    }
    [[nodiscard]] reply post(json const& body) const { return post_raw(body.dump()); }
    [[nodiscard]] reply get(std::string const& path, httplib::Headers const& headers = {}) const {
        auto const result = httplib::Client(url()).Get(path, headers);
        REQUIRE(result);
        return {result->status, result->body};
    }

    fpq::tools::completion_model model;
    fpq::tools::engine_loop loop;
    fpq::tools::http_server server;
    int port;
    std::string broken;

private:
    static fpq::tools::http_limits quick(fpq::tools::http_limits limits) {
        limits.keep_alive = std::chrono::seconds(1);  // what a stop waits for
        limits.connections = 80;
        return limits;
    }

    std::thread engine_thread_;
    std::thread listener_;
};

/// The JSON of a stream's events, without the last; REQUIREs that the last is [DONE].
inline std::vector<json> events_of(std::string const& stream) {
    std::vector<json> out;
    bool done = false;
    for (std::size_t at = 0; at < stream.size();) {
        std::size_t const end = stream.find("\n\n", at);
        REQUIRE(end != std::string::npos);
        std::string const line = stream.substr(at, end - at);
        REQUIRE(line.starts_with("data: "));
        REQUIRE_FALSE(done);
        done = line == "data: [DONE]";
        if (!done) {
            out.push_back(json::parse(line.substr(6)));
        }
        at = end + 2;
    }
    REQUIRE(done);
    return out;
}

}  // namespace fpq_test
