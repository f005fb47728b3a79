// SPDX-License-Identifier: Apache-2.0
// Requests a second of a checkpoint on the CPU: by the engine in this process, and by the same
// engine behind HTTP on loopback, asked by several clients. For what a harness asks: completion
// bodies with prompts of tokens for a model "tiny", one a line, as tests/interop/lm_eval_rate.py
// records them.
// usage: fpq_bench_serve CHECKPOINT BODIES [CLIENTS] [THREADS]
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "fpq/graph/families.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "line/engine.hpp"
#include "serve/completion_job.hpp"
#include "serve/completion_request.hpp"
#include "serve/end_tokens.hpp"
#include "serve/http_server.hpp"

namespace {

namespace tools = fpq::tools;
using engine = fpq::engine<fpq::cpu>;
using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
}

void print(char const* what, std::size_t requests, std::size_t tokens, double seconds) {
    std::printf("%-28s %8.3f s  %9.1f requests/s  %9.0f tokens/s\n", what, seconds,
                static_cast<double>(requests) / seconds, static_cast<double>(tokens) / seconds);
    std::fflush(stdout);
}

/// All at once, without HTTP, JSON and text.
double alone(engine& e, std::vector<std::string> const& bodies, tools::request_limits const& limits,
             std::size_t& tokens) {
    std::vector<fpq::generation_request> requests;
    for (std::string const& body : bodies) {
        tools::completion_request const asked = tools::read_completion_request(body, limits);
        for (auto const& prompt : asked.prompts) {
            fpq::generation_request r;
            r.prompt = prompt.tokens;
            r.max_tokens = asked.max_tokens;
            r.choice.temperature = asked.temperature;
            r.top_logprobs = asked.logprobs;
            r.score_prompt = asked.echo && asked.logprobs;
            tokens += r.prompt.size();
            requests.push_back(std::move(r));
        }
    }
    auto const start = clock::now();
    for (fpq::generation_request& r : requests) {
        e.submit(std::move(r), [](fpq::generation_update const&) { return true; });
    }
    while (e.step()) {
    }
    return seconds_since(start);
}

/// By so many clients, each on a connection of its own.
double served(engine& e, std::vector<std::string> const& bodies,
              tools::completion_model const& model, std::size_t clients) {
    tools::engine_loop loop(tools::calls_of(e), 4096);
    tools::http_server server(model, loop, {}, {});
    int const port = server.bind("127.0.0.1", 0);
    std::thread runs([&] { loop.run(); });
    std::thread listens([&] { server.listen(); });
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> failed{0};
    auto const start = clock::now();
    std::vector<std::thread> asking;
    for (std::size_t c = 0; c < clients; ++c) {
        asking.emplace_back([&] {
            httplib::Client client("127.0.0.1", port);
            client.set_keep_alive(true);
            client.set_tcp_nodelay(true);
            client.set_read_timeout(600);
            for (std::size_t i = next++; i < bodies.size(); i = next++) {
                auto const got = client.Post("/v1/completions", bodies[i], "application/json");
                failed += got && got->status == 200 ? 0 : 1;
            }
        });
    }
    for (std::thread& one : asking) {
        one.join();
    }
    double const seconds = seconds_since(start);
    loop.stop();
    runs.join();
    server.stop();
    listens.join();
    if (failed != 0) {
        fpq::fail_input("requests failed", {}, "0", std::to_string(failed));
    }
    return seconds;
}

int run(std::string const& checkpoint, std::string const& file, std::size_t clients, int threads) {
    std::vector<std::string> bodies;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        bodies.push_back(line);
    }
    fpq::cpu const b{threads};
    fpq::opened_model<fpq::cpu> const opened(b, checkpoint, fpq::shipped_architectures);
    fpq::tokenizer const words = fpq::tokenizer::open(checkpoint);
    engine e(b, opened, {});
    tools::completion_model const model{&words,
                                        tools::end_tokens(checkpoint, words),
                                        {"tiny", e.longest(), opened.config().vocab_size, 256}};
    for (int round = 0; round < 3; ++round) {
        std::size_t tokens = 0;
        double const own = alone(e, bodies, model.limits, tokens);
        print("engine", bodies.size(), tokens, own);
        print("over HTTP", bodies.size(), tokens, served(e, bodies, model, clients));
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: fpq_bench_serve CHECKPOINT BODIES [CLIENTS] [THREADS]\n");
        return 2;
    }
    try {
        return run(argv[1], argv[2], argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 64,
                   argc > 4 ? std::atoi(argv[4]) : 2);
    } catch (std::exception const& why) {
        std::fprintf(stderr, "fpq_bench_serve: %s\n", why.what());
        return 3;
    }
}
