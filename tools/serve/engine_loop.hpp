// SPDX-License-Identifier: Apache-2.0
// The one thread that owns an engine: requests of many threads in, updates out.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fpq/model/generation.hpp"

namespace fpq::tools {

/// An engine as the loop calls it, always from one thread.
struct engine_calls {
    std::function<std::uint64_t(generation_request, generation_sink)> submit;
    std::function<void(std::uint64_t)> cancel;
    std::function<bool()> step;
};

/// The calls of an engine that outlives them.
template <class Engine>
engine_calls calls_of(Engine& engine) {
    return {[&engine](generation_request request, generation_sink sink) {
                return engine.submit(std::move(request), std::move(sink));
            },
            [&engine](std::uint64_t id) { engine.cancel(id); },
            [&engine] { return engine.step(); }};
}

enum class engine_failure : std::uint8_t {
    refused,  ///< by the engine, as a request that it cannot serve
    stopped,  ///< the loop ends
    broken,   ///< the engine failed
};

/// A request and who is told. Both functions are called by the loop's thread and must not call the
/// loop back.
struct engine_work {
    generation_request request;
    generation_sink sink;
    std::function<void(engine_failure, std::string const& why)> failed;  ///< no update follows
};

class engine_loop {
public:
    /// At most `room` requests are waiting or running.
    engine_loop(engine_calls calls, std::size_t room) : calls_(std::move(calls)), room_(room) {}

    /// Takes all of `work` and returns a ticket for each, or nothing for want of room or after
    /// stop(): then the work is untouched.
    std::vector<std::uint64_t> submit(std::vector<engine_work>& work);

    /// The work is given up without a word to it. One that has ended is none.
    void cancel(std::vector<std::uint64_t> const& tickets);

    /// Runs the engine until stop(). What is not done then has failed. An exception of the engine
    /// fails all work and is passed on.
    void run();

    void stop();

    /// Requests that wait or run.
    [[nodiscard]] std::size_t size() const;

private:
    struct entry {
        engine_work work;
        std::uint64_t id = 0;  // the engine's
    };

    void take(std::vector<std::uint64_t> const& arrived,
              std::vector<std::uint64_t> const& given_up);
    void start(std::uint64_t ticket);
    bool update(std::uint64_t ticket, generation_update const& what);
    void fail_all(engine_failure kind, std::string const& why);
    void erase(std::uint64_t ticket);

    engine_calls calls_;
    std::size_t room_;

    mutable std::mutex mutex_;
    std::condition_variable arrived_;
    std::map<std::uint64_t, entry> entries_;  // added by any thread, taken away by the loop's
    std::vector<std::uint64_t> inbox_;
    std::vector<std::uint64_t> cancelled_;
    std::uint64_t next_ = 1;
    bool stopped_ = false;
};

}  // namespace fpq::tools
