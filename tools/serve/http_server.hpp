// SPDX-License-Identifier: Apache-2.0
// The HTTP side: POST /v1/completions, GET /v1/models, GET /health. http_server.cpp alone includes
// the HTTP library.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "serve/completion_job.hpp"
#include "serve/engine_loop.hpp"

namespace fpq::tools {

struct http_limits {
    std::size_t body = std::size_t{16} << 20;  ///< bytes of a request
    std::size_t connections = 256;             ///< served at once; more wait
    std::chrono::seconds request{600};         ///< for one request, from its arrival
    std::chrono::seconds transfer{30};         ///< without a byte from or to a client
    std::chrono::seconds keep_alive{5};        ///< of a connection without a request
};

class http_server {
public:
    /// `api_key`: empty for none. All that is passed must outlive this.
    http_server(completion_model const& model, engine_loop& engine, std::string api_key,
                http_limits limits);
    ~http_server();
    http_server(http_server const&) = delete;
    http_server& operator=(http_server const&) = delete;

    /// Binds and returns the port; 0 chooses a free one. Throws fpq::error (input).
    int bind(std::string const& host, int port);

    /// Answers until stop(), then returns once all connections are done.
    void listen();

    /// New requests are answered 503 from now on.
    void drain() noexcept { draining_ = true; }
    /// Completion requests that are not answered yet.
    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

    /// Ends listen(), which some thread has called or is about to call.
    void stop();

private:
    struct routes;

    completion_model const& model_;
    engine_loop& engine_;
    std::string api_key_;
    http_limits limits_;
    std::int64_t started_;  // seconds since 1970
    std::atomic<bool> draining_{false};
    std::atomic<bool> ended_{false};
    int socket_ = -1;  // the library's, which listens
    std::atomic<std::size_t> in_flight_{0};
    std::unique_ptr<routes> routes_;
};

}  // namespace fpq::tools
