// SPDX-License-Identifier: Apache-2.0
// Many clients at once: every request gets its own answer, and memory does not grow.
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "serve/served.hpp"
#include "support/sanitized.hpp"

using namespace fpq_test;

namespace {

/// Bytes of this process in memory.
std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t whole = 0;
    std::size_t resident = 0;
    file >> whole >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Each client's requests, of its own prompts; the number of answers that are theirs.
std::size_t answered(served const& s, std::size_t clients, std::size_t each) {
    std::atomic<std::size_t> right{0};
    std::vector<std::thread> threads;
    for (std::size_t c = 0; c < clients; ++c) {
        threads.emplace_back([&, c] {
            httplib::Client client(s.url());
            client.set_keep_alive(c % 2 == 0);
            client.set_read_timeout(120);
            for (std::size_t i = 0; i < each; ++i) {
                auto const token = static_cast<std::int32_t>(16 + c);
                auto const length = 2 + (c + i) % 9;
                std::vector<std::int32_t> const prompt(length, token);
                json const body{{"prompt", prompt}, {"max_tokens", 1 + i % 5},
                                {"echo", true},     {"logprobs", 1},
                                {"temperature", 0}, {"stream", i % 7 == 6}};
                auto const result = client.Post("/v1/completions", body.dump(), "application/json");
                if (!result || result->status != 200) {
                    continue;
                }
                if (i % 7 == 6) {
                    right += result->body.ends_with("data: [DONE]\n\n") ? 1 : 0;
                    continue;
                }
                json const choice = json::parse(result->body).at("choices").at(0);
                json const& scores = choice.at("logprobs").at("token_logprobs");
                bool mine = scores.size() == length + 1 + i % 5;
                for (std::size_t t = 1; mine && t < length; ++t) {
                    mine = scores[t].get<float>() == fake_engine::logprob(token, t);
                }
                right += mine ? 1 : 0;
            }
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    return right;
}

}  // namespace

TEST_CASE("64 clients get all their answers, and memory does not grow", "[serve]") {
    fake_engine engine;
    served s(fpq::tools::calls_of(engine));
    constexpr std::size_t clients = 64;
    constexpr std::size_t each = 20;
    CHECK(answered(s, clients, each) == clients * each);  // heaps of the threads are there now
    std::size_t const before = resident_bytes();
    for (int round = 0; round < 3; ++round) {
        CHECK(answered(s, clients, each) == clients * each);
        engine.seen.clear();
    }
    // 3,840 requests; if each left a kilobyte, it would show.
    std::size_t const after = resident_bytes();
    INFO(before << " bytes before, " << after << " after");
#if !defined(FPQ_TEST_SANITIZED)  // which keeps freed memory
    CHECK(after < before + (std::size_t{3} << 20));
#endif
    while (s.server.in_flight() != 0 || s.loop.size() != 0) {
        std::this_thread::yield();
    }
}
