// SPDX-License-Identifier: Apache-2.0
// The thread that owns an engine: room, giving up, an engine that refuses or breaks, the end.
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "serve/engine_loop.hpp"
#include "serve/fake_engine.hpp"

using namespace fpq;
using namespace fpq::tools;

namespace {

/// A loop that runs in a thread of its own.
class running_loop {
public:
    explicit running_loop(fpq_test::fake_engine& engine, std::size_t room = 8)
        : loop(calls_of(engine), room) {}
    ~running_loop() { end(); }
    void start() {
        thread_ = std::thread([this] {
            try {
                loop.run();
            } catch (std::exception const& why) {
                thrown = why.what();
            }
        });
    }
    void end() {
        loop.stop();
        if (thread_.joinable()) {
            thread_.join();
        }
    }
    engine_loop loop;
    std::string thrown;

private:
    std::thread thread_;
};

struct told {
    std::promise<void> done;
    std::vector<std::int32_t> tokens;
    std::string failure;
    engine_failure kind{};
};

engine_work work_for(told& to, std::size_t prompt, std::size_t tokens) {
    generation_request request;
    request.prompt.assign(prompt, 5);
    request.max_tokens = tokens;
    return {request,
            [&to](generation_update const& what) {
                for (scored_token const& t : what.tokens) {
                    to.tokens.push_back(t.token);
                }
                if (what.finish) {
                    to.done.set_value();
                }
                return true;
            },
            [&to](engine_failure kind, std::string const& why) {
                to.kind = kind;
                to.failure = why;
                to.done.set_value();
            }};
}

std::vector<std::uint64_t> submit(engine_loop& loop, engine_work one) {
    std::vector<engine_work> work;
    work.push_back(std::move(one));
    return loop.submit(work);
}

}  // namespace

TEST_CASE("requests of one call are taken together or not at all", "[serve]") {
    fpq_test::fake_engine engine;
    running_loop running(engine, 3);
    told a, b, c, d;
    CHECK(submit(running.loop, work_for(a, 2, 4)).size() == 1);
    std::vector<engine_work> three;
    three.push_back(work_for(b, 2, 1));
    three.push_back(work_for(c, 2, 1));
    three.push_back(work_for(d, 2, 1));
    CHECK(running.loop.submit(three).empty());  // room for two
    CHECK(running.loop.size() == 1);
    CHECK(three[0].request.prompt.size() == 2);  // untouched
    three.pop_back();
    CHECK(running.loop.submit(three).size() == 2);
    running.start();
    a.done.get_future().wait();
    b.done.get_future().wait();
    c.done.get_future().wait();
    CHECK(a.tokens == std::vector<std::int32_t>{1, 2, 3, 1});
    CHECK(c.tokens == std::vector<std::int32_t>{1});
    running.end();
    CHECK(running.loop.size() == 0);
    CHECK(submit(running.loop, work_for(d, 2, 1)).empty());  // it has stopped
}

TEST_CASE("work that is given up leaves the engine, and takes no room", "[serve]") {
    fpq_test::fake_engine engine;
    engine.held = true;
    running_loop running(engine, 1);
    running.start();
    told a, b;
    std::vector<std::uint64_t> const tickets = submit(running.loop, work_for(a, 2, 1000));
    REQUIRE(tickets.size() == 1);
    CHECK(submit(running.loop, work_for(b, 2, 1)).empty());
    running.loop.cancel(tickets);
    running.loop.cancel({tickets[0], 12345});  // no longer, and never, there
    while (running.loop.size() != 0) {
        std::this_thread::yield();
    }
    engine.held = false;
    REQUIRE(submit(running.loop, work_for(b, 2, 1)).size() == 1);
    b.done.get_future().wait();
    CHECK(a.tokens.empty());
    CHECK(a.failure.empty());
}

TEST_CASE("what the engine refuses fails alone", "[serve]") {
    fpq_test::fake_engine engine;
    running_loop running(engine);
    running.start();
    told bad, good;
    submit(running.loop, work_for(bad, 13, 1));
    submit(running.loop, work_for(good, 2, 2));
    bad.done.get_future().wait();
    good.done.get_future().wait();
    CHECK(bad.kind == engine_failure::refused);
    CHECK_THAT(bad.failure, Catch::Contains("no prompt of 13 tokens"));
    CHECK(good.tokens.size() == 2);
}

TEST_CASE("an engine that breaks fails all work and ends the loop", "[serve]") {
    fpq_test::fake_engine engine;
    engine.breaks_after = 2;
    running_loop running(engine);
    told a, b;
    submit(running.loop, work_for(a, 2, 5));
    submit(running.loop, work_for(b, 2, 5));
    running.start();
    a.done.get_future().wait();
    b.done.get_future().wait();
    running.end();
    CHECK(a.kind == engine_failure::broken);
    CHECK(running.thrown == "the fake engine broke");
    CHECK(running.loop.size() == 0);
}

TEST_CASE("what runs when the loop stops is told so", "[serve]") {
    fpq_test::fake_engine engine;
    engine.held = true;
    running_loop running(engine);
    running.start();
    told a;
    submit(running.loop, work_for(a, 2, 5));
    while (engine.steps == 0) {
        std::this_thread::yield();
    }
    running.end();
    a.done.get_future().wait();
    CHECK(a.kind == engine_failure::stopped);
    CHECK_THAT(a.failure, Catch::Contains("shutting down"));
}

TEST_CASE("an engine with nothing to do is left alone", "[serve]") {
    fpq_test::fake_engine engine;
    running_loop running(engine);
    running.start();
    told a;
    submit(running.loop, work_for(a, 2, 3));
    a.done.get_future().wait();
    told b;
    submit(running.loop, work_for(b, 2, 3));
    b.done.get_future().wait();
    running.end();
    CHECK(engine.steps <= 8);  // three tokens each, and at most one more to see that none is left
}
